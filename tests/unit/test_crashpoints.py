"""Points at which the hub may be killed: there is one on either side of everything it does."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from notifications import crashpoints
from notifications.crashpoints import Point, between, passing

ROOT = Path(__file__).parent.parent.parent
PIPELINE = ("hub", "dispatcher", "worker", "attempts", "metrics")
"""What asks ports for things. `attempts` and `metrics` are the dispatcher's and a worker's own."""

NO_STEPS = {"Clock", "Dice"}
"""Ports that change nothing."""

ALSO_STEPS = {"Publish", "Intake"}
"""A port's method handed over by itself, and what reads the ledger for others."""


PAIRS: Mapping[tuple[str, str], str] = {
    ("ACCEPT_BEGINS", "ACCEPT_ENDS"): "accept",
    ("RELAY_BEGINS", "RELAY_SENT"): "send",
    ("RECEIVE_BEGINS", "RECEIVE_ENDS"): "receive",
    ("RENEW_BEGINS", "RENEW_ENDS"): "renew",
    ("RESEND_BEGINS", "RESEND_ENDS"): "_publish",
    ("SETTLE_BEGINS", "SETTLE_ENDS"): "settle",
    ("COUNT_READS", "COUNT_READ"): "read",
    ("COUNT_BEGINS", "COUNT_ENDS"): "count",
    ("ROUTE_BEGINS", "ROUTE_READ"): "read",
    ("ROUTE_READ", "ROUTE_CHOSEN"): "route",
    ("ROUTE_PACES", "ROUTE_PACED"): "rate",
    ("ROUTE_CLAIMS", "ROUTE_CLAIMED"): "record",
    ("ATTEMPT_BEGINS", "ATTEMPT_ENDS"): "attempt",
    ("RECORD_BEGINS", "RECORD_ENDS"): "record",
    ("TELL_BEGINS", "TELL_ENDS"): "recorded",
    ("DRAIN_BEGINS", "DRAIN_PACED"): "rate",
    ("CLAIM_BEGINS", "CLAIM_ENDS"): "claim",
    ("SWEEP_NOTES", "SWEEP_NOTED"): "keep",
    ("REPLAY_ADVANCES", "REPLAY_ADVANCED"): "advance",
    ("JOB_TAKES", "JOB_TAKEN"): "take",
    ("JOB_ASKS", "JOB_ANSWERED"): "ask",
    ("JOB_BEATS", "JOB_BEAT"): "beat",
    ("JOB_ENDS", "JOB_ENDED"): "finish",
}
"""The points before and after a step, and what is asked between them."""


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


@cache
def port_names() -> set[str]:
    """The ports whose calls are steps."""
    found = {
        node.name
        for node in tree(ROOT / "notifications" / "ports.py").body
        if isinstance(node, ast.ClassDef)
    }
    return (found - NO_STEPS) | ALSO_STEPS


def is_port(annotation: ast.expr | None) -> bool:
    """Whether what is annotated so is a port, or may be none."""
    named = set(re.findall(r"\w+", ast.unparse(annotation))) if annotation else set()
    return bool(named & port_names())


def given_ports(function: ast.AST) -> set[str]:
    """The parameters that are ports, of a function and of those within it."""
    return {each.arg for each in ast.walk(function) if isinstance(each, ast.arg)
            if is_port(each.annotation)}  # fmt: skip


def assigned(within: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """What is assigned, and to what."""
    for node in ast.walk(within):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    yield from zip(target.elts, node.value.elts, strict=False)
                else:
                    yield target, node.value
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            yield node.target, node.value


def either(value: ast.expr) -> list[ast.expr]:
    """What a value may be, where it depends."""
    if isinstance(value, ast.IfExp):
        return [value.body, value.orelse]
    return value.values if isinstance(value, ast.BoolOp) else [value]


def held_ports(of: ast.ClassDef) -> set[str]:
    """The attributes of a class that are ports, by the annotations of what it is made with."""
    held = {
        each.target.id
        for each in of.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        if is_port(each.annotation)
    }
    for made in of.body:
        if isinstance(made, ast.FunctionDef) and made.name == "__init__":
            given = given_ports(made)
            held |= {
                target.attr
                for target, value in assigned(made)
                if isinstance(target, ast.Attribute)
                if any(isinstance(each, ast.Name) and each.id in given for each in either(value))
            }
    return held


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What is a port within a function.

    Attributes:
        held: Attributes of `self`.
        named: Names: parameters, and what a port or its method was assigned to.
    """

    held: set[str]
    named: set[str]

    @classmethod
    def within(cls, function: ast.AST, held: set[str]) -> "Ports":
        """Those of a function, which is a method where there is something held."""
        ports = cls(held=held, named=given_ports(function))
        known = -1
        while known < len(ports.named):  # a name may be given to a name
            known = len(ports.named)
            for target, value in assigned(function):
                if isinstance(target, ast.Name) and ports.is_one(value):
                    ports.named.add(target.id)
        return ports

    def is_one(self, of: ast.expr) -> bool:
        """Whether it is a port, or a method of one."""
        for _ in range(2):
            if isinstance(of, ast.Name):
                return of.id in self.named
            if not isinstance(of, ast.Attribute):
                return False
            if of.attr in self.held and isinstance(of.value, ast.Name) and of.value.id == "self":
                return True
            of = of.value
        return isinstance(of, ast.Name) and of.id in self.named

    def are_asked(self, node: ast.AST) -> bool:
        """Whether it is a call of a port, or hands one to whom may call it."""
        if not isinstance(node, ast.Call):
            return False
        given = [*node.args, *(each.value for each in node.keywords)]
        return any(map(self.is_one, [node.func, *given]))


Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: ast.Module) -> Iterator[tuple[Function, set[str]]]:
    """Every function and method, with the ports that its class holds; no constructor, which hands
    ports to those that it makes and asks none."""
    for of in module.body:
        if isinstance(of, Function):
            yield of, set()
        elif isinstance(of, ast.ClassDef):
            held = held_ports(of)
            yield from (
                (each, held)
                for each in of.body
                if isinstance(each, Function) and each.name != "__init__"
            )


def steps(function: ast.AST) -> Iterator[tuple[str, ast.expr, str]]:
    """What is done between two points, with the points; what has a name, as it is made."""
    made: dict[str, list[ast.expr]] = {}
    for target, value in assigned(function):
        made.setdefault(ast.unparse(target), []).append(value)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "between":
            before, step, after = node.args
            for each in made.get(ast.unparse(step), [step]):
                yield ast.unparse(before), each, ast.unparse(after)


def asked(module: ast.Module) -> tuple[int, list[str]]:
    """How often a port is asked, and where it is not between two points."""
    count, outside = 0, []
    for function, held in functions(module):
        ports = Ports.within(function, held)
        inside = {id(each) for _, step, _ in steps(function) for each in either(step)}
        for node in ast.walk(function):
            if ports.are_asked(node):
                count += 1
                if id(node) not in inside and ast.unparse(node.func) != "between":
                    outside.append(f"line {node.lineno}: {ast.unparse(node)}")
    return count, outside


def wrong_pairs(module: ast.Module) -> list[str]:
    """The steps that are not between the two points that are theirs."""
    wrong = []
    for function, _ in functions(module):
        for before, step, after in steps(function):
            pair = (before.removeprefix("Point."), after.removeprefix("Point."))
            asks = {
                ast.unparse(each.func).rpartition(".")[2]
                for each in either(step)
                if isinstance(each, ast.Call)
            }
            if asks != {PAIRS.get(pair)}:
                wrong.append(f"{pair} around {ast.unparse(step)}")
    return wrong


@pytest.mark.parametrize("name", PIPELINE)
def test_no_port_is_asked_but_between_two_points(name: str) -> None:
    """Whatever the pipeline asks of the world, the process can be killed right before and after."""
    count, outside = asked(tree(ROOT / "notifications" / f"{name}.py"))
    assert count, "no port is found here any more"
    assert outside == []


def test_each_step_has_the_points_that_are_its_own() -> None:
    """Everywhere, the point before a step is the one that says so, and the other is after it."""
    modules = [ast.parse(text) for text in sources() if "between" in text and "Point" in text]
    assert [wrong for module in modules for wrong in wrong_pairs(module)] == []
    used = {
        (before, after)
        for module in modules
        for function, _ in functions(module)
        for before, _, after in steps(function)
    }
    assert {(f"Point.{one}", f"Point.{other}") for one, other in PAIRS} == used


HELD = "class Some:\n def __init__(self, bus: Bus) -> None:\n  self._bus = bus\n"


@pytest.mark.parametrize(
    "text",
    [
        HELD + " async def do(self): await self._bus.settle(a, b)",
        HELD + " async def do(self):\n  bus = self._bus\n  await bus.settle(a, b)",
        HELD + " async def do(self):\n  one = self._bus\n  other = one\n  await other.settle(a, b)",
        HELD + " async def do(self):\n  a, bus = 1, self._bus\n  await bus.settle(a, b)",
        HELD + " async def do(self):\n  settle = self._bus.settle\n  await settle(a, b)",
        HELD + " async def do(self): await elsewhere.settle_with(self._bus, a, b)",
        HELD + " async def do(self, ledger: Ledger): await ledger.record(a)",
        "class Some:\n bus: Bus\n async def do(self): await self.bus.settle(a, b)",
        "async def do(bus: Bus | None): await bus.settle(a, b)",
        'async def do(*, publish: "Publish"): await publish([a])',
        "def do(ledger: Ledger):\n async def within(): await ledger.record(a)\n return within()",
    ],
)
def test_every_way_around_the_points_is_found(text: str) -> None:
    """A port is one under another name, too: of a parameter, of its method, in another's hands."""
    count, outside = asked(ast.parse(text))
    assert count == len(outside) == 1


@pytest.mark.parametrize(
    "text",
    [
        "between(Point.SETTLE_ENDS, bus.settle(a, b), Point.SETTLE_BEGINS)",
        "between(Point.SETTLE_BEGINS, bus.settle(a, b), Point.RECEIVE_ENDS)",
        "between(Point.SETTLE_BEGINS, bus.renew(a), Point.SETTLE_ENDS)",
    ],
)
def test_points_that_are_another_steps_are_found(text: str) -> None:
    """Points that are swapped, mixed, or around another step than theirs are no pair."""
    right = "between(Point.SETTLE_BEGINS, bus.settle(a, b), Point.SETTLE_ENDS)"
    assert wrong_pairs(ast.parse(f"def do(): {right}")) == []
    assert len(wrong_pairs(ast.parse(f"def do(): {text}"))) == 1


def sources() -> Iterator[str]:
    """The text of everything that runs, but where the points are made."""
    for folder in ("notifications", "ai_workers"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name != "crashpoints.py":
                yield path.read_text("utf-8")


def test_every_point_is_somewhere() -> None:
    """No point is only a name: each is passed by something that the hub does."""
    named = {name for text in sources() for name in re.findall(r"\bPoint\.([A-Z_]+)", text)}
    assert {each.name for each in Point} <= named


def test_nothing_of_the_hub_arms_a_point() -> None:
    """No setting, no command and no request can make a hub kill itself: only tests can."""
    of_the_points = re.compile(r"crashpoints import (.+)|crashpoints\.(\w+)")
    used = {
        name.strip()
        for text in sources()
        for found in of_the_points.findall(text)
        for name in "".join(found).split(",")
    }
    assert used == {"Point", "between", "passing"}
    assert crashpoints._trap is None


async def test_what_is_not_armed_takes_nothing_and_changes_nothing() -> None:
    """A step between two points comes to what it comes to without them, its failure included."""

    async def step(fails: bool) -> int:
        if fails:
            raise ValueError("as it is")
        return 7

    for point in Point:
        passing(point)
    assert await between(Point.ACCEPT_BEGINS, step(fails=False), Point.ACCEPT_ENDS) == 7
    with pytest.raises(ValueError, match="as it is"):
        await between(Point.ACCEPT_BEGINS, step(fails=True), Point.ACCEPT_ENDS)
