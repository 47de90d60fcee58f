"""What carries the mails and what is known of them afterwards, put together."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from notifications.channels.email.acs import AcsMailer
from notifications.channels.email.mailers import open_mailer, service_routes
from notifications.database import Database
from notifications.ports import Clock, Dice, Mailer
from notifications.settings import Secrets, Settings
from notifications.stores.mailing import SqlMailBudget, SqlMailReports, SqlSuppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Mails:
    """The mailer and what belongs to it.

    Attributes:
        mailer: Carries them.
        waiting: How many wait for the account's limits, as far as this process knows.
        suppressions: Where they do not go.
        reports: What became of them.
        routes: The hub's own endpoint for mails, by the path under which each part is served.
    """

    mailer: Mailer
    waiting: Callable[[], int]
    suppressions: SqlSuppressions
    reports: SqlMailReports
    routes: Mapping[str, Callable[[Request], Awaitable[Response]]]


@asynccontextmanager
async def open_mails(
    settings: Settings,
    secrets: Secrets,
    folder: Path,
    database: Database,
    clock: Clock,
    dice: Dice,
) -> AsyncIterator[Mails]:
    """The mailer that the settings ask for, until the block ends."""
    budget = SqlMailBudget(database, settings.acs_limits)
    suppressions = SqlSuppressions(database, clock)
    async with open_mailer(settings, folder, clock, budget) as mailer:
        yield Mails(
            mailer=mailer,
            waiting=lambda: mailer.waiting if isinstance(mailer, AcsMailer) else 0,
            suppressions=suppressions,
            reports=SqlMailReports(database, suppressions),
            routes=service_routes(settings, folder, secrets.user_token_secrets, clock, dice),
        )
