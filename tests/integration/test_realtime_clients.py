"""Microsoft's own clients, unmodified and with their defaults, lose connections and recover."""

import asyncio
from collections.abc import AsyncIterator

import orjson
import pytest

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.frames import CloseCode
from tests.node_packages import needs_node
from tests.realtime_clients import GetUrl, connected
from tests.realtime_server import Line, Service, line, serving, until

ROLES = ("webpubsub.joinLeaveGroup", "webpubsub.sendToGroup")

pytestmark = pytest.mark.parametrize(
    "kind", ["python", "python-threads", pytest.param("node", marks=needs_node)]
)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with serving() as made:
        yield made


@pytest.fixture
async def wire(service: Service) -> AsyncIterator[Line]:
    async with line(service.port) as made:
        yield made


def through(service: Service, port: int) -> GetUrl:
    """A URL with a fresh token, that leads to the service through this port."""

    async def url() -> str:
        token = service.token("acme", "lea", roles=ROLES)
        return service.url(token).replace(f":{service.port}/", f":{port}/")

    return url


async def push(service: Service, *numbers: int) -> None:
    for number in numbers:
        await service.sockets.push("acme", "lea", orjson.dumps({"n": number}))


def numbered(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


async def test_it_receives_and_acknowledges(kind: str, service: Service) -> None:
    """Pushes arrive under their numbers, and nothing is kept once the client has them."""
    async with connected(kind, through(service, service.port)) as client:
        assert client.heard.connected[0][1] == "acme/lea"
        await push(service, *range(10))
        await until(lambda: len(client.heard.server) == 10)
        assert client.heard.data == numbered(*range(10))
        await until(lambda: service.remains()["kept"] == 0)


async def test_after_a_cut_nothing_is_lost_or_doubled(
    kind: str, service: Service, wire: Line
) -> None:
    """What is pushed before, during and after the cut arrives once, in order; for the application
    the client was connected all the time."""
    async with connected(kind, through(service, wire.port)) as client:
        await push(service, *range(10))
        wire.cut()
        await until(lambda: service.sockets.away() == 1)
        await push(service, *range(10, 60))
        await until(lambda: wire.refused)  # it tries, and goes on trying
        wire.mend()
        await until(lambda: service.sockets.count() == 1)
        await push(service, *range(60, 70))
        await until(lambda: len(client.heard.server) >= 70)
        assert client.heard.data == numbered(*range(70))
        assert [number for number, _ in sorted(client.heard.server)] == list(range(1, 71))
        assert (len(client.heard.connected), client.heard.disconnected) == (1, [])
        # The threaded client forgets an acknowledgement that the cut swallowed, until the next one.
        await push(service, 70)
        await until(lambda: service.remains()["kept"] == 0)


async def test_cut_again_and_again(kind: str, service: Service, wire: Line) -> None:
    """Each recovery brings what the next one takes."""
    async with connected(kind, through(service, wire.port)) as client:
        for round_ in range(3):
            await push(service, 3 * round_)
            wire.cut()
            await until(lambda: service.sockets.away() == 1)
            await push(service, 3 * round_ + 1)
            wire.mend()
            await until(lambda: service.sockets.count() == 1)
            await push(service, 3 * round_ + 2)
        await until(lambda: len(client.heard.server) >= 9)
        assert client.heard.data == numbered(*range(9))
        assert len(client.heard.connected) == 1


async def test_back_before_the_loss_is_noticed(kind: str, service: Service, wire: Line) -> None:
    """The service still believes in the old line: what it wrote into it is sent again."""
    async with connected(kind, through(service, wire.port)) as client:
        await push(service, 0)
        await until(lambda: len(client.heard.server) == 1)
        wire.cut(noticed=False)
        await push(service, 1, 2)
        wire.mend()
        await until(lambda: len(client.heard.server) >= 3)
        await push(service, 3)
        await until(lambda: len(client.heard.server) >= 4)
        assert client.heard.data == numbered(*range(4))
        assert len(client.heard.connected) == 1
        await until(lambda: service.sockets.count() == 1)


async def test_dropped_by_the_hub_it_comes_back(kind: str, service: Service) -> None:
    """A close that can be recovered from: told why, back, and nothing is missing."""
    async with connected(kind, through(service, service.port)) as client:
        await push(service, 0)
        (session,) = service.sockets._sessions["acme", "lea"]
        assert session.connection is not None
        session.connection.end(CloseCode.TRY_AGAIN_LATER, "too slow")
        await push(service, 1)
        await until(lambda: len(client.heard.server) >= 2)
        assert client.heard.data == numbered(0, 1)
        assert len(client.heard.connected) == 1


async def test_its_groups_outlive_a_cut(kind: str, service: Service, wire: Line) -> None:
    """It is told what its groups were told, and is still in them."""
    async with (
        connected(kind, through(service, wire.port)) as client,
        service.client("acme", "max", roles=ROLES) as max_,
    ):
        await client.join("g")
        wire.cut()
        await until(lambda: service.sockets.away() == 1)
        message = {"type": "sendToGroup", "group": "g", "dataType": "json", "data": "away"}
        await max_.send(orjson.dumps(message).decode())
        await until(lambda: service.remains()["kept"])
        wire.mend()
        await until(lambda: client.heard.group)
        await client.send("g", "back")
        await until(lambda: len(client.heard.group) == 2)
        assert [data for _, data in sorted(client.heard.group)] == ["away", "back"]


async def test_what_was_forgotten_is_begun_afresh(kind: str) -> None:
    """Away for too long, it is told 1008: it tells its application, connects again by itself,
    joins its groups again, and hears the next push."""
    async with (
        serving(limits=Limits(recovery_s=0.1)) as service,
        line(service.port) as wire,
        connected(kind, through(service, wire.port)) as client,
    ):
        await client.join("g")
        await push(service, 0)
        await until(lambda: client.heard.server)
        wire.cut()
        await until(lambda: service.remains()["reliable"] == 0)
        wire.mend()
        await until(lambda: len(client.heard.connected) == 2)
        assert client.heard.connected[0][0] != client.heard.connected[1][0]
        assert client.heard.disconnected == [
            "nothing to recover: connect afresh and read the inbox"
        ]
        await until(lambda: service.remains()["groups"] == 1)
        await push(service, 1)
        await until(lambda: len(client.heard.server) == 2)
        assert [number for number, _ in client.heard.server] == [1, 1]
        await client.send("g", "back")
        await until(lambda: client.heard.group)


async def test_too_much_at_once_is_begun_afresh(kind: str) -> None:
    """More than is kept, faster than it acknowledges: 1008 and a new beginning, not a gap."""
    async with (
        serving(limits=Limits(unacknowledged_messages=50)) as service,
        connected(kind, through(service, service.port)) as client,
    ):
        await push(service, *range(51))
        await until(lambda: len(client.heard.connected) == 2)
        assert client.heard.data == numbered(*range(50))
        await push(service, 51)
        await until(lambda: len(client.heard.server) == 51)
        await asyncio.sleep(0)
        assert service.remains()["reliable"] == 1
