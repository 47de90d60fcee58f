"""What models cost: a price per model, dated, from a JSON file.

    {"unit": "USD per million tokens",
     "models": {"Phi-4-mini-instruct": [{"since": "2026-10-05", "input": 0.075, "output": 0.30}]}}

`cachedInput` and `audioInput` are optional; without them such tokens cost what others do. A new
price is a new row: what was asked before its date keeps the price it had. `prices.json` beside
this module has Azure's list prices for the models that are asked by default.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from notifications.errors import ConfigurationError
from notifications.text import told_by_place

SHIPPED = Path(__file__).with_name("prices.json")

_NANO_PER_TOKEN = 1000
"""Billionths of a dollar per token that one dollar per million tokens is."""

_MOST_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The tokens of one question and its answer.

    Attributes:
        input: All that were sent, cached and heard ones among them.
        output: All that came back, reasoning among them.
        cached: How many of the sent ones the endpoint had in its cache.
        audio: How many of the sent ones were sound.
    """

    input: int
    output: int
    cached: int = 0
    audio: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A model's price from a day on, in billionths of a dollar per token.

    Attributes:
        since: The first day it holds.
        input: Per token sent.
        output: Per token that came back.
        cached_input: Per token that was sent and known.
        audio_input: Per token of sound.
    """

    since: date
    input: int
    output: int
    cached_input: int
    audio_input: int

    def of(self, counts: Counts) -> int:
        """What they cost, in billionths of a dollar.

        Parts that add up to more than the whole count as far as the whole goes, sound first: it
        is the dearest.
        """
        audio = min(counts.audio, counts.input)
        cached = min(counts.cached, counts.input - audio)
        return (
            (counts.input - audio - cached) * self.input
            + audio * self.audio_input
            + cached * self.cached_input
            + counts.output * self.output
        )


class PriceTable:
    """The prices there are. Models' names are compared without regard to case, as Azure does."""

    def __init__(self, prices: Mapping[str, Sequence[Price]]) -> None:
        """Use `read` or `shipped`; this takes what they found, in any order."""
        self._prices = {
            name.casefold(): sorted(rows, key=lambda row: row.since, reverse=True)
            for name, rows in prices.items()
        }
        self._names = sorted(prices)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file of prices.

        Raises:
            ConfigurationError: It cannot be read, or a place in it is wrong; names both.
        """
        try:
            document = _File.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {_told(error)}") from error
        found: dict[str, list[Price]] = {}
        for name, rows in document.models.items():
            days = [row.since for row in rows]
            if len(set(days)) < len(days):
                raise ConfigurationError(f"{path}: {name} has two prices since the same day")
            if any(name.casefold() == other.casefold() for other in found):
                raise ConfigurationError(f"{path}: {name} is there twice")
            found[name] = [row.price() for row in rows]
        return cls(found)

    @classmethod
    def shipped(cls) -> Self:
        """The list prices that a release comes with."""
        return cls.read(SHIPPED)

    def require(self, models: Iterable[str]) -> None:
        """See that each has a price, before any money is spent.

        Raises:
            ConfigurationError: Names those without, and says what to do.
        """
        missing = [name for name in models if name.casefold() not in self._prices]
        if missing:
            raise ConfigurationError(
                f"no price is known for {', '.join(missing)}: add it to the price file "
                f"(known: {', '.join(self._names)})"
            )

    def cost(self, model: str, counts: Counts, *, on: date) -> int:
        """What a question cost on a day, in billionths of a dollar.

        Before the first day of a model's prices its oldest one holds.

        Raises:
            ConfigurationError: The model has no price; `require` says so earlier.
        """
        self.require((model,))
        rows = self._prices[model.casefold()]
        price = next((row for row in rows if row.since <= on), rows[-1])
        return price.of(counts)


# ------------------------------------------------------------------ the file

_Usd = Annotated[Decimal, Field(ge=0, le=10_000, decimal_places=3)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)


class _Row(_Shape):
    since: date
    input: _Usd
    output: _Usd
    cached_input: _Usd | None = None
    audio_input: _Usd | None = None

    def price(self) -> Price:
        """The same, per token."""
        plain = _nano(self.input)
        return Price(
            since=self.since,
            input=plain,
            output=_nano(self.output),
            cached_input=plain if self.cached_input is None else _nano(self.cached_input),
            audio_input=plain if self.audio_input is None else _nano(self.audio_input),
        )


class _File(_Shape):
    unit: Literal["USD per million tokens"]
    models: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=128)],
            Annotated[list[_Row], Field(min_length=1, max_length=100)],
        ],
        Field(min_length=1, max_length=1_000),
    ]


def _nano(usd_per_million: Decimal) -> int:
    return int(usd_per_million * _NANO_PER_TOKEN)


def _told(error: ValidationError) -> str:
    """Where it is wrong and how, in one line."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return told_by_place([(each["loc"], each["msg"]) for each in faults], most=_MOST_ERRORS)
