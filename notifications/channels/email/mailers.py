"""Which mailer carries the mails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from notifications.channels.email.channel import TIME_LIMIT
from notifications.channels.email.folder import FolderMailer
from notifications.channels.email.smtp import WAIT_S, SmtpMailer
from notifications.ports import Clock, Mailer
from notifications.settings import Settings


@asynccontextmanager
async def open_mailer(settings: Settings, folder: Path, clock: Clock) -> AsyncIterator[Mailer]:
    """The mailer that the settings ask for, until the block ends.

    Args:
        settings: What is configured.
        folder: Where the mail folder writes.
        clock: For the mail server's pauses.

    Raises:
        InvalidInput: The sender's address is none.
        ConfigurationError: The mail server's CA file cannot be used.
    """
    if settings.email == "smtp" and settings.smtp is not None:
        async with SmtpMailer(settings.smtp, settings.email_from, clock) as mailer:
            yield mailer
        return
    in_folder = FolderMailer(folder, settings.email_from)
    await in_folder.tidy()
    yield in_folder


def mail_time_limit(settings: Settings) -> float:
    """Seconds that one attempt at a mail may take, waiting for a connection included."""
    if settings.email == "smtp" and settings.smtp is not None:
        return max(TIME_LIMIT, settings.smtp.timeout + 3 * WAIT_S)
    return TIME_LIMIT
