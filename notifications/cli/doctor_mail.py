"""`huntaze doctor` on what carries the mails. Sends none."""

import asyncio
from collections.abc import Iterator

from notifications.channels.email.smtp import examine
from notifications.cli.findings import Finding, Mark
from notifications.deliveries import Failed
from notifications.errors import HuntazeError
from notifications.owner import DataFolder
from notifications.settings import Settings
from notifications.smtp_url import SETTING, Relay


def examine_mail(folder: DataFolder, settings: Settings) -> Iterator[Finding]:
    """Where mails go, and whether that takes them."""
    if settings.email == "smtp" and settings.smtp is not None:
        yield _server(settings.smtp, settings.email_from)
        return
    detail = f"each is a file in {folder.mail}"
    if settings.smtp is None:
        yield Finding(Mark.RIGHT, "mail", detail)
    else:
        advice = f"set HUNTAZE_EMAIL=smtp, or take {SETTING} out"
        yield Finding(Mark.DOUBTFUL, "mail", f"{detail}, although {SETTING} is set", advice)


def _server(relay: Relay, sender: str) -> Finding:
    try:
        found = asyncio.run(examine(relay, sender))
    except HuntazeError as error:
        return Finding(Mark.WRONG, "mail", str(error), f"correct {SETTING}")
    if isinstance(found, str):
        return Finding(Mark.RIGHT, "mail", f"{relay.shown} answers: {found}")
    detail = f"{relay.shown}: {found.detail}"
    if isinstance(found, Failed):
        advice = f"mails wait and are tried again; if this lasts, check host and port in {SETTING}"
        return Finding(Mark.WRONG, "mail", detail, advice)
    return Finding(Mark.WRONG, "mail", detail, found.advice)
