"""Getting in: who is let in to the socket service, who is refused, and how."""

import contextlib
import logging

import pytest
import websockets

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.tokens import UserTokens
from tests.realtime_server import (
    HUB,
    PLAIN,
    RELIABLE,
    SECRET,
    HandClock,
    frame,
    refused,
    serving,
    until,
)


async def test_the_greeting_comes_first() -> None:
    """A client is greeted with its tenant-safe user id and a connection id of its own."""
    async with serving() as service:
        url = service.url(service.token("acme", "lea"))
        offered = [websockets.Subprotocol(PLAIN), websockets.Subprotocol(RELIABLE)]
        ids = set()
        for _ in range(2):
            async with websockets.connect(url, subprotocols=offered) as client:
                assert client.subprotocol == PLAIN
                greeting = await frame(client)
                ids.add(greeting.pop("connectionId"))
                assert greeting == {"type": "system", "event": "connected", "userId": "acme/lea"}
        assert len(ids) == 2
        assert all(len(each) == 24 for each in ids)


async def test_a_token_in_the_header_will_do() -> None:
    """Clients that can set headers may show their token there."""
    async with serving() as service:
        bearer = {"Authorization": f"Bearer {service.token('acme', 'lea')}"}
        offered = [websockets.Subprotocol(PLAIN)]
        async with websockets.connect(
            service.url(None), subprotocols=offered, additional_headers=bearer
        ) as client:
            assert (await frame(client))["userId"] == "acme/lea"


async def test_no_good_token_no_socket() -> None:
    """None, garbage, expired, another secret's, another hub's, a user token: 401 before the
    upgrade, and nobody is connected."""
    async with serving() as service:
        clock = HandClock()
        user_token, _ = UserTokens([SECRET], clock).issue("acme", "lea", 60)
        foreign = type(service.tokens)(["x" * 40], clock, hub=service.tokens.hub)
        elsewhere = type(service.tokens)([SECRET], clock, hub="elsewhere")
        good = service.token("acme", "lea")
        bad = [
            None,
            "",
            "garbage",
            good[:-4] + "AAAA",
            foreign.issue("http://x", "acme", "lea", 60).token,
            elsewhere.issue("http://x", "acme", "lea", 60).token,
            user_token,
        ]
        for token in bad:
            status, _, headers = await refused(service.url(token))
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
        service.clock.move(hours=1)
        assert (await refused(service.url(good)))[0] == 401
        assert service.sockets.count() == 0


async def test_a_refusal_is_no_error_of_the_server_s(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever shows bad tokens all day fills no error log."""
    async with serving() as service:
        for _ in range(3):
            await refused(service.url("bad"))
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_another_hub_is_not_here() -> None:
    """A path that names another hub is 404, even with a good token."""
    async with serving() as service:
        url = service.url(service.token("acme", "lea"), hub="elsewhere")
        assert (await refused(url))[0] == 404


@pytest.mark.parametrize(
    "offered", [("soap",), ("protobuf.webpubsub.azure.v1",)], ids=["soap", "protobuf"]
)
async def test_other_protocols_are_refused_by_name(offered: tuple[str, ...]) -> None:
    """A client that speaks neither of the protocols is told which, before the upgrade."""
    async with serving() as service:
        url = service.url(service.token("acme", "lea"))
        status, problem, _ = await refused(url, subprotocols=offered)
        assert status == 400
        assert PLAIN in problem["detail"]
        assert RELIABLE in problem["detail"]


@pytest.mark.parametrize("first", [PLAIN, RELIABLE])
async def test_the_first_protocol_that_is_offered_is_spoken(first: str) -> None:
    """Whoever offers several is taken at the one it likes best."""
    offered = sorted(("soap", PLAIN, RELIABLE), key=lambda name: name != first)
    async with serving() as service:
        url = service.url(service.token("acme", "lea"))
        protocols = [websockets.Subprotocol(name) for name in offered]
        async with websockets.connect(url, subprotocols=protocols) as client:
            assert client.subprotocol == first
            assert ("reconnectionToken" in await frame(client)) is (first == RELIABLE)


async def test_the_hub_may_be_named_in_the_query() -> None:
    """The other address that Web PubSub answers at."""
    async with serving() as service:
        token = service.token("acme", "lea")
        url = f"ws://127.0.0.1:{service.port}/client/?hub={HUB}&access_token={token}"
        offered = [websockets.Subprotocol(PLAIN)]
        async with websockets.connect(url, subprotocols=offered) as client:
            assert (await frame(client))["event"] == "connected"
        assert (await refused(url.replace(f"hub={HUB}", "hub=other")))[0] == 404


async def test_connections_are_bounded() -> None:
    """One user's are (429), all together are (503), and a seat given up is free again."""
    limits = Limits(connections=3, connections_per_user=2)
    async with serving(limits=limits) as service, contextlib.AsyncExitStack() as stack:
        for user_id in ("lea", "lea"):
            last = await stack.enter_async_context(service.client("acme", user_id))
        lea, max_ = (service.url(service.token("acme", who)) for who in ("lea", "max"))
        status, _, headers = await refused(lea)
        assert (status, headers["retry-after"]) == (429, "5")
        await stack.enter_async_context(service.client("other", "lea"))
        assert (await refused(max_))[0] == 503
        assert service.sockets.count() == 3
        await last.close()
        await until(lambda: service.sockets.count() == 2)
        await stack.enter_async_context(service.client("acme", "lea"))


async def test_no_token_in_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that anybody logs about a handshake, let in or refused, holds its token."""
    caplog.set_level(logging.DEBUG, "huntaze")
    caplog.set_level(logging.INFO, "uvicorn.error")
    async with serving() as service:
        async with service.client("acme", "lea"):
            good = service.token("acme", "lea")
        bad = "sample.bad.token"
        await refused(service.url(bad))
        lines = [str(record.__dict__) + record.getMessage() for record in caplog.records]
        assert any("[accepted]" in line for line in lines)
        assert any("socket.closed" in line for line in lines)
        assert not any(part in line for line in lines for part in [*good.split("."), bad])
