"""Points at which the hub may be killed: there is one on either side of everything it does."""

import ast
import re
from collections.abc import Iterator
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


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def port_names() -> set[str]:
    """The ports whose calls are steps."""
    found = {
        node.name
        for node in tree(ROOT / "notifications" / "ports.py").body
        if isinstance(node, ast.ClassDef)
    }
    return (found - NO_STEPS) | ALSO_STEPS


def held_ports(of: ast.ClassDef) -> set[str]:
    """The attributes of a class that are ports, by the annotations of what it is made with."""
    ports = port_names()
    held = set()
    for made in of.body:
        if not (isinstance(made, ast.FunctionDef) and made.name == "__init__"):
            continue
        given = {
            each.arg
            for each in (*made.args.args, *made.args.kwonlyargs)
            if each.annotation is not None
            and {node.id for node in ast.walk(each.annotation) if isinstance(node, ast.Name)}
            & ports
        }
        held |= {
            target.attr
            for node in ast.walk(made)
            if isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Name)
            and node.value.id in given
            for target in node.targets
            if isinstance(target, ast.Attribute)
        }
    return held


def asks(node: ast.AST, held: set[str]) -> bool:
    """Whether it is a call of a port: `self._port.method(…)` or `self._port(…)`."""
    if not isinstance(node, ast.Call):
        return False
    of = node.func
    for _ in range(2):
        if isinstance(of, ast.Attribute):
            if of.attr in held and isinstance(of.value, ast.Name) and of.value.id == "self":
                return True
            of = of.value
    return False


def between_points(function: ast.AST) -> Iterator[ast.expr]:
    """The steps that are taken between two points; those that have a name, as they are made."""
    named = {
        target.id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(function):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "between"):
            continue
        before, step, after = node.args
        assert ast.unparse(before).startswith("Point."), ast.unparse(node)
        assert ast.unparse(after).startswith("Point."), ast.unparse(node)
        yield named[step.id] if isinstance(step, ast.Name) else step


@pytest.mark.parametrize("name", PIPELINE)
def test_no_port_is_asked_but_between_two_points(name: str) -> None:
    """Whatever the pipeline asks of the world, the process can be killed right before and after."""
    asked = 0
    outside = []
    for of in ast.walk(tree(ROOT / "notifications" / f"{name}.py")):
        if not isinstance(of, ast.ClassDef):
            continue
        held = held_ports(of)
        for method in of.body:
            inside = {id(step) for step in between_points(method)}
            for node in ast.walk(method):
                if asks(node, held):
                    asked += 1
                    if id(node) not in inside:
                        outside.append(f"{name}.py:{node.lineno}: {ast.unparse(node)}")
    assert asked, "no port is found here any more"
    assert outside == []


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
