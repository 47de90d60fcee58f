"""`docs/peers.md` names tests; they are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "peers.md").read_text("utf-8")


def all_tests() -> set[str]:
    """The names of all tests of the project."""
    return {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test")
    }


def test_every_test_that_the_page_names_exists() -> None:
    """No line of the page claims a proof that is not there."""
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named
    assert named - all_tests() == set()


def test_every_line_of_the_page_has_its_proof() -> None:
    """Whatever the page says the hub does is tested by something."""
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and "what hurts" not in line
    ]
    assert rows
    assert [row for row in rows if not re.search(r"`test_\w+`", row.split("|")[3])] == []
