"""`docs/reliability.md` is what the tests of faults say, and none of the faults is missing."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

TRIED = {
    "receivers": (
        "refuses", "resets", "drips", "gigabyte", "never answers", "after the limit", "redirects",
        "100", "204", "304", "410", "Retry-After", "500", "expired", "another name", "vouches",
        "does not exist", "HTTP/0.9",
    ),
    "ourselves": (
        "killed -9 under load", "between any two", "between its database and its bus",
        "again", "PostgreSQL and Service Bus", "AI jobs", "disk is full", "read-only", "locked",
        "clock jumps", "cut off or has bits flipped", "stop under load", "connect and vanish",
        "slowly", "no file descriptors", "log",
    ),
    "attackers": (
        "hundred ways", "between check and connection", "redirect", "forge", "replay", "truncate",
        "another tenant's ids", "template", "header", "gigabyte", "zip bomb", "absurd size",
        "secrets",
    ),
}  # fmt: skip
"""A word of each fault that is to be tried."""


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """What the script that writes the page knows."""
    return runpy.run_path(str(ROOT / "scripts" / "reliability.py"))


def test_the_page_is_what_the_tests_say(script: dict[str, Any]) -> None:
    """Who changes a test of a fault runs `python scripts/reliability.py`."""
    assert script["PAGE"].read_text("utf-8") == script["page"]()


def test_every_fault_has_its_test(script: dict[str, Any]) -> None:
    """Nothing of what is to be tried is missing."""
    faults: dict[str, list[str]] = {whose: [] for whose in TRIED}
    for proof in script["proofs"]():
        faults[proof.whose].append(proof.fault)
    missing = {
        whose: [word for word in words if not any(word in each for each in faults[whose])]
        for whose, words in TRIED.items()
    }
    assert missing == {whose: [] for whose in TRIED}


def test_every_promise_is_a_sentence(script: dict[str, Any]) -> None:
    """A promise can be read by itself."""
    wrong = [
        f"{proof.name}: {proof.promise}"
        for proof in script["proofs"]()
        if not re.fullmatch(r"\S.{20,}[.]", proof.promise)
    ]
    assert wrong == []
