"""The Web PubSub adapter, Microsoft's server SDK and its clients, on the built-in sockets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import orjson
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from azure.messaging.webpubsubservice.aio import WebPubSubServiceClient

from notifications.azure_resource import AzureResource
from notifications.channels.realtime.tokens import UserTokens
from notifications.channels.realtime.webpubsub import WebPubSubGateway
from notifications.errors import Unavailable
from notifications.timing import SystemClock
from tests.node_packages import needs_node
from tests.realtime_clients import connected
from tests.realtime_server import (
    HUB,
    SECRET,
    Service,
    close_code,
    frame,
    server_token,
    serving,
    until,
)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Service, WebPubSubServiceClient]]:
    """The sockets, and Microsoft's server SDK with their access key."""
    async with serving(clock=SystemClock()) as service:
        endpoint = f"http://127.0.0.1:{service.port}"
        async with WebPubSubServiceClient(endpoint, HUB, AzureKeyCredential(SECRET)) as sdk:
            yield service, sdk


@pytest.mark.parametrize("kind", ["python", pytest.param("node", marks=needs_node)])
async def test_adapter_service_and_client_meet(kind: str) -> None:
    """What the adapter pushes arrives at Microsoft's client, which connected with its URL."""
    async with serving(clock=SystemClock()) as service:
        resource = AzureResource(endpoint=f"http://127.0.0.1:{service.port}", key=SECRET)
        gateway = WebPubSubGateway(resource, HUB)

        async def url() -> str:
            found, protocol = await gateway.client_url("acme", "léa/1", 3600)
            assert protocol == "json.webpubsub.azure.v1"
            return found

        async with connected(kind, url) as client:
            assert client.heard.connected[0][1] == "acme/léa/1"
            for number in range(3):
                await gateway.push("acme", "léa/1", orjson.dumps({"unread": number}))
            await until(lambda: len(client.heard.data) == 3)
            assert client.heard.data == [{"unread": 0}, {"unread": 1}, {"unread": 2}]
        await gateway.close()


async def test_the_sdk_sends_to_whom_it_says() -> None:
    """To a user, a group, a connection and all, in each type; who is excluded is left out."""
    async with (
        served() as (service, sdk),
        service.client("acme", "lea") as lea,
        service.client("other", "tom") as tom,
    ):
        (one,) = service.sockets.of_user("acme", "lea")
        (two,) = service.sockets.of_user("other", "tom")
        one_id, two_id = service.sockets.id_of(one), service.sockets.id_of(two)
        await sdk.send_to_user("acme/lea", {"n": 1})
        await sdk.send_to_connection(one_id, "plain é".encode(), content_type="text/plain")
        await sdk.add_connection_to_group("g/1", one_id)
        await sdk.add_user_to_group("g/1", "other/tom")
        await sdk.send_to_group("g/1", b"\x00\xff", content_type="application/octet-stream")
        await sdk.send_to_group("g/1", [2], excluded=[two_id])
        await sdk.send_to_all({"n": 3}, excluded=[one_id])
        await sdk.send_to_all({"n": 4})
        got = [await frame(lea) for _ in range(5)]
        assert [(each["from"], each["dataType"], each["data"]) for each in got] == [
            ("server", "json", {"n": 1}),
            ("server", "text", "plain é"),
            ("group", "binary", "AP8="),
            ("group", "json", [2]),
            ("server", "json", {"n": 4}),
        ]
        assert got[2]["group"] == "g/1"
        theirs = [await frame(tom) for _ in range(3)]
        assert [each["data"] for each in theirs] == ["AP8=", {"n": 3}, {"n": 4}]


async def test_the_sdk_asks_who_is_there_and_who_is_in_a_group() -> None:
    """Users, connections and groups exist while somebody is there; lists come page by page."""
    async with served() as (service, sdk):
        async with (
            service.client("acme", "lea") as lea,
            service.client("acme", "lea"),
            service.client("acme", "lea"),
        ):
            ids = [service.sockets.id_of(each) for each in service.sockets.of_user("acme", "lea")]
            assert await sdk.user_exists("acme/lea")
            assert await sdk.connection_exists(ids[0])
            assert not await sdk.group_exists("g")
            await sdk.add_user_to_group("g", "acme/lea")
            assert await sdk.group_exists("g")
            listed = [each.connection_id async for each in sdk.list_connections(group="g")]
            assert listed == ids
            paged = [
                each.connection_id
                async for each in sdk.list_connections(group="g", maxpagesize=1, top=2)
            ]
            assert paged == ids[:2]
            await sdk.remove_connection_from_group("g", ids[0])
            await sdk.remove_connection_from_all_groups(ids[1])
            left = [each.connection_id async for each in sdk.list_connections(group="g")]
            assert left == [ids[2]]
            await sdk.remove_user_from_group("g", "acme/lea")
            await sdk.add_user_to_group("h", "acme/lea")
            await sdk.remove_user_from_all_groups("acme/lea")
            assert not await sdk.group_exists("h")
            await sdk.close_connection(ids[0], reason="enough")
            assert (await frame(lea))["message"] == "enough"
            assert await close_code(lea) == 1008
            await sdk.close_user_connections("acme/lea")
            await until(lambda: service.sockets.count() == 0)
        assert not await sdk.user_exists("acme/lea")
        assert not await sdk.connection_exists(ids[0])
        with pytest.raises(HttpResponseError) as caught:
            await sdk.add_connection_to_group("g", ids[0])
        assert caught.value.status_code == 404


async def test_permissions_that_are_granted_count_at_once() -> None:
    """A client may do what it is granted, until it is taken away."""
    async with served() as (service, sdk), service.client("acme", "lea") as client:
        (session,) = service.sockets.of_user("acme", "lea")
        connection = service.sockets.id_of(session)
        send = '{"type":"sendToGroup","group":"g","ackId":%d,"dataType":"json","data":1}'
        permission = ("sendToGroup", connection)
        answers = []
        for number, change in enumerate((None, sdk.grant_permission, sdk.revoke_permission)):
            if change is not None:
                await change(*permission, target_name="g")
            assert await sdk.has_permission(*permission, target_name="g") is (number == 1)
            await client.send(send % number)
            answers.append((await frame(client))["success"])
        assert answers == [False, True, False]


async def test_tokens_that_the_sdk_asks_for_or_signs_itself_open_a_socket() -> None:
    """`:generateToken`, which managed identities use, and a token signed with the key alike."""
    async with served() as (service, sdk):
        signed = await sdk.get_client_access_token(user_id="acme/lea", groups=["g"])
        async with httpx.AsyncClient() as http:
            path = f"/api/hubs/{HUB}/:generateToken"
            url = f"http://127.0.0.1:{service.port}{path}?userId=acme%2Flea&group=g"
            headers = {"authorization": f"Bearer {server_token(url)}"}
            generated = (await http.post(url, headers=headers)).json()["token"]
            wrong = f"http://127.0.0.1:{service.port}{path}?userId=nobody"
            headers = {"authorization": f"Bearer {server_token(wrong)}"}
            assert (await http.post(wrong, headers=headers)).status_code == 400
        for token in (signed["token"], generated):
            claims = service.tokens.read(token)
            assert (claims.subject, claims.groups) == ("acme/lea", ("g",))


async def test_who_lacks_the_key_is_refused() -> None:
    """No token, a foreign, expired or unsigned one, and those of ours that are for other things."""
    async with serving(clock=SystemClock()) as service, httpx.AsyncClient() as http:
        origin = f"http://127.0.0.1:{service.port}"
        url = f"{origin}/api/hubs/{HUB}/users/{quote('acme/lea', safe='')}/:send"
        user_token, _ = UserTokens([SECRET], SystemClock()).issue("acme", "lea", 60)
        bad = [
            None,
            "nonsense",
            server_token(url, key="another-secret-of-more-than-32-bytes!"),
            server_token(url, life_s=-1),
            server_token(url, exp=None),
            server_token(url, aud=None),
            server_token(url.replace("lea", "tom")),
            server_token(url.replace("127.0.0.1", "evil") + "/x"),
            service.token("acme", "lea"),
            user_token,
            jwt.encode({"aud": url, "exp": 9_999_999_999}, None, algorithm="none"),
        ]
        for token in bad:
            headers = {} if token is None else {"authorization": f"Bearer {token}"}
            answer = await http.post(url, json={}, headers=headers)
            assert answer.status_code == 401, token
            assert answer.headers["www-authenticate"] == "Bearer"
        good = {"authorization": f"Bearer {server_token(url + '?api-version=2024-12-01')}"}
        assert (await http.post(url, json={}, headers=good)).status_code == 202


@pytest.mark.parametrize(
    ("call", "body", "kind", "status"),
    [
        ("POST /:send", b"{", "application/json", 400),
        ("POST /:send", b"[" * 900 + b"]" * 900, "application/json", 400),
        ("POST /:send", b"\xff", "text/plain", 400),
        ("POST /:send", b"x", "image/png", 415),
        ("POST /:send", b"x" * (1024 * 1024 + 1), "text/plain", 413),
        ("POST /:send?filter=userId%20ne%20'x'", b"1", "application/json", 400),
        ("POST /groups//:send", b"1", "application/json", 400),
        ("GET /groups/g/connections?top=x", b"", "text/plain", 400),
        ("PUT /groups/g/connections/none", b"", "text/plain", 404),
        ("POST /connections/none/:send", b"1", "application/json", 202),
        ("POST /nowhere", b"", "text/plain", 404),
        ("GET /", b"", "text/plain", 404),
    ],
)
async def test_a_call_that_is_wrong_is_told_so(
    call: str, body: bytes, kind: str, status: int
) -> None:
    """Whatever a server sends is answered with what is wrong, never with a fault of ours."""
    method, _, path = call.partition(" ")
    async with serving(clock=SystemClock()) as service, httpx.AsyncClient() as http:
        url = f"http://127.0.0.1:{service.port}/api/hubs/{HUB}{path}"
        headers = {"authorization": f"Bearer {server_token(url)}", "content-type": kind}
        answer = await http.request(method, url, content=body, headers=headers)
        assert answer.status_code == status, answer.text
        if status >= 400 and answer.content:
            assert answer.json()["status"] == status


async def test_a_service_that_refuses_gives_no_client_token() -> None:
    """Negotiate is told that the service is away, so that the client tries again."""
    resource = AzureResource(endpoint="https://127.0.0.1:9", key=None)
    gateway = WebPubSubGateway(resource, HUB, time_limit=2)

    class Identity:
        """A managed identity that this machine has not got."""

        async def get_token_info(self, *scopes: str, **options: Any) -> Any:
            from azure.core.exceptions import ClientAuthenticationError

            raise ClientAuthenticationError("no identity here")

        async def close(self) -> None:
            """Nothing is open."""

    gateway._make_credential = Identity  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="Web PubSub gave no client token"):
        await gateway.client_url("acme", "lea", 3600)
    await gateway.close()
