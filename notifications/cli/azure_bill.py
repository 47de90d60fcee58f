"""What the hub costs on Azure in a month, from dated prices and a described use. Pure.

The plan is that of `infra/`: what `deploy-azure-workers.sh` makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from notifications.cli.azure_prices import Prices

HOSTINGS = ("premium", "flex")

_UNITS = (1, 2, 5, 10, 20, 50, 100)
"""Sizes that Web PubSub comes in."""

_CONNECTIONS = 1_000
"""Of a unit of Web PubSub. Reckoned with 800: it should not be full."""

_DATABASES = ((100, "B1ms", 32), (1_000, "D2ds_v5", 64))
"""Up to how many users which server is enough, and the GB it is deployed with: `infra/` says the
same of beta and production."""

_LARGEST = ("D4ds_v5", 64)
_GIGABYTES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_767)
"""Sizes of a server's disk."""

_MOST_INSTANCES = 20
"""That are always there: `alwaysReadyInstances` of `infra/main.bicep` ends there."""

_MOST_OPERATIONS = 1_000
"""A second, of a Service Bus namespace of the Standard tier."""

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
        beyond: What is asked that the service does not give in this size, in a sentence; empty
            where it gives all.
    """

    component: str
    amount: str
    usd: Decimal
    beyond: str = ""


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

    @property
    def beyond(self) -> Sequence[str]:
        """What the services do not give: a sentence for each."""
        return [f"{row.component}: {row.beyond}" for row in self.rows if row.beyond]


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
        instances = max(1, -(-int(self._peak()) // self._assumed["eventsPerSecondAndInstance"]))
        beyond = ""
        if instances > _MOST_INSTANCES:
            beyond = f"an app has {_MOST_INSTANCES} always there at most; EP2 and EP3 do more each"
        usd = instances * self._usd["functions.EP1"]
        return _row("Functions", f"EP1, {instances} always there", usd, beyond)

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
        beyond = ""
        if (a_second := self._peak() * self._assumed["operationsPerEvent"]) > _MOST_OPERATIONS:
            beyond = (
                f"{_short(Decimal(a_second))} operations a second at the peak, and Standard takes"
                f" {_MOST_OPERATIONS:,}; Premium takes more"
            )
        return _row("Service Bus", f"Standard, {_short(operations)} operations", usd, beyond)

    def realtime(self) -> Row:
        connected = self._use.users * Decimal(self._assumed["connectedUsers"])
        wanted = max(1, -(-int(connected) // 800))
        units = next((each for each in _UNITS if each >= wanted), _UNITS[-1])
        beyond = ""
        if connected > units * _CONNECTIONS:
            beyond = (
                f"{_short(connected)} browsers at once, and {units} units, the most there are of"
                f" Standard, take {units * _CONNECTIONS:,}; Premium P2 has more"
            )
        free = units * 1_000_000 * self._prices.days
        usd = units * self._usd["realtime.unit"] * self._prices.days
        usd += self._millions(self._published - free) * self._usd["realtime.million"]
        return _row("Web PubSub", f"{units} of {_CONNECTIONS:,} connections", usd, beyond)

    def mails(self) -> Row:
        megabytes = self._mails * Decimal(self._assumed["mailKilobytes"]) / 1000
        usd = self._mails * self._usd["email.mail"] + megabytes * self._usd["email.megabyte"]
        reports = self._millions(self._mails - _FREE_REPORTS) * self._usd["eventGrid.million"]
        return _row("Mails", f"{_short(self._mails)} and their reports", usd + reports)

    def database(self) -> Row:
        sizes = ((name, gb) for most, name, gb in _DATABASES if self._use.users <= most)
        size, least = next(sizes, _LARGEST)
        kept = max(least, self._published * Decimal(self._assumed["megabytesPerEventKept"]) / 1000)
        storage = next((each for each in _GIGABYTES if each >= kept), _GIGABYTES[-1])
        beyond = ""
        if kept > storage:
            beyond = f"{_short(kept)} GB are kept, and a server holds {storage:,}; keep less long"
        usd = self._usd[f"database.{size}"] + storage * self._usd["database.gigabyte"]
        return _row("PostgreSQL", f"{size}, {storage} GB", usd, beyond)

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

    def _peak(self) -> float:
        """Events a second in the busiest hour."""
        peak: float = self._published / self._prices.days / 86_400 * self._assumed["peakFactor"]
        return peak

    def _millions(self, number: int) -> Decimal:
        return max(0, number) / _MILLION


def _row(component: str, amount: str, usd: Decimal, beyond: str = "") -> Row:
    return Row(component=component, amount=amount, usd=usd.quantize(_CENT), beyond=beyond)


def _short(number: int | Decimal) -> str:
    for size, name in ((1_000_000, " million"), (1_000, " thousand")):
        if number >= size:
            return f"{number / size:.1f}{name}"
    return str(int(number))
