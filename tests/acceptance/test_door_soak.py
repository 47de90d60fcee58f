"""Many messages through `huntaze door`, and what is left of them in its memory: nothing.

`DOOR_MESSAGES` says how many; `make soak` takes a million.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from notifications.door import encoding as put
from notifications.door import frames as say
from notifications.door import performatives as kind
from tests import forked
from tests.amqp_client import Raw, attach, disposition, flow, message, raw, transfer
from tests.door_worlds import memory_kb
from tests.hub_process import environment, huntaze

MESSAGES = int(os.environ.get("DOOR_MESSAGES", "2000"))
BATCH = 100
BATCH_FORMAT = 0x80013700
AHEAD = 5_000
"""The sender is at most so many messages before the receiver."""
CREDIT = 1_000
WARM_SHARE = 0.2
"""Memory counts from here: what is kept for all time has been made by then."""
GROWTH_KB = 24_000

TOPIC, SUBSCRIPTION = "many", "many/Subscriptions/all"
CONFIG = {
    "UserConfig": {
        "Namespaces": [
            {"Name": "soak", "Topics": [{"Name": TOPIC, "Subscriptions": [{"Name": "all"}]}]}
        ]
    }
}


@contextmanager
def door(folder: Path) -> Iterator[tuple[int, int]]:
    """A durable door: its process and its port."""
    config = folder / "Config.json"
    config.write_text(json.dumps(CONFIG))
    options = ("--port", "0", "--admin-port", "0", "--admin-tls-port", "0")
    command = [*huntaze(), "door", "--config", str(config), "--data", str(folder), *options]
    env = environment({"HUNTAZE_LOG": "error"})
    with forked.start(command, env, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().split()[1]
            yield process.pid, int(address.rpartition(":")[2])
        finally:
            process.kill()


class Progress:
    """How far the two are, and what the door had in memory when it was warm."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.sent = 0
        self.settled = 0
        self.moved = asyncio.Event()
        self.warm_kb = 0

    def settle(self, count: int) -> None:
        self.settled += count
        self.moved.set()
        if not self.warm_kb and self.settled >= MESSAGES * WARM_SHARE:
            self.warm_kb = memory_kb(self.pid)


async def send(client: Raw, progress: Progress) -> None:
    """Send batches, each when the one before is stored and the receiver is near."""
    client.send(attach(1, 0, TOPIC, receiver=False))
    one = put.described(0x75, put.binary(message(b"x" * 256)))
    number = 0
    while progress.sent < MESSAGES:
        client.send(transfer(1, 0, number, one * BATCH, format_=BATCH_FORMAT))
        said = await client.until(kind.DISPOSITION)
        assert said.fields[4].descriptor == kind.ACCEPTED
        number += 1
        progress.sent += BATCH
        while progress.sent - progress.settled > AHEAD:
            progress.moved.clear()
            await progress.moved.wait()


async def receive(client: Raw, progress: Progress) -> None:
    """Receive and complete, as credit allows."""
    client.send(attach(1, 0, SUBSCRIPTION, receiver=True))
    got = granted = settled = 0
    while settled < MESSAGES:
        if granted - got <= CREDIT // 2:
            granted = got + CREDIT
            client.send(flow(1, 0, CREDIT, seen=got, window=2 * CREDIT))
        heard = await client.until(kind.TRANSFER, kind.DISPOSITION)
        if heard.kind == kind.TRANSFER:
            client.send(disposition(1, got, got, say.ACCEPTED))
            got += 1
        else:
            assert heard.fields[4].descriptor == kind.ACCEPTED
            settled += 1
            progress.settle(1)


async def test_memory_is_flat(tmp_path: Path) -> None:
    """Every message that was sent is received and completed once, and leaves nothing behind."""
    with door(tmp_path) as (pid, port):
        progress = Progress(pid)
        async with raw(port, TOPIC) as sender, raw(port, TOPIC) as receiver:
            await asyncio.gather(send(sender, progress), receive(receiver, progress))
            grown = memory_kb(pid) - progress.warm_kb
    assert progress.settled == progress.sent == MESSAGES
    assert grown < GROWTH_KB, f"{grown} KB more after {MESSAGES} messages"
