"""Writes `docs/reliability.md` from the tests: what goes wrong, and what is promised then.

A test of a fault is marked `@pytest.mark.fault("what goes wrong", "whose")`; its docstring is the
promise. Run it after changing one:

    python scripts/reliability.py
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"

SECTIONS: Mapping[str, tuple[str, str]] = {
    "receivers": ("Receivers", "A receiver of webhooks, or a mail server, that …"),
    "ourselves": ("The hub and its machine", "The hub, when …"),
    "attackers": ("Attackers", "Those who …"),
}

HEAD = """\
# Reliability

What goes wrong, what the hub promises then, and the test that proves it.
Written by `scripts/reliability.py` from the tests: change the test, not this page.

`make chaos` runs them all and takes up to half an hour; those marked ° run there alone.
The others run with `make test`, too, some of them shorter.
Small and breaking disks need root, and clocks that jump need `libfaketime` (Debian: `faketime`).
Where these are missing, their tests are skipped and say so.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A test of a fault.

    Attributes:
        whose: One of `SECTIONS`.
        fault: What goes wrong.
        promise: What is promised then.
        name: The test.
        path: Its file, from the project's root.
        chaos: Whether only `make chaos` runs it.
    """

    whose: str
    fault: str
    promise: str
    name: str
    path: str
    chaos: bool


def proofs() -> list[Proof]:
    """Every test of a fault, in the order of the page."""
    found = [
        proof
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if "mark.fault(" in (text := path.read_text("utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for proof in _proofs_of(node, path)
    ]
    order = list(SECTIONS)
    return sorted(found, key=lambda each: (order.index(each.whose), each.fault, each.name))


def _proofs_of(node: ast.FunctionDef | ast.AsyncFunctionDef, path: Path) -> Iterator[Proof]:
    marks = {ast.unparse(each) for each in node.decorator_list}
    for mark in node.decorator_list:
        if not (isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault"):
            continue
        fault, whose = (ast.literal_eval(each) for each in mark.args)
        yield Proof(
            whose=whose,
            fault=fault,
            promise=" ".join((ast.get_docstring(node) or "").split()),
            name=node.name,
            path=path.relative_to(ROOT).as_posix(),
            chaos="pytest.mark.chaos" in marks,
        )


def page() -> str:
    """The page."""
    parts = [HEAD]
    every = proofs()
    for whose, (title, sentence) in SECTIONS.items():
        rows = [each for each in every if each.whose == whose]
        parts.append(f"\n## {title}\n\n| {sentence} | promise | proof |\n|---|---|---|\n")
        last = ""
        for each in rows:
            fault = "" if each.fault == last else each.fault
            link = f"[`{each.name}`](../{each.path}){'°' if each.chaos else ''}"
            parts.append(f"| {fault} | {_cell(each.promise)} | {link} |\n")
            last = each.fault
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
