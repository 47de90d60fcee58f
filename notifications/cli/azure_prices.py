"""The dated prices that `huntaze cost` reckons with, and what is assumed of use: a JSON file.

`azure_prices.json` beside this module is the one that is shipped; it says of each price what it is
for, since when, and where it is from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from notifications.errors import ConfigurationError
from notifications.text import told_by_place

SHIPPED = Path(__file__).with_name("azure_prices.json")

NAMES = (
    *("functions.EP1", "functions.flex.gbSecond", "functions.flex.million"),
    *("serviceBus.standard", "serviceBus.million", "realtime.unit", "realtime.million"),
    *("email.mail", "email.megabyte", "eventGrid.million"),
    *("database.B1ms", "database.D2ds_v5", "database.D4ds_v5", "database.gigabyte"),
    *("telemetry.gigabyte", "alerts.rules", "vault.tenThousand", "storage.month"),
)
"""The prices that a bill is made of."""

_MOST_BYTES = 1_000_000
_MOST_ERRORS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The file's content.

    Attributes:
        usd: Price by name.
        since: The days of the oldest and the newest price.
        tokens: Model to dollars per million tokens sent and received.
        use: What is assumed of use.
        budget: What the budget allows.
        days: Of a month.
    """

    usd: Mapping[str, Decimal]
    since: str
    tokens: Mapping[str, tuple[Decimal, Decimal]]
    use: Mapping[str, Any]
    budget: Mapping[str, Any]
    days: int

    def usual(self, users: int) -> tuple[int, int]:
        """Events and jobs a day that so many users make."""
        return users * self.use["eventsPerUserAndDay"], users * self.use["jobsPerUserAndDay"]


def read_prices(path: Path = SHIPPED) -> Prices:
    """Read a file of prices.

    Raises:
        ConfigurationError: It cannot be read, or a place in it is wrong; names both.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ConfigurationError(f"{path}: a file of prices has no more than {_MOST_BYTES} B")
        document = _File.model_validate_json(content)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_told(error)}") from error
    days = sorted(each.since for each in document.prices.values())
    return Prices(
        usd={name: each.usd for name, each in document.prices.items()},
        since=" to ".join(dict.fromkeys(each.isoformat() for each in (days[0], days[-1]))),
        tokens={name: (each.input, each.output) for name, each in document.tokens.models.items()},
        use=document.use.model_dump(by_alias=True),
        budget=document.budget.model_dump(by_alias=True),
        days=document.days_per_month,
    )


# ------------------------------------------------------------------ the file

_Usd = Annotated[Decimal, Field(ge=0, le=100_000)]
_Figure = Annotated[Decimal, Field(ge=0, le=10_000)]
_Count = Annotated[int, Field(ge=0, le=10_000)]
_TokenCount = Annotated[int, Field(ge=0, le=10_000_000)]
_Share = Annotated[Decimal, Field(ge=0, le=1)]


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Price(_Shape):
    usd: _Usd
    since: date


class _Model(_Shape):
    input: _Usd
    output: _Usd


class _Tokens(_Shape):
    models: dict[str, _Model]


class _Job(_Shape):
    share: _Share
    model: str
    input: _TokenCount
    output: _TokenCount


class _Use(_Shape):
    events_per_user_and_day: _Count
    jobs_per_user_and_day: _Count
    events_per_job: _Count
    operations_per_event: _Count
    operations_per_job: _Count
    mails_per_event: _Figure
    mail_kilobytes: _Figure
    telemetry_kilobytes_per_event: _Figure
    megabytes_per_event_kept: _Figure
    peak_factor: _Count
    events_per_second_and_instance: Annotated[int, Field(ge=1, le=10_000)]
    connected_users: _Share
    flex_gb_seconds_per_event: _Figure
    flex_gb_seconds_per_job: _Figure
    jobs: dict[str, _Job]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        shares = sum(each.share for each in self.jobs.values())
        if not Decimal("0.99") <= shares <= Decimal("1.01"):
            raise ValueError(f"the shares of jobs add up to {shares}, not to 1")
        return self


class _Budget(_Shape):
    total: Annotated[Decimal, Field(gt=0, le=1_000_000_000)]
    workers: _Usd
    aws: tuple[_Usd, _Usd]


class _File(_Shape):
    currency: Literal["USD"] = "USD"
    days_per_month: Annotated[int, Field(ge=28, le=31)]
    prices: dict[str, _Price]
    tokens: _Tokens
    use: _Use
    budget: _Budget

    @model_validator(mode="after")
    def _all_there(self) -> Self:
        missing = [f"prices/{name}" for name in NAMES if name not in self.prices]
        wanted = sorted({each.model for each in self.use.jobs.values()})
        missing += [f"tokens/models/{name}" for name in wanted if name not in self.tokens.models]
        if missing:
            raise ValueError(f"{', '.join(missing)}: missing")
        return self


def _told(error: ValidationError) -> str:
    """Where it is wrong and how, in one line."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return told_by_place([(each["loc"], each["msg"]) for each in faults], most=_MOST_ERRORS)
