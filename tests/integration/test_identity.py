"""The machine's identity, as endpoints of Azure are shown it."""

import time
from pathlib import Path

import pytest
from aiohttp import web

from ai_workers.extension import AiWorkers
from ai_workers.models.identity import MachineIdentity, is_azures
from notifications.bootstrap import open_local_hub
from notifications.errors import ConfigurationError
from notifications.owner import own
from notifications.settings import Settings
from tests.hub_world import SECRETS

RESOURCE = "https://sample.services.ai.azure.com/openai/v1"
PROJECT = "https://sample.services.ai.azure.com/api/projects/one/openai/v1"


@pytest.mark.parametrize(
    ("url", "scope"),
    [(RESOURCE, "https://cognitiveservices.azure.com"), (PROJECT, "https://ai.azure.com")],
)
async def test_a_token_is_the_managed_identitys(
    monkeypatch: pytest.MonkeyPatch, url: str, scope: str
) -> None:
    """It is asked for where App Service says, for what the endpoint takes, and kept while good."""
    asked = []

    async def give(request: web.Request) -> web.Response:
        asked.append((request.headers["X-IDENTITY-HEADER"], request.query["resource"]))
        expires = str(int(time.time()) + 86_400)
        token = {"access_token": f"token-{len(asked)}", "expires_on": expires}
        return web.json_response({**token, "resource": scope, "token_type": "Bearer"})

    app = web.Application()
    app.router.add_get("/token", give)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    place = f"http://127.0.0.1:{runner.addresses[0][1]}/token"
    monkeypatch.setenv("IDENTITY_ENDPOINT", place)
    monkeypatch.setenv("IDENTITY_HEADER", "sample")
    identity = MachineIdentity(url)
    try:
        assert [await identity.token(), await identity.token()] == ["token-1", "token-1"]
        assert asked == [("sample", scope)]
    finally:
        await identity.aclose()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("url", "may"),
    [
        (RESOURCE, True),
        ("https://sample.openai.azure.com", True),
        ("http://sample.openai.azure.com", False),
        ("https://sample.openai.azure.com.example.com/openai.azure.com", False),
        ("https://openai.azure.com@example.com/", False),
        ("http://127.0.0.1:11434/v1", False),
    ],
)
def test_a_token_is_for_azure_alone(url: str, may: bool) -> None:
    """Who else answers could use it; and nobody is to read it on its way."""
    assert is_azures(url) is may


async def test_an_endpoint_with_neither_key_nor_identity_stops_the_start(tmp_path: Path) -> None:
    """The message names the setting that is missing, and when it is not needed."""
    settings = Settings(ai_endpoint="http://127.0.0.1:9/v1")
    with own(tmp_path) as folder, pytest.raises(ConfigurationError) as refused:
        async with open_local_hub(settings, SECRETS, folder, extension=AiWorkers()):
            pass
    assert "HUNTAZE_AI_KEY: is needed" in str(refused.value)
    assert "https address of Azure" in str(refused.value)
