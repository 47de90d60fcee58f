"""Microsoft's SignalR client, unmodified, against a whole hub: in Node, and in Chromium."""

import asyncio
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest

from tests.chromium import PATIENCE_MS, browser, needed
from tests.hub_process import HubProcess, hub_process
from tests.node_packages import FOLDER, install, needs_node
from tests.signalr_client import node_client

CLIENT = FOLDER / "node_modules" / "@microsoft" / "signalr" / "dist" / "browser" / "signalr.js"

CONNECT = """async ([url, token]) => {
  window.got = [];
  const connection = new signalR.HubConnectionBuilder()
    .withUrl(url, {accessTokenFactory: () => token, withCredentials: false})
    .configureLogging(signalR.LogLevel.None)
    .build();
  connection.on("notification", (data) => window.got.push(data));
  await connection.start();
}"""


class EmptyPage(BaseHTTPRequestHandler):
    """The app, which has nothing on its page."""

    def do_GET(self) -> None:
        """Any page."""
        body = b"<!doctype html><title>app</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture(scope="module")
def app() -> Iterator[str]:
    """The origin of an app's pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), EmptyPage) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, app: str) -> Iterator[HubProcess]:
    """A hub whose app is at another origin."""
    data: Path = tmp_path_factory.mktemp("signalr") / "data"
    with hub_process(data, {"HUNTAZE_ALLOWED_ORIGINS": app}) as running:
        yield running


def user_token(hub: HubProcess, user_id: str) -> str:
    """What a user's client has in hand."""
    answer = httpx.post(
        f"{hub.url}/v1/user-tokens", json={"userId": user_id}, headers=hub.tenant_headers("acme")
    )
    return str(answer.json()["token"])


def publish(hub: HubProcess, user_id: str) -> None:
    """Have a message come in for a user."""
    event = {
        "specversion": "1.0",
        "id": f"message-of-{user_id}",
        "source": "/test",
        "type": "message.received",
        "userid": user_id,
        "data": {"from": {"name": "Zoé"}, "preview": "Bonjour !"},
    }
    answer = httpx.post(f"{hub.url}/v1/events", json=event, headers=hub.tenant_headers("acme"))
    answer.raise_for_status()


@needs_node
async def test_a_toast_reaches_the_client_in_node(hub: HubProcess) -> None:
    """Given the hub's negotiate and a user token, it connects and is pushed what was published."""
    url = f"{hub.url}/v1/realtime/signalr"
    token = await asyncio.to_thread(user_token, hub, "lea")
    async with node_client(url, token) as client:
        greeted = await client.said()
        assert greeted["what"] == "connected", greeted
        assert (await client.said())["what"] == "answered"
        await asyncio.to_thread(publish, hub, "lea")
        pushed = (await client.said())["data"]
        assert (pushed["kind"], pushed["unread"]) == ("notification", 1)
        assert pushed["item"]["eventId"] == "message-of-lea"


@needs_node
@needed
def test_a_toast_reaches_the_client_in_a_browser(hub: HubProcess, app: str) -> None:
    """The same on a page of another origin, which the hub lets in."""
    install()
    token = user_token(hub, "tom")
    with browser() as chromium:
        page = chromium.new_page()
        page.goto(f"{app}/")
        page.add_script_tag(path=CLIENT)
        page.evaluate(CONNECT, [f"{hub.url}/v1/realtime/signalr", token])
        publish(hub, "tom")
        page.wait_for_function("window.got.length > 0", timeout=PATIENCE_MS)
        (pushed,) = page.evaluate("window.got")
    assert pushed["item"]["eventId"] == "message-of-tom"
