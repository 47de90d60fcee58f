"""The reliable protocol on the wire: numbers, acknowledgements, and the way back."""

import asyncio
import contextlib
from typing import Any

import jwt
import orjson
import pytest
import websockets

from notifications.channels.realtime.connection import Limits
from tests.realtime_server import (
    HUB,
    PATIENCE_S,
    PLAIN,
    RELIABLE,
    SECRET,
    Reliable,
    Service,
    close_code,
    frame,
    line,
    refused,
    say,
    serving,
    until,
)

JOIN, SEND = "webpubsub.joinLeaveGroup", "webpubsub.sendToGroup"


async def push(service: Service, *values: Any, user_id: str = "lea") -> None:
    for value in values:
        await service.sockets.push("acme", user_id, orjson.dumps(value))


# --------------------------------------------------------------------------- while connected


async def test_the_greeting_brings_a_token() -> None:
    """Beside what the plain protocol's has; two connections have nothing in common."""
    async with (
        serving() as service,
        service.reliable("acme", "lea") as one,
        service.reliable("acme", "lea") as two,
    ):
        assert one.greeting["userId"] == "acme/lea"
        assert one.id != two.id
        assert one.greeting["reconnectionToken"] != two.greeting["reconnectionToken"]


async def test_messages_are_numbered_from_one() -> None:
    """Pushes and group messages alike, in one row; answers have no number."""
    async with serving() as service, service.reliable("acme", "lea", roles=(JOIN, SEND)) as lea:
        joined = await say(lea.client, type="joinGroup", group="g", ackId=1)
        assert joined == {"type": "ack", "ackId": 1, "success": True}
        await push(service, "a", "b")
        await lea.client.send('{"type":"sendToGroup","group":"g","dataType":"text","data":"c"}')
        assert await lea.messages(3) == [(1, "a"), (2, "b"), (3, "c")]
        assert await say(lea.client, type="ping") == {"type": "pong"}


async def test_each_connection_has_its_own_numbers() -> None:
    """Two clients of one user are told the same, each under its own number."""
    async with serving() as service, service.reliable("acme", "lea") as one:
        await push(service, "a")
        async with service.reliable("acme", "lea") as two:
            await push(service, "b")
            assert await one.messages(2) == [(1, "a"), (2, "b")]
            assert await two.messages(1) == [(1, "b")]


async def test_what_is_acknowledged_is_kept_no_longer() -> None:
    """An acknowledgement covers all before it; an old one again is harmless."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await push(service, *range(10))
        await lea.messages(10)
        await lea.acknowledge(9)
        await lea.acknowledge(3)
        assert 0 < service.sockets._recoveries.holdings.size < 200
        await lea.acknowledge(10)
        assert service.remains()["kept"] == 0


async def test_acknowledging_the_future_ends_it() -> None:
    """A client that acknowledges what was never sent is out of step: it has to start afresh."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await push(service, "a")
        await lea.messages(1)
        await lea.client.send('{"type":"sequenceAck","sequenceId":2}')
        assert (await frame(lea.client))["event"] == "disconnected"
        assert await close_code(lea.client) == 1008
        await lea.unrecoverable()
        await until(lambda: not any(service.remains().values()))


# --------------------------------------------------------------------------- the way back


async def test_what_was_pushed_meanwhile_arrives_once_and_in_order() -> None:
    """After a loss: what was not acknowledged, then what is new, under the same connection id."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await push(service, *range(5))
        await lea.messages(5)
        await lea.acknowledge(3)
        await lea.lose()
        await push(service, *range(5, 9))
        assert (service.sockets.count(), service.sockets.away()) == (0, 1)
        async with lea.recovered() as again:
            assert again.id == lea.id
            assert again.greeting["reconnectionToken"] != lea.greeting["reconnectionToken"]
            await push(service, 9)
            assert await again.messages(7) == [(number + 1, number) for number in range(3, 10)]
            assert (service.sockets.count(), service.sockets.away()) == (1, 0)
            await again.acknowledge(10)
            assert service.remains()["kept"] == 0


async def test_no_access_token_is_asked_for() -> None:
    """The access token may have expired meanwhile; clients show it again all the same."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await lea.lose()
        service.clock.move(days=2)
        old = f"{lea.way_back}&access_token={service.token('acme', 'lea')}"
        service.clock.move(days=2)
        async with lea.recovered(old) as again:
            await push(service, "a")
            assert await again.messages(1) == [(1, "a")]


async def test_groups_stay_joined() -> None:
    """What a group was told meanwhile is there, and what it is told then arrives."""
    async with (
        serving() as service,
        service.reliable("acme", "lea", roles=(JOIN,)) as lea,
        service.client("acme", "max", roles=(SEND,)) as max_,
    ):
        assert (await say(lea.client, type="joinGroup", group="g", ackId=1))["success"]
        await lea.lose()
        message = {"type": "sendToGroup", "group": "g", "dataType": "text"}
        assert (await say(max_, **message, data="while away", ackId=1))["success"]
        async with lea.recovered() as again:
            assert (await say(max_, **message, data="when back", ackId=2))["success"]
            assert await again.messages(2) == [(1, "while away"), (2, "when back")]


async def test_a_group_that_was_left_stays_left() -> None:
    """What the token names is joined once, with the first greeting, and not again."""
    async with serving() as service:
        claims = {
            "aud": f"http://127.0.0.1:{service.port}/client/hubs/{HUB}",
            "sub": "acme/lea",
            "exp": service.clock.at.timestamp() + 60,
            "role": [JOIN],
            "webpubsub.group": ["g"],
        }
        url = service.url(jwt.encode(claims, SECRET, algorithm="HS256"))
        async with websockets.connect(
            url, subprotocols=[websockets.Subprotocol(RELIABLE)], compression=None
        ) as client:
            lea = Reliable(service=service, client=client, greeting=await frame(client))
            assert service.remains()["groups"] == 1
            assert (await say(client, type="leaveGroup", group="g", ackId=1))["success"]
            await lea.lose()
            async with lea.recovered():
                assert service.remains()["groups"] == 0


async def test_who_is_back_is_no_longer_timed() -> None:
    """A session that was recovered outlasts the time that one has which was lost after it."""
    async with (
        serving(limits=Limits(recovery_s=2.0)) as service,
        service.reliable("acme", "lea") as lea,
        service.reliable("acme", "max") as max_,
    ):
        await lea.lose()
        async with lea.recovered() as again:
            await max_.lose()
            await until(lambda: service.sockets.away() == 0)
            await push(service, "a")
            assert await again.messages(1) == [(1, "a")]


async def test_a_request_sent_again_after_a_loss_is_done_once() -> None:
    """The ack id is known over the loss: a Duplicate, and the group hears it once."""
    async with (
        serving() as service,
        service.reliable("acme", "lea", roles=(SEND,)) as lea,
        service.client("acme", "max", roles=(JOIN,)) as max_,
    ):
        assert (await say(max_, type="joinGroup", group="g", ackId=1))["success"]
        message = {"type": "sendToGroup", "group": "g", "dataType": "text", "data": "hi"}
        assert (await say(lea.client, **message, ackId=7))["success"]
        await lea.lose()
        async with lea.recovered() as again:
            answer = await say(again.client, **message, ackId=7)
            assert answer["error"]["name"] == "Duplicate"
        assert (await frame(max_))["data"] == "hi"
        assert await say(max_, type="ping") == {"type": "pong"}


async def test_a_greeting_that_was_lost_costs_nothing() -> None:
    """Whoever loses the connection before it saw its new token comes back with the old one;
    once the new one was used, the old one is nothing."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await lea.lose()
        async with lea.recovered() as unseen:
            await unseen.lose()
        async with lea.recovered() as seen:
            await seen.lose()
        async with seen.recovered() as last:
            for older in (lea, unseen):
                await older.unrecoverable()
            await push(service, "a")
            assert await last.messages(1) == [(1, "a")]


async def test_who_comes_back_before_the_loss_is_noticed_takes_over() -> None:
    """The connection that the service still believes in is ended; nothing is lost or doubled."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await push(service, 0, 1)
        await lea.messages(2)
        async with lea.recovered() as again:
            await push(service, 2)
            assert await again.messages(3) == [(1, 0), (2, 1), (3, 2)]
            assert (await frame(lea.client))["event"] == "disconnected"
            assert await close_code(lea.client) == 1008
            await until(lambda: service.sockets.count() == 1)
            await again.acknowledge(3)
            await push(service, 3)
            assert await again.messages(1) == [(4, 3)]


async def test_a_peer_that_died_silently_can_come_back() -> None:
    """The server's own pings find the loss; what was written into the dead line is sent again."""
    async with (
        serving(ws_ping_interval=0.2, ws_ping_timeout=0.3) as service,
        line(service.port) as wire,
    ):
        url = service.url(service.token("acme", "lea")).replace(str(service.port), str(wire.port))
        async with websockets.connect(
            url, subprotocols=[websockets.Subprotocol(RELIABLE)], compression=None
        ) as client:
            lea = Reliable(service=service, client=client, greeting=await frame(client))
            wire.cut(noticed=False)
            await push(service, "into the void")
            await until(lambda: service.sockets.away() == 1)
            async with lea.recovered() as again:
                assert await again.messages(1) == [(1, "into the void")]


@pytest.mark.parametrize("code", [1000, 1001])
async def test_who_says_goodbye_is_not_waited_for(code: int) -> None:
    """A client that closes for good leaves nothing behind."""
    async with serving() as service, service.reliable("acme", "lea", roles=(JOIN,)) as lea:
        await say(lea.client, type="joinGroup", group="g", ackId=1)
        await push(service, "a")
        await lea.client.close(code)
        await until(lambda: not any(service.remains().values()))
        await lea.unrecoverable()


async def test_what_is_unrecoverable_is_told_so_with_1008() -> None:
    """An unknown connection, another one's token, none, garbage: let in, told why, closed."""
    async with (
        serving() as service,
        service.reliable("acme", "lea") as lea,
        service.reliable("other", "lea") as stranger,
    ):
        foreign = stranger.greeting["reconnectionToken"]
        own = lea.greeting["reconnectionToken"]
        bad = [foreign, None, "", "garbage", own[:-2], own + "A", "2" + own[1:], "²" + own[1:]]
        bad += ["9" * 5_000, "é", "0." + own[2:]]
        for token in bad:
            assert "connect afresh" in await lea.unrecoverable(lea.way_back_with(token))
        gone = lea.way_back.replace(lea.id, "A" * 24)
        assert "read the inbox" in await lea.unrecoverable(gone)
        assert await say(lea.client, type="ping") == {"type": "pong"}


async def test_another_hub_s_name_opens_nothing() -> None:
    """The way back leads through the same hub."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        url = lea.way_back.replace(f"/hubs/{HUB}", "/hubs/elsewhere")
        assert (await refused(url, subprotocols=(RELIABLE,)))[0] == 404


async def test_the_plain_protocol_knows_no_way_back() -> None:
    """Without the reliable protocol, an access token is asked for as ever."""
    async with serving() as service, service.reliable("acme", "lea") as lea:
        assert (await refused(lea.way_back, subprotocols=(PLAIN,)))[0] == 401


# --------------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    "limits",
    [
        Limits(unacknowledged_messages=3),
        Limits(unacknowledged_bytes=3 * 170),
        Limits(unacknowledged_bytes_per_user=3 * 170),
        Limits(unacknowledged_bytes_in_all=3 * 170),
    ],
    ids=["messages", "bytes", "bytes of user", "bytes in all"],
)
@pytest.mark.parametrize("there", [True, False], ids=["there", "away"])
async def test_too_much_unacknowledged_means_to_start_afresh(limits: Limits, there: bool) -> None:
    """One message more than may be kept: closed with 1008, or nothing to come back to. What was
    sent before it is read, and not a byte stays."""
    async with serving(limits=limits) as service, service.reliable("acme", "lea") as lea:
        if not there:
            await lea.lose()
        await push(service, *["x" * 80] * 3)
        assert service.remains()["reliable"] == 1
        await push(service, "x" * 80)
        assert service.remains()["kept"] == 0
        if there:
            await lea.messages(3)
            assert "read the inbox" in (await frame(lea.client))["message"]
            assert await close_code(lea.client) == 1008
        await lea.unrecoverable()
        await until(lambda: not any(service.remains().values()))


async def test_who_acknowledges_is_never_at_the_bound() -> None:
    """Far more than may be kept arrives, as long as it is acknowledged."""
    async with (
        serving(limits=Limits(unacknowledged_messages=10)) as service,
        service.reliable("acme", "lea") as lea,
    ):
        for round_ in range(20):
            await push(service, *range(10))
            assert (await lea.messages(10))[-1] == ((round_ + 1) * 10, 9)
            await lea.acknowledge((round_ + 1) * 10)


async def test_those_who_are_away_make_room_for_those_who_are_there() -> None:
    """Where all is full, the client that is longest away is forgotten; a client of the same user
    goes before one of another where it is the user's bound."""
    limits = Limits(unacknowledged_bytes_per_user=500, unacknowledged_bytes_in_all=1_000)
    async with (
        serving(limits=limits) as service,
        service.reliable("acme", "max") as max_,
        service.reliable("acme", "lea") as first,
        service.reliable("acme", "lea") as second,
        service.reliable("acme", "zoe") as zoe,
    ):
        await max_.lose()
        await first.lose()
        await push(service, "x" * 80, user_id="max")
        await push(service, "x" * 80)
        await push(service, "x" * 80)  # a third for lea, beside first's two, would be too much
        await second.messages(2)
        await push(service, "x" * 80)
        assert service.sockets.away() == 1
        await first.unrecoverable()
        assert await second.messages(1) == [(3, "x" * 80)]
        await push(service, *["x" * 80] * 3, user_id="zoe")
        await max_.unrecoverable()
        assert len(await zoe.messages(3)) == 3


async def test_how_many_may_be_away_is_bounded() -> None:
    """Of one user and in all; who has been away longest is forgotten."""
    limits = Limits(away_per_user=2, away=3)
    async with serving(limits=limits) as service, contextlib.AsyncExitStack() as stack:
        made = [
            await stack.enter_async_context(service.reliable("acme", user_id))
            for user_id in ("lea", "lea", "lea", "max", "zoe")
        ]
        for number, each in enumerate(made):
            each.client.transport.abort()
            await until(lambda number=number: service.sockets.count() == len(made) - number - 1)
        assert service.remains()["reliable"] == 3
        for forgotten in made[:2]:
            await forgotten.unrecoverable()
        for kept in made[2:]:
            async with kept.recovered():
                pass


async def test_who_never_comes_back_leaves_nothing() -> None:
    """After the time for it, groups and messages of a hundred lost clients are gone."""
    async with (
        serving(limits=Limits(recovery_s=2.0)) as service,
        contextlib.AsyncExitStack() as stack,
    ):
        tasks = len(asyncio.all_tasks())
        for number in range(100):
            made = service.reliable("acme", f"user-{number % 10}", roles=(JOIN,), close_timeout=0.1)
            lea = await stack.enter_async_context(made)
            assert (await say(lea.client, type="joinGroup", group="g", ackId=1))["success"]
            lea.client.transport.abort()
        await until(lambda: service.sockets.count() == 0)
        await push(service, "a", user_id="user-1")
        remains = service.remains()
        assert remains["kept"] > 0
        assert remains["away"] > 0
        await until(lambda: not any(service.remains().values()))
        await lea.unrecoverable()
        await stack.aclose()
        await until(lambda: len(asyncio.all_tasks()) <= tasks)


async def test_who_comes_back_finds_a_seat() -> None:
    """Others of the same user may have taken all there are; a newcomer finds none then."""
    limits = Limits(connections=3, connections_per_user=2)
    async with (
        serving(limits=limits) as service,
        service.reliable("acme", "lea") as lea,
        service.reliable("acme", "lea"),
    ):
        await lea.lose()
        async with service.reliable("acme", "lea"), service.reliable("acme", "max"):
            async with lea.recovered():
                assert service.sockets.count() == 4
            assert (await refused(service.url(service.token("acme", "lea"))))[0] == 503


async def test_a_slow_reader_is_waited_for_up_to_what_is_kept() -> None:
    """What would be far too much backlog for the plain protocol arrives whole: it is what is
    kept that is bounded, and it is counted once."""
    count = 900  # of 10 kB: no kernel's buffers hold them
    limits = Limits(backlog_messages=5, backlog_bytes=100_000)
    async with (
        serving(limits=limits) as service,
        service.reliable("acme", "lea", max_queue=4) as lea,
    ):
        for number in range(count):
            await push(service, [number, "x" * 10_000])
        assert service.sockets._backlogs.size == 0
        arrived = await lea.messages(count)
        assert [(number, data[0]) for number, data in arrived] == [
            (number + 1, number) for number in range(count)
        ]


# --------------------------------------------------------------------------- the hub's own end


async def test_stopping_says_going_away() -> None:
    """Clients that are there are closed with 1001, which they try to recover from; whoever tries
    is told to try again, until the next process says 1008. Nobody is waited for."""
    async with (
        serving() as service,
        service.reliable("acme", "lea") as lea,
        service.reliable("acme", "max") as max_,
    ):
        await max_.lose()
        async with asyncio.timeout(PATIENCE_S):
            await service.sockets.close()
        assert await close_code(lea.client) == 1001
        assert service.remains() | {"server": 0, "requests": 0} == dict.fromkeys(
            service.remains(), 0
        )
        for each in (lea, max_):
            assert (await refused(each.way_back, subprotocols=(RELIABLE,)))[0] == 503


async def test_no_reconnection_token_in_the_logs(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that anybody logs about a way back, good or bad, holds its token."""
    caplog.set_level("DEBUG", "huntaze")
    caplog.set_level("INFO", "uvicorn.error")
    async with serving() as service, service.reliable("acme", "lea") as lea:
        await lea.lose()
        async with lea.recovered() as again:
            pass
        await lea.unrecoverable(lea.way_back_with("1.sample-token"))
        lines = [str(record.__dict__) + record.getMessage() for record in caplog.records]
        assert any("socket.recovered" in each for each in lines)
        tokens = [each.greeting["reconnectionToken"] for each in (lea, again)]
        assert not any(token in each for token in [*tokens, "sample-token"] for each in lines)
