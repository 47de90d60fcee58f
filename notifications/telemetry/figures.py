"""What is counted elsewhere and sent along: the figures of `/metrics`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol


class Figure(Protocol):
    """A metric as it stands: what `/metrics` shows of it."""

    @property
    def name(self) -> str:
        """As Prometheus has it, e.g. `huntaze_events_total`."""
        ...

    @property
    def kind(self) -> str:
        """`counter` or `gauge`."""
        ...

    @property
    def help(self) -> str:
        """What it is."""
        ...

    @property
    def samples(self) -> Iterable[tuple[Mapping[str, str], float]]:
        """By labels."""
        ...


Figures = Callable[[], Iterable[Figure]]
"""Gives them as they stand."""
