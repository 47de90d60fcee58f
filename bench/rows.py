"""What a bench measured: rows, and the table and the file that are made of them."""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

_HEADS = ("row", "value", "unit", "goal", "", "limited by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured.

    Attributes:
        quick: Sizes for a run of minutes, whose figures are coarser.
    """

    quick: bool = False

    def size(self, whole: int, quick: int) -> int:
        """A size: the one of a whole run, or the one of a quick run."""
        return quick if self.quick else whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        name: Constant, so that runs can be compared.
        value: The figure; None where it could not be measured.
        unit: What it counts.
        at_least: The goal, where more is better.
        at_most: The goal, where less is better.
        limited_by: What kept it from being better, by measurement; or why there is no value.
        tried: What was done to meet the goal, and where it is told.
        bound: What it must not be worse than, however far the goal is.
    """

    name: str
    value: float | None
    unit: str
    limited_by: str
    at_least: float | None = None
    at_most: float | None = None
    tried: str = ""
    bound: float | None = None

    @property
    def goal(self) -> float | None:
        """The goal, whichever way it is; None where there is none."""
        return self.at_most if self.at_least is None else self.at_least

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none. What was not measured met nothing."""
        if self.value is None:
            return False
        return None if self.score is None else self.score >= 1

    @property
    def out_of_bounds(self) -> bool:
        """Whether it is worse than it must be, or was not measured."""
        if self.value is None:
            return True
        if self.bound is None:
            return False
        return self.value < self.bound if self.at_least is not None else self.value > self.bound

    @property
    def score(self) -> float | None:
        """How good it is against its goal: 1 meets it, 2 is twice as good; None without both."""
        if self.goal is None or self.value is None:
            return None
        if self.at_least is not None:
            return self.value / self.at_least
        return self.goal / self.value if self.value > 0 else float("inf")

    @property
    def explained(self) -> str:
        """What limited it, and where it misses its goal how far off it is and what was tried."""
        if self.met is not False or self.score is None:
            return self.limited_by
        tried = f", tried: {self.tried}" if self.tried else ""
        far = f"{self.score:.0%} of" if self.at_least is not None else f"{1 / self.score:.2f} times"
        return f"{far} the goal{tried}; {self.limited_by}"

    def document(self) -> dict[str, Any]:
        """As it is in `results.json`."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "goal": self.goal,
            "met": self.met,
            "limitedBy": self.explained,
        }


def table(rows: Sequence[Row]) -> str:
    """The rows as aligned columns, numbers to the right; what limited them last."""
    lines = [_HEADS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS) - 1)]
    return "\n".join(_line(cells, widths) for cells in lines)


def _cells(row: Row) -> tuple[str, ...]:
    sign = "≥" if row.at_least is not None else "≤"
    goal = "" if row.goal is None else f"{sign} {number(row.goal)}"
    met = {None: "", True: "met", False: "NOT MET"}[row.met]
    value = "-" if row.value is None else number(row.value)
    return (row.name, value, row.unit, goal, met, row.explained)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, value, unit, goal, met = cells[:-1]
    shown = (
        name.ljust(widths[0]),
        value.rjust(widths[1]),
        unit.ljust(widths[2]),
        goal.rjust(widths[3]),
        met.ljust(widths[4]),
        cells[-1],
    )
    return "  ".join(shown).rstrip()


def number(value: float) -> str:
    """A number as people read it: three digits that say something."""
    if value == int(value) or abs(value) >= 1_000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def write_json(path: Path, rows: Sequence[Row], *, quick: bool) -> None:
    """Write `results.json`; `quick` says that the figures are coarser."""
    document = {"quick": quick, "rows": [row.document() for row in rows]}
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


_BEGUN = time.monotonic()


def tell(text: str) -> None:
    """Show progress: a line with the seconds since the start."""
    print(f"[{time.monotonic() - _BEGUN:5.0f} s] {text}", flush=True)


def alone(measure: Callable[[Options], Sequence[Row]], description: str | None) -> None:
    """The program of a bench that is run by itself: measure, print the table."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="smaller sizes")
    options = parser.parse_args()
    print(table(measure(Options(quick=options.quick))))
