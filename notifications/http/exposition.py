"""What `/metrics` is made of: counts as values, and how Prometheus reads them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Protocol

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metric(Protocol):
    """Something that is counted."""

    def text(self) -> str:
        """Prometheus' text form, with its line end."""
        ...


Metrics = Callable[[], Iterable[Metric]]
"""What somebody counts, as it stands."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name, what it is, and its samples by labels."""

    name: str
    kind: str
    help: str
    samples: tuple[tuple[Mapping[str, str], float], ...]

    def text(self) -> str:
        """See `Metric.text`."""
        lines = [_head(self.name, self.kind, self.help)]
        lines += [f"{self.name}{_labels(labels)} {value:.15g}" for labels, value in self.samples]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a histogram.

    Attributes:
        labels: What it is of.
        counts: By bucket, how many fell into it and into none below; the last is all above.
        total: What they add up to.
    """

    labels: Mapping[str, str]
    counts: Sequence[int]
    total: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """A metric of how much things took; `bounds` are its buckets' upper ends."""

    name: str
    help: str
    bounds: Sequence[float]
    series: tuple[Series, ...]

    def text(self) -> str:
        """See `Metric.text`."""
        lines = [_head(self.name, "histogram", self.help)]
        ends = [*(f"{bound:.15g}" for bound in self.bounds), "+Inf"]
        for each in self.series:
            labels = _labels(each.labels)
            lines += [
                f"{self.name}_bucket{_labels({**each.labels, 'le': end})} {count}"
                for end, count in zip(ends, accumulate(each.counts), strict=True)
            ]
            lines.append(f"{self.name}_sum{labels} {each.total:.15g}")
            lines.append(f"{self.name}_count{labels} {sum(each.counts)}")
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, what: str) -> str:
    return f"# HELP {name} {what}\n# TYPE {name} {kind}"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
