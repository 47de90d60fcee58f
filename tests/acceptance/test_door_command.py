"""`huntaze door`, and the door of `huntaze up`: real processes, asked by Microsoft's SDK."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiver
from azure.servicebus.management import ServiceBusAdministrationClient

from tests import forked
from tests.forked import Forked
from tests.hub_process import environment, huntaze

KEY = "SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;"
QUIET = {"HUNTAZE_LOG": "error"}
CONFIG = {
    "UserConfig": {
        "Namespaces": [
            {
                "Name": "sbemulatorns",
                "Queues": [],
                "Topics": [
                    {
                        "Name": "orders",
                        "Subscriptions": [
                            {
                                "Name": "big",
                                "Properties": {"MaxDeliveryCount": 10},
                                "Rules": [
                                    {
                                        "Name": "big",
                                        "Properties": {
                                            "FilterType": "Sql",
                                            "SqlFilter": {"SqlExpression": "size > 10"},
                                        },
                                    }
                                ],
                            }
                        ],
                    }
                ],
            }
        ]
    }
}


@contextmanager
def process(*arguments: str) -> Iterator[tuple[Forked, Sequence[str]]]:
    """A command that serves, and the words of its first line; killed at the end."""
    started = forked.start([*huntaze(), *arguments], environment(QUIET), stdout=subprocess.PIPE)
    try:
        assert started.stdout
        yield started, started.stdout.readline().split()
    finally:
        started.kill()
        started.wait(30)
        if started.stdout:
            started.stdout.close()


def connect(address: str) -> ServiceBusClient:
    """A client of the door at `sb://localhost:PORT`."""
    return ServiceBusClient.from_connection_string(
        f"Endpoint={address};{KEY}UseDevelopmentEmulator=true;"
    )


def bodies(receiver: ServiceBusReceiver) -> list[str]:
    """What is there, completed."""
    found = receiver.receive_messages(max_message_count=10, max_wait_time=10)
    for one in found:
        receiver.complete_message(one)
    return sorted(str(one) for one in found)


def free_port() -> int:
    """A port that nothing listens on, nor on the next one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_door_alone_keeps_what_it_took(tmp_path: Path):
    """With `--config` and `--data` a door has the file's topology, and after kill -9 the messages
    that it had accepted; it needs no configuration to come back, and ends in good order."""
    config = tmp_path / "Config.json"
    config.write_text(json.dumps(CONFIG))
    data = str(tmp_path / "data")
    ports = ("--port", "0", "--admin-port", "0", "--admin-tls-port", "0", "--data", data)
    with process("door", "--config", str(config), *ports) as (_, said):
        ready, amqp, plain, secure = said
        assert (ready, plain[:7], secure[:8]) == ("ready", "http://", "https://")
        assert httpx.get(f"{plain}/health").json()["status"] == "healthy"
        with connect(amqp) as client, client.get_topic_sender("orders") as sender:
            sizes = [ServiceBusMessage(str(n), application_properties={"size": n}) for n in (9, 11)]
            sender.send_messages(sizes)

    with process("door", *ports) as (again, said):
        with (
            connect(said[1]) as client,
            client.get_subscription_receiver("orders", "big") as receiver,
        ):
            assert bodies(receiver) == ["11"]
        again.send_signal(signal.SIGTERM)
        assert again.wait(30) == 0


def test_a_hub_opens_its_bus(tmp_path: Path):
    """`huntaze up` with the door's ports carries what a client sends, and shows the topology that
    it does not let be changed."""
    port, admin = free_port(), free_port()
    arguments = ("--service-bus-port", str(port), "--service-bus-admin-port", str(admin))
    with process("up", "--port", "0", "--data", str(tmp_path), *arguments) as (hub, said):
        assert said[0] == "ready"
        assert hub.stdout
        door, amqp, plain, secure = hub.stdout.readline().split()
        assert door == "door"
        assert [amqp, plain] == [f"sb://localhost:{port}", f"http://localhost:{admin}"]
        with (
            connect(amqp) as client,
            client.get_topic_sender("huntaze-jobs") as sender,
            client.get_subscription_receiver("huntaze-jobs", "unroutable") as receiver,
        ):
            sender.send_messages(ServiceBusMessage("stray"))
            assert bodies(receiver) == ["stray"]
        with ServiceBusAdministrationClient.from_connection_string(
            f"Endpoint={secure.replace('https', 'sb')};{KEY}",
            connection_verify=str(tmp_path / "door-cert.pem"),
        ) as managing:
            topics = [each.name for each in managing.list_topics()]
        assert topics == ["huntaze-events", "huntaze-jobs"]
        hub.send_signal(signal.SIGTERM)
        assert hub.wait(30) == 0
