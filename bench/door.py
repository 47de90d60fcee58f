"""The door with Microsoft's own clients: sending, and receiving and completing, messages a second.

The door is `huntaze door`, durable in a new folder; the client is in a process of its own on the
same machine. What a client does by itself counts, too: it takes most of the time.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusReceiver, ServiceBusSender

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


@contextmanager
def serving() -> Iterator[str]:
    """The connection string of `huntaze door` in a new folder."""
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
                yield (
                    f"Endpoint={address};SharedAccessKeyName=RootManageSharedAccessKey;"
                    "SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;"
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


def row(name: str, rate: float | None, goal: float) -> bool:
    """Print a measurement; whether its goal is met."""
    met = rate is not None and rate >= goal
    shown = "no node" if rate is None else f"{rate:,.0f}"
    print(f"{name:<46}  {shown:>8}  {goal:>7,.0f}  {'met' if met else 'NOT MET'}")
    return met


async def measure(connection: str, count: int) -> bool:
    """Measure and print; whether every goal is met."""
    print(f"{'messages of 256 bytes':<46}  {'a second':>8}  {'goal':>7}")
    async with ServiceBusClient.from_connection_string(connection) as client:
        async with client.get_topic_sender(TOPIC) as sender:
            await single(sender, 200)
            met = [row("Python, single awaited sends", await single(sender, count), 1_000)]
            rate = await lists(sender, count * 4)
            met.append(row(f"Python, sends in lists of {LIST}", rate, 5_000))
        there = 200 + count * 5
        async with client.get_subscription_receiver(TOPIC, PYTHON) as receiver:
            rate = await receive(receiver, there)
            met.append(row("Python, receive and complete, gathered", rate, 3_000))
    rate_js = await asyncio.to_thread(javascript, connection, there)
    met.append(row(f"JavaScript, receive and complete, {CONCURRENCY} at once", rate_js, 6_000))
    return all(met)


def main() -> None:
    """Measure a door."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5_000, help="single sends")
    options = parser.parse_args()
    with serving() as connection:
        met = asyncio.run(measure(connection, options.count))
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
