"""`huntaze doctor` on what pushes to browsers."""

import asyncio
from dataclasses import replace

import pytest

from notifications.azure_resource import AzureResource
from notifications.cli.doctor_realtime import examine_realtime
from notifications.cli.findings import Finding, Mark
from notifications.settings import Settings
from tests.azure_server import Script, scripted

KEY = "a-sample-secret-of-more-than-32-bytes"


async def examined(script: Script, kind: str) -> Finding:
    """What is found of a service that answers so."""
    async with scripted(script):
        resource = AzureResource(endpoint=script.endpoint, key=KEY)
        settings = replace(Settings(realtime=kind), **{kind: resource})
        (found,) = await asyncio.to_thread(lambda: list(examine_realtime(settings)))
        return found


@pytest.mark.parametrize("kind", ["webpubsub", "signalr"])
@pytest.mark.parametrize(
    ("status", "mark", "says"),
    [
        (404, Mark.RIGHT, "answers and takes a key"),
        (401, Mark.WRONG, "http-401"),
        (403, Mark.WRONG, "http-403"),
        (503, Mark.WRONG, "http-503"),
    ],
)
async def test_the_service_is_asked_without_a_push(
    kind: str, status: int, mark: Mark, says: str
) -> None:
    """Whether it takes our key shows from asking for a user that is not there."""
    script = Script(status=status, body=b"")
    found = await examined(script, kind)
    assert (found.mark, KEY in found.detail) == (mark, False)
    assert says in found.detail
    assert script.requests[0].startswith("HEAD ")


def test_a_connection_that_is_not_used_is_said() -> None:
    """Who set the connection and not what it is for is told."""
    settings = Settings(webpubsub=AzureResource(endpoint="https://a.example"))
    (found,) = examine_realtime(settings)
    assert found.mark is Mark.DOUBTFUL
    assert "HUNTAZE_REALTIME=webpubsub" in found.advice
