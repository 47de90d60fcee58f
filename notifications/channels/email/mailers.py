"""Which mailer carries the mails."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

from notifications.channels.email.acs import AcsMailer
from notifications.channels.email.acs_service import AcsService
from notifications.channels.email.channel import TIME_LIMIT
from notifications.channels.email.folder import FolderMailer
from notifications.channels.email.smtp import WAIT_S, SmtpMailer
from notifications.mailing import MailBudget
from notifications.ports import Clock, Dice, Mailer
from notifications.settings import Settings


@asynccontextmanager
async def open_mailer(
    settings: Settings, folder: Path, clock: Clock, budget: MailBudget | None = None
) -> AsyncIterator[Mailer]:
    """The mailer that the settings ask for, until the block ends.

    Args:
        settings: What is configured.
        folder: Where the mail folder writes.
        clock: For the mail server's pauses.
        budget: What the account may still send, where mails go to a managed service.

    Raises:
        InvalidInput: The sender's address is none.
        ConfigurationError: The mail server's CA file cannot be used.
    """
    if settings.email == "smtp" and settings.smtp is not None:
        async with SmtpMailer(settings.smtp, settings.email_from, clock) as mailer:
            yield mailer
        return
    if settings.email == "acs" and settings.acs is not None:
        assert budget is not None, "who opens it has a database"
        limits = settings.acs_limits
        async with AcsMailer(settings.acs, settings.email_from, clock, budget, limits) as acs:
            yield acs
        return
    in_folder = FolderMailer(folder, settings.email_from)
    await in_folder.tidy()
    yield in_folder


def mail_time_limit(settings: Settings) -> float:
    """Seconds that one attempt at a mail may take, waiting for a connection included."""
    if settings.email == "smtp" and settings.smtp is not None:
        return max(TIME_LIMIT, settings.smtp.timeout + 3 * WAIT_S)
    return TIME_LIMIT


def service_routes(
    settings: Settings, folder: Path, secrets: Sequence[str], clock: Clock, dice: Dice
) -> Mapping[str, Callable[[Request], Awaitable[Response]]]:
    """The hub's own endpoint for mails, by the path under which each part is served.

    Args:
        settings: What is configured: whose mails it takes.
        folder: Where they land.
        secrets: What its keys are made of.
        clock: Dates calls and mails.
        dice: Names operations.

    Raises:
        InvalidInput: The sender's address is none.
    """
    mailer = FolderMailer(folder, settings.email_from)
    service = AcsService(mailer, settings.email_from, secrets, clock, dice)
    return {"/emails:send": service.send, "/emails/operations/{id}": service.status}
