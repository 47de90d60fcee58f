"""Many messages through a door that is a real process: all arrive, and its memory stays flat.

`DOOR_MESSAGES` says how many; `make soak` sends a million.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

from tests.hub_process import ROOT, environment, huntaze

MESSAGES = int(os.environ.get("DOOR_MESSAGES", "3000"))
ROUNDS = 10
LIST = 100
BODY = b"x" * 256
KEY = "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;"
GROWTH_MB = 16
"""What may come and go; one byte kept of each message and of its lock would be more in a soak."""

pytestmark = pytest.mark.long


@contextmanager
def door(folder: Path) -> Iterator[tuple[int, str]]:
    """A door with a topic `t` and its subscription `s`: its process, and how to connect."""
    config = folder / "Config.json"
    topic = {"Name": "t", "Subscriptions": [{"Name": "s", "Properties": {"LockDuration": "PT5M"}}]}
    config.write_text(json.dumps({"UserConfig": {"Namespaces": [{"Topics": [topic]}]}}))
    ports = ["--port", "0", "--admin-port", "0", "--admin-tls-port", "0"]
    with subprocess.Popen(
        [*huntaze(), "door", "--config", str(config), "--data", str(folder / "data"), *ports],
        stdout=subprocess.PIPE,
        text=True,
        env=environment({"HUNTAZE_LOG": "error"}),
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().split()[1]
            yield process.pid, f"Endpoint={address};{KEY}UseDevelopmentEmulator=true;"
        finally:
            process.kill()


async def send(sender: ServiceBusSender, numbers: range) -> None:
    """Send them, a list at a time."""
    for start in range(numbers.start, numbers.stop, LIST):
        page = range(start, min(start + LIST, numbers.stop))
        await sender.send_messages(
            [ServiceBusMessage(BODY, application_properties={"n": n}) for n in page]
        )


async def receive(receiver: ServiceBusReceiver, wanted: int) -> set[int]:
    """Receive and complete so many; their numbers."""
    found: set[int] = set()
    while len(found) < wanted:
        page = await receiver.receive_messages(LIST, max_wait_time=20)
        assert page, f"{wanted - len(found)} did not come"
        await asyncio.gather(*(receiver.complete_message(one) for one in page))
        found.update(one.application_properties[b"n"] for one in page)
    return found


def megabytes(pid: int) -> float:
    """What a process has in memory."""
    said = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, check=True)
    return int(said.stdout) / 1024


async def test_memory_stays_flat(tmp_path: Path) -> None:
    """Every message that is sent arrives once, and after the first rounds the door's process does
    not grow, however many there are."""
    each = MESSAGES // ROUNDS
    grown = []
    with door(tmp_path) as (pid, connection):
        async with (
            ServiceBusClient.from_connection_string(connection) as client,
            client.get_topic_sender("t") as sender,
            client.get_subscription_receiver("t", "s") as receiver,
        ):
            for number in range(ROUNDS):
                numbers = range(number * each, (number + 1) * each)
                _, found = await asyncio.gather(send(sender, numbers), receive(receiver, each))
                assert found == set(numbers)
                grown.append(megabytes(pid))
    assert grown[-1] - grown[1] < GROWTH_MB, grown
