"""Plots as numbers: where bars, lines and their scales are in a picture. Pure.

Pages draw them as inline SVG. Places are whole tenths of a unit, with the origin on the top left:
a policy that allows no inline style leaves attributes and classes, and these are enough.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 4_200, 2_100
_LEFT, _RIGHT, _TOP, _BOTTOM = 760, 80, 120, 330
_STEPS = 4
_FULL = HEIGHT - _TOP - _BOTTOM
_MOST_DATES = 4

MOST_SERIES = 6
"""As many as can be told apart; what is more is one series, `others`."""

_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_TIMES = (
    *(one * ten for ten in (1, 10, 100) for one in (1, 2, 5)),
    *(_SECOND * each for each in (1, 2, 5, 10, 15, 30)),
    *(_MINUTE * each for each in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * each for each in (1, 2, 6, 12, 24, 48, 168)),
)

Values = Mapping[str, int]
"""By day; a day without one is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A mark on a scale, and what stands there."""

    at: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A part of a bar.

    Attributes:
        x: Its left.
        y: Its top.
        width: How wide.
        height: How high.
        series: Whose, counted from 0.
        text: What it stands for.
    """

    x: int
    y: int
    width: int
    height: int
    series: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point of a line, and what it stands for."""

    x: int
    y: int
    series: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a line without a gap: `x,y x,y`."""

    series: int
    points: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture of `WIDTH` by `HEIGHT`.

    Attributes:
        left: Where its area begins.
        right: Where it ends.
        floor: Where its values are 0.
        across: Days.
        up: Values.
        bars: Parts of bars.
        stretches: Parts of lines.
        dots: Points of lines.
    """

    left: int = _LEFT
    right: int = WIDTH - _RIGHT
    floor: int = HEIGHT - _BOTTOM
    across: Sequence[Tick]
    up: Sequence[Tick]
    bars: Sequence[Bar] = ()
    stretches: Sequence[Stretch] = ()
    dots: Sequence[Dot] = ()


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where days and values are."""

    days: Sequence[str]
    top: int
    step: int
    day: Callable[[str], str] = field(repr=False)
    value: Callable[[int], str] = field(repr=False)

    @property
    def width(self) -> int:
        """Of a day."""
        return (WIDTH - _LEFT - _RIGHT) // max(1, len(self.days))

    def x(self, place: int) -> int:
        """The middle of a day."""
        return _LEFT + place * self.width + self.width // 2

    def y(self, value: int) -> int:
        return HEIGHT - _BOTTOM - round(value * _FULL / self.top)

    def across(self) -> Sequence[Tick]:
        """Some of the days, the last one among them."""
        every = -(-len(self.days) // _MOST_DATES)
        last = len(self.days) - 1
        places = range(last % every if every else 0, len(self.days), max(1, every))
        return [Tick(at=self.x(place), text=self.day(self.days[place])) for place in places]

    def up(self) -> Sequence[Tick]:
        values = range(0, self.top + 1, self.step)
        return [Tick(at=self.y(value), text=self.value(value)) for value in values]


def stacked(
    series: Sequence[tuple[str, Values]],
    days: Sequence[str],
    *,
    day: Callable[[str], str],
    value: Callable[[int], str],
) -> Plot:
    """A bar for each day, with a part for each series.

    Args:
        series: By name, the lowest first; values are not negative.
        days: All of them, oldest first.
        day: How a day is written.
        value: How a value is written.
    """
    most = max((sum(each.get(at, 0) for _, each in series) for at in days), default=0)
    frame = _frame(days, most, _decimal(), day, value)
    bars = []
    for place, at in enumerate(days):
        below = 0
        for number, (name, values) in enumerate(series):
            amount = values.get(at, 0)
            if not amount:
                continue
            top, bottom = frame.y(below + amount), frame.y(below)
            gap = frame.width // 6
            bars.append(
                Bar(
                    x=frame.x(place) - frame.width // 2 + gap // 2,
                    y=top,
                    width=frame.width - gap,
                    height=max(bottom - top, 1),
                    series=number,
                    text=f"{day(at)} · {name}: {value(amount)}",
                )
            )
            below += amount
    return Plot(across=frame.across(), up=frame.up(), bars=bars)


def lines(
    series: Sequence[tuple[str, Values]],
    days: Sequence[str],
    *,
    day: Callable[[str], str],
    value: Callable[[int], str],
) -> Plot:
    """A line for each series of time spans, ms, with a gap where a day has none."""
    most = max((each.get(at, 0) for _, each in series for at in days), default=0)
    frame = _frame(days, most, _times(), day, value)
    stretches, dots = [], []
    for number, (name, values) in enumerate(series):
        run: list[str] = []
        for place, at in enumerate(days):
            if at in values:
                x, y = frame.x(place), frame.y(values[at])
                text = f"{day(at)} · {name}: {value(values[at])}"
                dots.append(Dot(x=x, y=y, series=number, text=text))
                run.append(f"{x},{y}")
            if run and (at not in values or place == len(days) - 1):
                stretches.append(Stretch(series=number, points=" ".join(run)))
                run = []
    return Plot(across=frame.across(), up=frame.up(), stretches=stretches, dots=dots)


def fewer(series: Mapping[str, Values], others: str) -> Sequence[tuple[str, Values]]:
    """The largest series, and all others as one."""
    order = sorted(series.items(), key=lambda each: (-sum(each[1].values()), each[0]))
    if len(order) <= MOST_SERIES:
        return order
    rest: dict[str, int] = {}
    for _, values in order[MOST_SERIES - 1 :]:
        for at, amount in values.items():
            rest[at] = rest.get(at, 0) + amount
    return [*order[: MOST_SERIES - 1], (others, rest)]


def _frame(
    days: Sequence[str],
    most: int,
    steps: Iterator[int],
    day: Callable[[str], str],
    value: Callable[[int], str],
) -> _Frame:
    """The smallest scale that has room for the largest value."""
    step = 1
    for step in steps:
        if step * _STEPS >= most:
            break
    top = step * max(1, -(-most // step))
    return _Frame(days, top, step, day, value)


def _times() -> Iterator[int]:
    """Milliseconds in the steps that people count time in; from weeks on in tens."""
    yield from _TIMES
    yield from _decimal(_TIMES[-1])


def _decimal(ten: int = 1) -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, … of something."""
    while True:
        yield from (ten, 2 * ten, 5 * ten)
        ten *= 10
