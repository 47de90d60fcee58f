"""`huntaze doctor` on what carries the mails. Sends none."""

import asyncio
from collections.abc import Iterator

from notifications.azure_resource import AzureResource
from notifications.channels.email.acs import examine_account
from notifications.channels.email.acs_answers import SETTING as ACS
from notifications.channels.email.smtp import examine
from notifications.cli.findings import Finding, Mark
from notifications.deliveries import Delivered, Failed
from notifications.errors import HuntazeError
from notifications.owner import DataFolder
from notifications.settings import Settings
from notifications.smtp_url import SETTING, Relay


def examine_mail(folder: DataFolder, settings: Settings) -> Iterator[Finding]:
    """Where mails go, and whether that takes them."""
    if settings.email == "smtp" and settings.smtp is not None:
        yield _server(settings.smtp, settings.email_from)
        return
    if settings.email == "acs" and settings.acs is not None:
        yield _service(settings, settings.acs)
        return
    detail = f"each is a file in {folder.mail}"
    for kind, setting, given in (("smtp", SETTING, settings.smtp), ("acs", ACS, settings.acs)):
        if given is not None:
            advice = f"set HUNTAZE_EMAIL={kind}, or take {setting} out"
            yield Finding(Mark.DOUBTFUL, "mail", f"{detail}, although {setting} is set", advice)
            return
    yield Finding(Mark.RIGHT, "mail", detail)


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


def _service(settings: Settings, resource: AzureResource) -> Finding:
    found = asyncio.run(examine_account(resource))
    if isinstance(found, Failed):
        detail = f"{resource.host}: {found.reason} ({found.detail})"
        advice = f"mails wait and are tried again; if this lasts, check the endpoint in {ACS}"
        return Finding(Mark.WRONG, "mail", detail, advice)
    if not isinstance(found, Delivered):
        return Finding(Mark.WRONG, "mail", f"{resource.host}: {found.detail}", found.advice)
    how = "a key" if resource.key is not None else "the machine's identity"
    limits = settings.acs_limits
    pace = f"at most {limits.per_minute} mails a minute, {limits.per_hour} an hour"
    detail = f"{resource.host} answers and takes {how}; {pace}"
    if settings.email_reports_key is None:
        advice = "set HUNTAZE_EMAIL_REPORTS_KEY and subscribe to reports, to hear of bounces"
        return Finding(Mark.DOUBTFUL, "mail", f"{detail}; nobody reports bounces", advice)
    return Finding(Mark.RIGHT, "mail", detail)
