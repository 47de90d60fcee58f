"""What machines do to a hub: no descriptors, clients that vanish, no log, a stop."""

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.chaos_load import (
    SETTINGS,
    Tenant,
    audit_is_clean,
    counting,
    tenant,
    until,
)
from tests.hub_process import ROOT, HubProcess, environment, hub_process, huntaze

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into another process")
SOCKETS = 10_000 if os.environ.get("CHAOS") else 500
AT_ONCE = 200
MIB = 1 << 20
PIPE_HOLDS = 1 << 16
RESET = struct.pack("ii", 1, 0)
"""An end of a connection that is a reset."""


def descriptors(hub: HubProcess) -> int:
    """How many descriptors its process has open."""
    return len(list(Path(f"/proc/{hub.pid}/fd").iterdir()))


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory):
    """One hub for those tests that leave it as it was."""
    with hub_process(tmp_path_factory.mktemp("machine") / "data", SETTINGS) as running:
        yield running


async def connect_and_vanish(port: int, socket_url: str, number: int) -> None:
    """One client: gone after connecting, within a request, or once its socket is open."""
    if number % 4 == 3:
        async with aiohttp.ClientSession() as session:
            client = await session.ws_connect(socket_url)
            client._response.connection.transport.abort()  # type: ignore[union-attr]
        return
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    if number % 4 == 1:
        writer.write(b"POST /v1/events HTTP/1.1\r\nhost: a\r\ncontent-le")
    elif number % 4 == 2:
        writer.write(b"GET /client/hubs/huntaze HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\n")
    await writer.drain()
    if number % 2:
        peer: socket.socket = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def socket_url(of: Tenant, user: str) -> str:
    """Where a user's browser connects: each has few places."""
    _, found = await of.call("POST", f"/v1/realtime/negotiate?userId={user}")
    return str(found["url"])


@ON_LINUX
@pytest.mark.fault("thousands of sockets connect and vanish", "ourselves")
async def test_sockets_that_vanish_leave_nothing(hub: HubProcess) -> None:
    """Whether they are gone after connecting, within a request or as a browser's socket: the hub
    answers meanwhile and afterwards, and has as many descriptors open as before."""
    port = int(hub.url.rpartition(":")[2])
    slowest = 0.0
    async with tenant(hub, "vanishing") as acme:
        urls = [await socket_url(acme, f"user-{number}") for number in range(AT_ONCE)]
        before = descriptors(hub)
        for first in range(0, SOCKETS, AT_ONCE):
            await asyncio.gather(
                *(connect_and_vanish(port, url, first + n) for n, url in enumerate(urls))
            )
            begun = time.monotonic()
            assert (await acme.call("GET", "/v1/events"))[0] == 200
            slowest = max(slowest, time.monotonic() - begun)
        await until(lambda: descriptors(hub) <= before, "the descriptors to be free again")
    assert slowest < 5


async def postponed(one: Tenant) -> bool:
    """Whether its twenty deliveries wait in the ledger for another time."""
    status, found = await one.call("GET", "/v1/deliveries?state=pending&channel=webhook")
    assert status == 200
    return len(found["items"]) == 20 and all(each["nextAttemptAt"] for each in found["items"])


@ON_LINUX
@pytest.mark.fault("it has no file descriptors left at all", "ourselves")
async def test_without_descriptors_nothing_is_lost(hub: HubProcess) -> None:
    """While it can open no connection it goes on accepting over those that are there, and no
    delivery uses up an attempt; once it can, all that was accepted arrives, each once."""
    before = resource.prlimit(hub.pid, resource.RLIMIT_NOFILE)
    async with counting() as receiver, tenant(hub, "crowded", receiver.url) as acme:
        # What is open stays so; whatever is closed meanwhile makes room for nothing.
        resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, (0, before[1]))
        try:
            for number in range(5):
                assert await acme.publish([f"crowded-{number}-{n}" for n in range(4)]) == 202
            await until(lambda: postponed(acme), "every delivery to be put off")
            assert receiver.calls.total() == 0, "it had a descriptor left"
        finally:
            resource.prlimit(hub.pid, resource.RLIMIT_NOFILE, before)
        await until(lambda: acme.accepted <= set(receiver.answered), "all that was accepted")
        one = await acme.call("GET", "/v1/events/crowded-0-0")
        (webhook,) = [each for each in one[1]["deliveries"] if each["channel"] == "webhook"]
    assert set(receiver.answered.values()) == {1}
    assert [each["outcome"] for each in webhook["attempts"]] == ["delivered"]


def peak_bytes(hub: HubProcess) -> int:
    """The most memory that its process has had."""
    status = Path(f"/proc/{hub.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10


@ON_LINUX
@pytest.mark.fault("send a body of a gigabyte without announcing it", "attackers")
async def test_who_sends_without_end_is_hung_up_on(hub: HubProcess) -> None:
    """With a right key, too: 413 comes, the connection ends within seconds however much is still
    sent, and the hub's memory is as it was."""
    headers = await asyncio.to_thread(hub.tenant_headers, "sender")
    before, give_up = peak_bytes(hub), time.monotonic() + 20
    port = int(hub.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/events HTTP/1.1\r\nhost: hub\r\ncontent-type: application/json\r\n"
        b"transfer-encoding: chunked\r\n"
        b"authorization: " + headers["authorization"].encode() + b"\r\n\r\n"
    )
    reading = asyncio.create_task(reader.read(MIB))
    with contextlib.suppress(ConnectionError):
        while time.monotonic() < give_up:
            writer.write(b"100000\r\n" + b" " * MIB + b"\r\n")
            await writer.drain()
    writer.transport.abort()
    answer = await reading
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert time.monotonic() < give_up, "it took all of that"
    assert peak_bytes(hub) - before < 64 * MIB


# --------------------------------------------------------------------------- the log


@asynccontextmanager
async def logging_hub(
    data: Path, level: str
) -> AsyncIterator[tuple[HubProcess, "subprocess.Popen[bytes]"]]:
    """A hub whose output goes to pipes that nobody reads beyond `ready`."""
    settings = {**SETTINGS, "HUNTAZE_LOG": level}
    process = subprocess.Popen(  # noqa: ASYNC220 - it is not waited for
        [*huntaze(), "up", "--port", "0", "--data", str(data)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(settings),
        cwd=ROOT,
    )
    try:
        assert process.stdout
        ready = await asyncio.to_thread(process.stdout.readline)
        assert ready.startswith(b"ready "), ready
        hub = HubProcess(data, settings)
        hub.url = json.loads((data / "hub.json").read_bytes())["url"]
        yield hub, process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe
            pipe.close()


def unread(process: "subprocess.Popen[bytes]") -> int:
    """How much of its log waits to be read."""
    assert process.stderr
    size = array("i", [0])
    fcntl.ioctl(process.stderr, termios.FIONREAD, size)
    return size[0]


@ON_LINUX
@pytest.mark.fault("whoever took its log takes no more of it, or is gone", "ourselves")
async def test_regression_a_log_that_nobody_takes_holds_up_nothing(tmp_path: Path) -> None:
    """The hub goes on as if it were written, and ends in order when it is told to."""
    async with logging_hub(tmp_path / "data", "debug") as (hub, process):
        async with counting(refuses=True) as receiver, tenant(hub, "t1", receiver.url) as acme:
            for number in range(8):
                assert await acme.publish(f"stuck-{number}-{n}" for n in range(50)) == 202
            await until(lambda: acme.accepted == set(receiver.answered), "all of it")
            assert unread(process) > PIPE_HOLDS * 0.9, "there was room left"
            for pipe in (process.stdout, process.stderr):
                assert pipe
                pipe.close()
            assert await acme.publish(f"gone-{n}" for n in range(50)) == 202
            await until(lambda: acme.accepted == set(receiver.answered), "the rest")
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None, "an orderly end")
    assert process.returncode == 0
    await audit_is_clean(hub, SETTINGS)


# --------------------------------------------------------------------------- being stopped


@pytest.mark.fault("it is told to stop under load", "ourselves")
@pytest.mark.parametrize("refuses", [False, True], ids=["first-attempts", "retries"])
async def test_stopped_under_load_it_abandons_nothing(tmp_path: Path, refuses: bool) -> None:
    """It ends within its limit with 0; what was in hand is finished and written down, so that no
    webhook comes a second time after the next start, and everything else comes then."""
    async with counting(delay_s=0.05, refuses=refuses) as receiver:
        settings = {**SETTINGS, "HUNTAZE_DRAIN_SECONDS": "20"}
        with hub_process(tmp_path / "data", settings) as hub:
            async with tenant(hub, "t1", receiver.url) as acme:

                async def publish() -> None:
                    for number in range(8):
                        try:
                            await acme.publish([f"event-{number}-{n}" for n in range(100)])
                        except aiohttp.ClientError:
                            return  # it is not there any more

                publishing = asyncio.create_task(publish())
                await until(lambda: receiver.answered.total() > 100, "the load to be on")
                begun = time.monotonic()
                code = await asyncio.to_thread(hub.stop)
                took = time.monotonic() - begun
                await publishing
                assert (code, took < 20) == (0, True)
                assert len(acme.accepted) > receiver.answered.total(), "there was no load"
                await asyncio.to_thread(hub.start)
                await until(lambda: acme.accepted <= set(receiver.answered), "the rest")
            await audit_is_clean(hub, settings)
    assert set(receiver.calls.values()) == {2 if refuses else 1}
