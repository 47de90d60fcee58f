"""What the hub costs on Azure in a month, from dated prices and a described use. Pure.

Prices and what is assumed of use stand in `azure_prices.json`, each price with its day and where it
is from. The plan is that of `infra/`: what `deploy-azure-workers.sh` makes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from notifications.errors import ConfigurationError

SHIPPED = Path(__file__).with_name("azure_prices.json")
HOSTINGS = ("premium", "flex")

_UNITS = (1, 2, 5, 10, 20, 50, 100)
"""Sizes that Web PubSub comes in."""

_FREE_GB_SECONDS = 100_000
_FREE_RUNS = 250_000
_FREE_TELEMETRY_GB = 5
_FREE_REPORTS = 100_000
_FREE_OPERATIONS = 13_000_000
_MILLION = Decimal(1_000_000)
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is asked of the hub, all users together.

    Attributes:
        users: People with an account.
        events: Published in a day, those of jobs not counted.
        jobs: Asked for in a day.
        hosting: One of `HOSTINGS`.
    """

    users: int
    events: int
    jobs: int
    hosting: str = "premium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the bill.

    Attributes:
        component: What is paid for.
        amount: How much of it, in words.
        usd: Dollars a month, to the cent.
    """

    component: str
    amount: str
    usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A month."""

    rows: Sequence[Row]

    @property
    def total(self) -> Decimal:
        """Of all rows."""
        return sum((row.usd for row in self.rows), Decimal(0))

    @property
    def workers(self) -> Decimal:
        """Of what the budget calls the workers: where the functions run, and the bus."""
        named = [row.usd for row in self.rows if row.component in ("Functions", "Service Bus")]
        return sum(named, Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """The file's content.

    Attributes:
        usd: Price by name.
        since: The newest day of any price, in ISO 8601.
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
        ConfigurationError: It cannot be read, or something is missing; the message names the file.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
        prices = document["prices"]
        return Prices(
            usd={name: Decimal(each["usd"]) for name, each in prices.items()},
            since=max(each["since"] for each in prices.values()),
            tokens={
                name: (Decimal(each["input"]), Decimal(each["output"]))
                for name, each in document["tokens"]["models"].items()
            },
            use=document["use"],
            budget=document["budget"],
            days=int(document["daysPerMonth"]),
        )
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    except KeyError as error:
        raise ConfigurationError(f"{path}: {error} is missing") from error
    except (ValueError, ArithmeticError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: that is no file of prices ({error})") from error


def bill(use: Use, prices: Prices) -> Bill:
    """What a month of that use costs."""
    month = _Month(use, prices)
    rows = (
        month.functions(),
        month.service_bus(),
        month.realtime(),
        month.mails(),
        month.database(),
        month.models(),
        month.telemetry(),
        month.rest(),
    )
    return Bill(rows=rows)


class _Month:
    """The numbers of a month, and a row of each."""

    def __init__(self, use: Use, prices: Prices) -> None:
        self._use, self._prices, self._usd, self._assumed = use, prices, prices.usd, prices.use
        self._jobs = use.jobs * prices.days
        self._published = use.events * prices.days + self._jobs * self._assumed["eventsPerJob"]
        self._mails = int(self._published * Decimal(self._assumed["mailsPerEvent"]))

    def functions(self) -> Row:
        if self._use.hosting == "flex":
            return self._flex()
        a_day = self._published / self._prices.days
        peak = a_day / 86_400 * self._assumed["peakFactor"]
        instances = max(1, -(-int(peak) // self._assumed["eventsPerSecondAndInstance"]))
        amount = f"EP1, {instances} always there"
        return _row("Functions", amount, instances * self._usd["functions.EP1"])

    def _flex(self) -> Row:
        seconds = self._published * Decimal(self._assumed["flexGbSecondsPerEvent"])
        seconds += self._jobs * Decimal(self._assumed["flexGbSecondsPerJob"])
        runs = 4 * self._published + self._jobs
        usd = max(Decimal(0), seconds - _FREE_GB_SECONDS) * self._usd["functions.flex.gbSecond"]
        usd += self._millions(runs - _FREE_RUNS) * self._usd["functions.flex.million"]
        return _row("Functions", f"Flex, {_short(seconds)} GB-seconds", usd)

    def service_bus(self) -> Row:
        operations = self._published * self._assumed["operationsPerEvent"]
        operations += self._jobs * self._assumed["operationsPerJob"]
        usd = self._usd["serviceBus.standard"]
        usd += self._millions(operations - _FREE_OPERATIONS) * self._usd["serviceBus.million"]
        return _row("Service Bus", f"Standard, {_short(operations)} operations", usd)

    def realtime(self) -> Row:
        connected = self._use.users * Decimal(self._assumed["connectedUsers"])
        wanted = max(1, -(-int(connected) // 800))
        units = next((each for each in _UNITS if each >= wanted), _UNITS[-1])
        free = units * 1_000_000 * self._prices.days
        usd = units * self._usd["realtime.unit"] * self._prices.days
        usd += self._millions(self._published - free) * self._usd["realtime.million"]
        return _row("Web PubSub", f"{units} of 1,000 connections", usd)

    def mails(self) -> Row:
        megabytes = self._mails * Decimal(self._assumed["mailKilobytes"]) / 1000
        usd = self._mails * self._usd["email.mail"] + megabytes * self._usd["email.megabyte"]
        reports = self._millions(self._mails - _FREE_REPORTS) * self._usd["eventGrid.million"]
        return _row("Mails", f"{_short(self._mails)} and their reports", usd + reports)

    def database(self) -> Row:
        sizes = ((100, "B1ms"), (1_000, "D2ds_v5"))
        size = next((name for most, name in sizes if self._use.users <= most), "D4ds_v5")
        kept = self._published * Decimal(self._assumed["megabytesPerEventKept"]) / 1000
        storage = next(each for each in (32, 64, 128, 256, 512, 1024, 32_768) if each >= kept)
        usd = self._usd[f"database.{size}"] + storage * self._usd["database.gigabyte"]
        return _row("PostgreSQL", f"{size}, {storage} GB", usd)

    def models(self) -> Row:
        usd = Decimal(0)
        for each in self._assumed["jobs"].values():
            sent, received = self._prices.tokens[each["model"]]
            jobs = self._jobs * Decimal(each["share"])
            usd += jobs * (each["input"] * sent + each["output"] * received) / _MILLION
        return _row("AI models", f"{_short(self._jobs)} jobs", usd)

    def telemetry(self) -> Row:
        gigabytes = (
            self._published * Decimal(self._assumed["telemetryKilobytesPerEvent"]) / _MILLION
        )
        usd = max(Decimal(0), gigabytes - _FREE_TELEMETRY_GB) * self._usd["telemetry.gigabyte"]
        amount = f"{gigabytes:.1f} GB, three alerts"
        return _row("Application Insights", amount, usd + self._usd["alerts.rules"])

    def rest(self) -> Row:
        usd = self._usd["storage.month"] + 10 * self._usd["vault.tenThousand"]
        return _row("Storage, Key Vault", "files, packages, secrets", usd)

    def _millions(self, number: int) -> Decimal:
        return max(0, number) / _MILLION


def _row(component: str, amount: str, usd: Decimal) -> Row:
    return Row(component=component, amount=amount, usd=usd.quantize(_CENT))


def _short(number: int | Decimal) -> str:
    for size, name in ((1_000_000, " million"), (1_000, " thousand")):
        if number >= size:
            return f"{number / size:.1f}{name}"
    return str(int(number))
