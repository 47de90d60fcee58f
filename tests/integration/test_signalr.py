"""SignalR: Microsoft's client, the built-in service, and what its servers send."""

import asyncio
from typing import Any

import httpx
import orjson
import pytest
import websockets

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.signalr import SignalRGateway
from notifications.errors import Unavailable
from notifications.timing import SystemClock
from tests.node_packages import needs_node
from tests.realtime_server import (
    HUB,
    SECRET,
    Service,
    close_code,
    hub_messages,
    refused,
    server_token,
    serving,
)
from tests.signalr_client import node_client

END = "\x1e"


@needs_node
async def test_microsofts_client_is_told_what_is_pushed() -> None:
    """It negotiates, connects under the id that it was given, gets pushes and server messages."""
    async with serving(clock=SystemClock()) as service:
        url, token = service.signalr_access("acme", "léa/1")
        gateway = SignalRGateway(resource(service), HUB, SystemClock())
        async with node_client(url, token) as client:
            greeted = await client.said()
            assert greeted["what"] == "connected", greeted
            (session,) = service.sockets.of_user("acme", "léa/1")
            assert service.sockets.id_of(session) == greeted["id"]
            assert "nobody answers calls" in (await client.said())["message"]
            data = {"kind": "notification", "item": {"title": "Prêt « ! »"}, "unread": 1}
            await gateway.push("acme", "léa/1", orjson.dumps(data))
            assert (await client.said())["data"] == data
            await service.sockets.push("acme", "léa/1", b'{"from":"the hub itself"}')
            assert (await client.said())["data"] == {"from": "the hub itself"}
            service.sockets.end(session, "enough")
            again = await client.said()
            assert (again["what"], again["id"] != greeted["id"]) == ("reconnected", True)
        await gateway.close()


def resource(service: Service) -> AzureResource:
    """The built-in service, as a server reaches it."""
    return AzureResource(endpoint=f"http://127.0.0.1:{service.port}/signalr", key=SECRET)


async def test_servers_reach_users_groups_connections_and_all() -> None:
    """The REST API sends to whom it says, to SignalR's clients alone; others keep their own."""
    async with (
        serving(clock=SystemClock()) as service,
        service.signalr_client("acme", "lea") as lea,
        service.signalr_client("other", "tom") as tom,
        service.client("acme", "lea") as of_web_pubsub,
        httpx.AsyncClient() as http,
    ):
        ids = {
            each.claims.subject: service.sockets.id_of(each)
            for each in service.sockets.everybody()
            if each not in service.sockets.of_user("acme", "lea")[1:]
        }

        async def call(method: str, path: str, target: str | None = None) -> int:
            url = f"http://127.0.0.1:{service.port}/signalr/api/hubs/{HUB}{path}"
            headers = {"authorization": f"Bearer {server_token(url)}"}
            body = None if target is None else {"target": target, "arguments": [1, {"é": 2}]}
            return (await http.request(method, url, json=body, headers=headers)).status_code

        assert await call("PUT", f"/groups/g/connections/{ids['acme/lea']}") == 200
        assert await call("PUT", "/users/other%2Ftom/groups/g") == 200
        for path, target in (
            ("/users/acme%2Flea/:send", "user"),
            (f"/connections/{ids['acme/lea']}/:send", "connection"),
            ("/groups/g/:send", "group"),
            (f"/:send?excluded={ids['other/tom']}", "all but tom"),
        ):
            assert await call("POST", path, target) == 202
        got = [(await hub_messages(lea))[0] for _ in range(4)]
        assert [each["target"] for each in got] == ["user", "connection", "group", "all but tom"]
        assert got[0]["arguments"] == [1, {"é": 2}]
        assert (await hub_messages(tom))[0]["target"] == "group"
        assert await call("HEAD", "/users/acme%2Flea") == 200
        assert await call("HEAD", "/users/acme%2Fnobody") == 404
        assert await call("POST", "/users/acme%2Flea/:send", "") == 400
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await of_web_pubsub.recv()


@pytest.mark.fault("forge a token of SignalR, or show one whose time is over", "attackers")
async def test_only_tokens_for_this_service_open_it() -> None:
    """A Web PubSub token, another hub's, an expired or foreign one: 401, as in negotiate."""
    async with serving(clock=SystemClock()) as service, httpx.AsyncClient() as http:
        url, good = service.signalr_access("acme", "lea")
        bad = [
            "nonsense",
            good[:-1],
            good.rpartition(".")[0] + ".",
            service.token("acme", "lea"),
            server_token(url, nameid="acme/lea", key="another-secret-of-more-than-32-bytes!"),
            server_token(url, nameid="acme/lea", life_s=-1),
            server_token(url.replace(HUB, "other"), nameid="acme/lea"),
            server_token(url.replace("/signalr", ""), nameid="acme/lea"),
            server_token(url, nameid="lea"),
        ]
        negotiate = f"http://127.0.0.1:{service.port}/signalr/client/negotiate?hub={HUB}"
        socket = f"ws://127.0.0.1:{service.port}/signalr/client/?hub={HUB}"
        for token in bad:
            headers = {"authorization": f"Bearer {token}"}
            assert (await http.post(negotiate, headers=headers)).status_code == 401
            status, _, _ = await refused(f"{socket}&access_token={token}", subprotocols=())
            assert status == 401
        status, _, _ = await refused(
            socket.replace(HUB, "nowhere") + f"&access_token={good}", subprotocols=()
        )
        assert status == 404
        # A token of SignalR's opens none of Web PubSub's sockets.
        status, _, _ = await refused(service.url(good))
        assert status == 401


@pytest.mark.parametrize(
    ("said", "answers", "code"),
    [
        ('{"protocol":"messagepack","version":1}', [{"error": "this hub speaks"}], 1008),
        ("[]", [{"type": 7}], 1007),
        ("{", [{"type": 7}], 1007),
        ('{"protocol":"json","version":1}\x1e{"type":6}', [{}, {"type": 6}], None),
        ('{"protocol":"json","version":1}\x1e{"type":99}\x1e{"type":6}', [{}, {"type": 6}], None),
        (
            '{"protocol":"json","version":1}\x1e{"type":4,"invocationId":"7","target":"x"}',
            [{}, {"type": 3, "invocationId": "7"}],
            None,
        ),
    ],
)
async def test_what_a_client_may_say(said: str, answers: list[Any], code: int | None) -> None:
    """Other protocols and nonsense end it with a reason; pings and calls are answered."""
    async with serving(clock=SystemClock()) as service:
        url, token = service.signalr_access("acme", "lea")
        url = f"ws{url.removeprefix('http')}&access_token={token}"
        async with websockets.connect(url, compression=None) as client:
            await client.send(said + END)
            got: list[Any] = []
            while len(got) < len(answers):
                got += await hub_messages(client)
            for answer, expected in zip(got, answers, strict=False):
                for name, value in expected.items():
                    assert str(answer[name]).startswith(str(value)), got
            if code is not None:
                assert await close_code(client) == code


async def test_a_service_without_an_identity_gives_no_token() -> None:
    """Negotiate is told that the service is away, so that the client tries again."""
    gateway = SignalRGateway(
        AzureResource(endpoint="https://127.0.0.1:9"), HUB, SystemClock(), time_limit=5
    )

    class Identity:
        """An identity that is somebody's, though nobody listens to it."""

        async def get_token(self, *scopes: str) -> Any:
            return type("Token", (), {"token": "x"})

        async def close(self) -> None:
            """Nothing is open."""

    gateway._credential = Identity()
    with pytest.raises(Unavailable, match="SignalR Service gave no client token"):
        await gateway.client_access("acme", "lea", 3600)
    await gateway.close()
