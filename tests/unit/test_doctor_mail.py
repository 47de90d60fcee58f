"""`huntaze doctor` on mails that go to Azure Communication Services."""

import asyncio
from pathlib import Path

import pytest

from notifications.azure_resource import AzureResource
from notifications.cli.doctor_mail import examine_mail
from notifications.cli.findings import Finding, Mark
from notifications.owner import DataFolder
from notifications.settings import Settings
from tests.azure_server import Script, scripted

KEY = "c2FtcGxlLXNhbXBsZS1zYW1wbGUtc2FtcGxlLTAwMDE="
REPORTS = "a-sample-key-of-the-reports-0123456789"


async def examined(script: Script, folder: Path, **changes: object) -> Finding:
    """What is found of a service that answers so."""
    async with scripted(script):
        resource = AzureResource(endpoint=script.endpoint, key=KEY)
        settings = Settings(email="acs", acs=resource, **changes)  # type: ignore[arg-type]
        (found,) = await asyncio.to_thread(lambda: list(examine_mail(DataFolder(folder), settings)))
        return found


@pytest.mark.parametrize(
    ("status", "mark", "says"),
    [
        (404, Mark.RIGHT, "answers and takes a key; at most 30 mails a minute, 100 an hour"),
        (401, Mark.WRONG, "because"),
        (403, Mark.WRONG, "because"),
        (503, Mark.WRONG, "acs-503"),
    ],
)
async def test_the_service_is_asked_without_a_mail(
    tmp_path: Path, status: int, mark: Mark, says: str
) -> None:
    """Whether it takes our key shows from asking for a mail that is not there."""
    script = Script(status=status, body=b'{"error":{"code":"","message":"because"}}')
    found = await examined(script, tmp_path, email_reports_key=REPORTS)
    assert (found.mark, KEY in found.detail) == (mark, False)
    assert says in found.detail
    assert script.requests[0].startswith("GET /emails/operations/")


async def test_mails_without_reports_are_doubtful(tmp_path: Path) -> None:
    """Who hears of no bounces is told how to."""
    found = await examined(Script(status=404), tmp_path)
    assert found.mark is Mark.DOUBTFUL
    assert "HUNTAZE_EMAIL_REPORTS_KEY" in found.advice
