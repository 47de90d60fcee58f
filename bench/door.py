"""The door with Microsoft's own clients: sending, and receiving and completing, messages a second.

The door is `huntaze door`, durable in a new folder; the client is in a process of its own on the
same machine. What a client does by itself counts, too: it takes most of the time. So the processor
time that a message costs the door is printed beside: a busy machine changes it least.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender
from harness import cpu_s

from tests import node_packages

ROOT = Path(__file__).parent.parent
NODE = ROOT / "tests" / "node"
TOPIC, PYTHON, NODE_JS = "bench", "python", "node"
BODY = b"x" * 256
LIST = 100
CONCURRENCY = 20


def config() -> dict[str, object]:
    """The emulator's `Config.json`: a topic, and a subscription for each client."""
    subscriptions = [
        {"Name": name, "Properties": {"LockDuration": "PT5M"}} for name in (PYTHON, NODE_JS)
    ]
    topic = {"Name": TOPIC, "Subscriptions": subscriptions}
    return {"UserConfig": {"Namespaces": [{"Name": "sbemulatorns", "Topics": [topic]}]}}


@dataclass(frozen=True, slots=True)
class Serving:
    """A door.

    Attributes:
        connection: Its connection string.
        pid: Its process's.
    """

    connection: str
    pid: int


@contextmanager
def serving() -> Iterator[Serving]:
    """Run `huntaze door` in a new folder."""
    with tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder:
        file = Path(folder) / "Config.json"
        file.write_text(json.dumps(config()))
        command = [
            sys.executable,
            ROOT / "local_app.py",
            "door",
            "--config",
            file,
            "--data",
            folder,
        ]
        options = ["--port=0", "--admin-port=0", "--admin-tls-port=0", "--data", folder]
        with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            try:
                address = process.stdout.readline().split()[1]
                yield Serving(
                    f"Endpoint={address};SharedAccessKeyName=RootManageSharedAccessKey;"
                    "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;",
                    process.pid,
                )
            finally:
                process.terminate()
                process.wait(30)


def message() -> ServiceBusMessage:
    """A message as the hub's are."""
    return ServiceBusMessage(BODY, application_properties={"tenant": "acme", "attempt": 1})


async def single(sender: ServiceBusSender, count: int) -> float:
    """Send one at a time, awaited; messages a second."""
    begun = time.perf_counter()
    for _ in range(count):
        await sender.send_messages(message())
    return count / (time.perf_counter() - begun)


async def lists(sender: ServiceBusSender, count: int) -> float:
    """Send lists; messages a second."""
    begun = time.perf_counter()
    for _ in range(count // LIST):
        await sender.send_messages([message() for _ in range(LIST)])
    return count / (time.perf_counter() - begun)


async def receive(receiver: ServiceBusReceiver, count: int) -> float:
    """Receive a hundred a call without prefetching, complete them side by side."""
    begun = time.perf_counter()
    left = count
    while left > 0:
        found = await receiver.receive_messages(LIST, max_wait_time=10)
        if not found:
            raise TimeoutError(f"{left} of {count} messages did not come")
        await asyncio.gather(*[receiver.complete_message(one) for one in found])
        left -= len(found)
    return count / (time.perf_counter() - begun)


def javascript(connection: str, count: int) -> float | None:
    """Receive and complete with JavaScript; messages a second, None where there is no Node."""
    if shutil.which("node") is None:
        return None
    node_packages.install()
    command = ["node", "service-bus-rate.mjs", connection, TOPIC, NODE_JS]
    arguments = [str(count), str(CONCURRENCY)]
    done = subprocess.run(
        [*command, *arguments], cwd=NODE, check=True, capture_output=True, text=True, timeout=300
    )
    return count / float(done.stdout)


@dataclass(slots=True)
class Table:
    """Prints measurements."""

    pid: int
    goals_met: bool = True

    async def row(
        self, name: str, measured: Awaitable[float | None], *, count: int, goal: float
    ) -> None:
        """Print one of so many messages, and whether its goal is met."""
        before = cpu_s(self.pid)
        rate = await measured
        each = (cpu_s(self.pid) - before) / count * 1_000_000
        met = rate is not None and rate >= goal
        self.goals_met = self.goals_met and met
        shown = "no node" if rate is None else f"{rate:,.0f}"
        print(
            f"{name:<46}  {shown:>8}  {goal:>7,.0f}  {each:>8,.0f}  {'met' if met else 'NOT MET'}"
        )


async def measure(door: Serving, count: int) -> bool:
    """Measure and print; whether every goal is met."""
    print(f"{'messages of 256 bytes':<46}  {'a second':>8}  {'goal':>7}  {'door, us':>8}")
    table = Table(door.pid)
    there = 200 + count * 5
    async with ServiceBusClient.from_connection_string(door.connection) as client:
        async with client.get_topic_sender(TOPIC) as sender:
            await single(sender, 200)
            name = "Python, single awaited sends"
            await table.row(name, single(sender, count), count=count, goal=1_000)
            name = f"Python, sends in lists of {LIST}"
            await table.row(name, lists(sender, count * 4), count=count * 4, goal=5_000)
        async with client.get_subscription_receiver(TOPIC, PYTHON) as receiver:
            name = "Python, receive and complete, gathered"
            await table.row(name, receive(receiver, there), count=there, goal=3_000)
    name = f"JavaScript, receive and complete, {CONCURRENCY} at once"
    work = asyncio.to_thread(javascript, door.connection, there)
    await table.row(name, work, count=there, goal=6_000)
    return table.goals_met


def main() -> None:
    """Measure a door."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000, help="single sends")
    options = parser.parse_args()
    with serving() as door:
        met = asyncio.run(measure(door, options.count))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
