"""A door that goes and comes back, and clients that go without a word."""

import asyncio
from pathlib import Path

from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

from notifications.broker import Broker
from notifications.door.listener import Door
from notifications.timing import SystemClock, SystemDice
from tests.amqp_client import attach, flow, message, raw, transfer
from tests.door_worlds import ONE, OpenDoor, durable, open_door, until
from tests.memory_broker import MemoryBroker, Queue
from tests.node_packages import FOLDER, install, needs_node

PATIENCE_S = 20


def made(broker: Broker) -> Door:
    """A door, closed yet."""
    return Door(broker, clock=SystemClock(), dice=SystemDice())


def counts(queue: Queue) -> list[int]:
    """How often what is under lock came to nothing before."""
    return sorted(kept.deliveries for kept in queue.locked.values())


async def test_the_sdk_finds_it_again(tmp_path: Path) -> None:
    """A sender and a waiting receiver go on when the door is back, and nothing is lost."""
    async with durable(tmp_path, ["t"]) as alone:
        first, second = made(alone.broker), made(alone.broker)
        port = await first.start("127.0.0.1", 0)
        connection = OpenDoor(door=first, port=port).connection()
        async with (
            ServiceBusClient.from_connection_string(connection, retry_backoff_factor=0.1) as client,
            client.get_topic_sender("t") as sender,
            client.get_subscription_receiver("t", ONE) as receiver,
        ):
            await sender.send_messages(ServiceBusMessage("before"))
            await first.stop()
            assert first.connections == 0
            await second.start("127.0.0.1", port)
            await sender.send_messages(ServiceBusMessage("after"))
            found = []
            async with asyncio.timeout(PATIENCE_S):
                while len(found) < 2:
                    found += await receiver.receive_messages(2, max_wait_time=5)
            assert [str(one) for one in found] == ["before", "after"]
            await asyncio.gather(*[receiver.complete_message(one) for one in found])
        await second.stop()


@needs_node
async def test_the_javascript_client_finds_it_again(tmp_path: Path) -> None:
    """A sender and a subscriber go on by themselves when the door is back, and nothing is lost."""
    await asyncio.to_thread(install)
    async with durable(tmp_path, ["t"]) as alone:
        first, second = made(alone.broker), made(alone.broker)
        port = await first.start("127.0.0.1", 0)
        command = ["node", "service-bus-restart.mjs", OpenDoor(door=first, port=port).connection()]
        process = await asyncio.create_subprocess_exec(
            *command,
            "t",
            ONE,
            cwd=FOLDER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdin
        assert process.stdout
        lines = process.stdout

        async def heard(*wanted: str) -> None:
            missing = set(wanted)
            async with asyncio.timeout(PATIENCE_S):
                while missing:
                    line = await lines.readline()
                    assert line, "the client has ended"
                    missing.discard(line.decode().strip())

        try:
            process.stdin.write(b"before\n")
            await heard("sent before", "received before")
            await first.stop()
            await heard("told that it is away")  # it has tried in vain
            process.stdin.write(b"after\n")
            await second.start("127.0.0.1", port)
            await heard("sent after", "received after")
        finally:
            process.kill()
            await process.communicate()
            await second.stop()


async def test_a_client_that_dies() -> None:
    """When a client dies its locks run out; the half message that it sent is none."""
    broker = MemoryBroker({"t": ["one"]}, lock_ms=300)
    queue = broker.outlet("t/Subscriptions/one")
    async with open_door(broker) as there:
        async with raw(there.port, "") as client:
            client.send(attach(1, 0, "t", receiver=False))
            client.send(*[transfer(1, 0, number, message()) for number in range(3)])
            client.send(attach(1, 1, "t/Subscriptions/one", receiver=True), flow(1, 1, 2))
            await until(lambda: len(queue.locked) == 2)
            client.send(transfer(1, 0, 3, b"half a", more=True))
        await until(lambda: there.door.connections == 0)
        async with raw(there.port, "") as client:
            client.send(attach(1, 1, "t/Subscriptions/one", receiver=True), flow(1, 1, 10))
            await until(lambda: counts(queue) == [0, 1, 1])
