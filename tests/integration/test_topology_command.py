"""`huntaze topology` and what is behind it, against the management API of a door."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import SqlRuleFilter, SubscriptionProperties, TopicProperties
from click.testing import CliRunner

from notifications.bus.servicebus.applying import Change, differences, mend, open_admin
from notifications.bus.topology import (
    EVENTS_TOPIC,
    JOBS_TOPIC,
    METRICS,
    NOTIFY_EMAIL,
    TOPOLOGY,
    VIDEO_ANALYSIS,
)
from notifications.cli.host import Host
from notifications.cli.main import huntaze
from notifications.door.admin.listener import AdminDoor
from notifications.door.config_file import read
from notifications.door_alone import open_alone
from notifications.errors import Unavailable
from notifications.service_bus_address import ServiceBusAddress
from notifications.timing import SystemClock, SystemDice
from tests.service_bus_world import connection_string

TAKES_THE_REST = "hubConsumer IS NULL OR hubConsumer NOT IN ('realtime', 'email', 'webhook')"


def address(port: int, key: str = "SAS_KEY_VALUE") -> ServiceBusAddress:
    """A door on this machine, whose management port is said beside it."""
    text = connection_string(port).replace("SAS_KEY_VALUE", key)
    return ServiceBusAddress(host=f"localhost:{port}", connection_string=text)


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """The http port of an empty door's management API."""
    clock = SystemClock()
    async with open_alone(tmp_path / "door.db", clock, SystemDice()) as alone:
        admin = AdminDoor(alone.topology, alone.topology, clock=clock, keys={}, folder=tmp_path)
        yield await admin.start("localhost", 0, secure=False)
        await admin.stop()


@pytest.fixture
async def client(port: int) -> AsyncIterator[ServiceBusAdministrationClient]:
    """A client of it, made as the command makes it."""
    async with open_admin(address(1), admin_port=port) as client:
        yield client


def said(changes: list[Change]) -> list[str]:
    """What they are."""
    return [f"{each.mark} {each.what}" for each in changes]


async def test_an_empty_namespace_gets_all_of_it_once(
    client: ServiceBusAdministrationClient,
) -> None:
    """Everything is added, as the topology has it; afterwards nothing is different."""
    changes = await differences(client, TOPOLOGY)
    names = [each.name for topic in TOPOLOGY for each in topic.subscriptions]
    assert [each.mark for each in changes] == ["+"] * (len(TOPOLOGY) + len(names))
    await mend(changes, prune=False)

    assert await differences(client, TOPOLOGY) == []
    video = await client.get_subscription(JOBS_TOPIC, VIDEO_ANALYSIS)
    assert video.lock_duration == timedelta(minutes=2)
    assert video.max_delivery_count == 3
    assert video.dead_lettering_on_message_expiration
    (rule,) = [each async for each in client.list_rules(JOBS_TOPIC, VIDEO_ANALYSIS)]
    assert rule.name == "$Default"
    assert rule.filter.sql_expression == "jobType = 'video.analysis'"


async def test_what_differs_is_mended_and_what_is_too_much_only_said(
    client: ServiceBusAdministrationClient,
) -> None:
    """A changed setting, a changed rule and a missing subscription are put right; a strange
    subscription and rule stay until `prune`; another topic is nobody's business."""
    await mend(await differences(client, TOPOLOGY), prune=False)
    email = await client.get_subscription(EVENTS_TOPIC, NOTIFY_EMAIL)
    email.max_delivery_count = 3
    await client.update_subscription(EVENTS_TOPIC, email)
    rule = await client.get_rule(EVENTS_TOPIC, METRICS, "$Default")
    rule.filter = SqlRuleFilter("1=1")
    await client.update_rule(EVENTS_TOPIC, METRICS, rule)
    await client.create_rule(EVENTS_TOPIC, METRICS, "extra", filter=SqlRuleFilter("a = 1"))
    await client.delete_subscription(JOBS_TOPIC, VIDEO_ANALYSIS)
    await client.create_subscription(JOBS_TOPIC, "stranger")
    await client.create_topic("of-others")
    changes = await differences(client, TOPOLOGY)
    assert said(changes) == [
        f"+ subscription {JOBS_TOPIC}/{VIDEO_ANALYSIS}",
        f"- subscription {JOBS_TOPIC}/stranger, with what is in it",
        f"~ subscription {EVENTS_TOPIC}/{NOTIFY_EMAIL}: max delivery count 3 → 10",
        f"~ rule {EVENTS_TOPIC}/{METRICS}/$Default: {TAKES_THE_REST}",
        f"- rule {EVENTS_TOPIC}/{METRICS}/extra: a = 1",
    ]
    await mend(changes, prune=False)
    left = await differences(client, TOPOLOGY)
    assert [each.mark for each in left] == ["-", "-"]
    await mend(left, prune=True)

    assert await differences(client, TOPOLOGY) == []
    assert (await client.get_topic("of-others")).name == "of-others"


class WithSwitches:
    """A client of a door, with the switches that only Azure has: status, and forwarding."""

    def __init__(self, client: ServiceBusAdministrationClient) -> None:
        self._client = client
        self.set: dict[str, dict[str, str | None]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def get_topic(self, name: str) -> TopicProperties:
        found = await self._client.get_topic(name)
        found.status = self.set.get(name, {}).get("status", found.status)
        return found

    async def update_topic(self, topic: TopicProperties) -> None:
        self.set[topic.name] = {"status": topic.status}

    async def list_subscriptions(self, topic: str) -> AsyncIterator[SubscriptionProperties]:
        async for found in self._client.list_subscriptions(topic):
            for key, value in self.set.get(found.name, {}).items():
                setattr(found, key, value)
            yield found

    async def update_subscription(self, _topic: str, found: SubscriptionProperties) -> None:
        for key in self.set[found.name]:
            self.set[found.name][key] = getattr(found, key)


async def test_what_was_switched_off_or_forwards_is_put_right(
    client: ServiceBusAdministrationClient,
) -> None:
    """What is disabled is said and set to active, what forwards does not afterwards."""
    await mend(await differences(client, TOPOLOGY), prune=False)
    azure = WithSwitches(client)
    dead = "forward_dead_lettered_messages_to"
    azure.set = {
        EVENTS_TOPIC: {"status": "SendDisabled"},
        NOTIFY_EMAIL: {"status": "Disabled", "forward_to": "sb://x/e"},
        VIDEO_ANALYSIS: {"status": "Creating", dead: "sb://x/graves"},
    }
    changes = await differences(cast("ServiceBusAdministrationClient", azure), TOPOLOGY)
    off = "status Disabled → Active, forward to sb://x/e → nowhere"
    forwards = dead.replace("_", " ")
    assert said(changes) == [
        f"~ subscription {JOBS_TOPIC}/{VIDEO_ANALYSIS}: {forwards} sb://x/graves → nowhere",
        f"~ topic {EVENTS_TOPIC}: status SendDisabled → Active",
        f"~ subscription {EVENTS_TOPIC}/{NOTIFY_EMAIL}: {off}",
    ]
    await mend(changes, prune=False)
    assert await differences(cast("ServiceBusAdministrationClient", azure), TOPOLOGY) == []
    assert azure.set[NOTIFY_EMAIL] == {"status": "Active", "forward_to": None}
    assert azure.set[VIDEO_ANALYSIS] == {"status": "Creating", dead: None}


async def test_a_refusal_says_which_right_it_takes(port: int) -> None:
    """A wrong key is told as a right that is lacking, not as a trace."""
    async with open_admin(address(1, key="d3Jvbmctd3Jvbmctd3Jvbmc="), admin_port=port) as client:
        with pytest.raises(Unavailable, match="Manage right"):
            await differences(client, TOPOLOGY)


def run(*arguments: str, **variables: str) -> tuple[int, str]:
    """Run the command in this process: its exit code and what it printed."""
    found = CliRunner().invoke(huntaze, ["topology", *arguments], obj=Host(variables=variables))
    return found.exit_code, found.output


def test_the_emulators_config_is_what_the_door_reads() -> None:
    """Every subscription is in it with its rule, and nothing lives longer than an hour."""
    code, printed = run("emulator-config")
    assert code == 0
    (namespace,) = orjson.loads(printed)["UserConfig"]["Namespaces"]
    assert namespace["Name"] == "sbemulatorns"
    found = {
        each["Name"]: (each["Properties"], each["Rules"])
        for topic in namespace["Topics"]
        for each in topic["Subscriptions"]
    }
    assert found[VIDEO_ANALYSIS] == (
        {
            "DeadLetteringOnMessageExpiration": True,
            "DefaultMessageTimeToLive": "PT30M",
            "LockDuration": "PT2M",
            "MaxDeliveryCount": 3,
            "RequiresSession": False,
        },
        [
            {
                "Name": "$Default",
                "Properties": {
                    "FilterType": "Sql",
                    "SqlFilter": {"SqlExpression": "jobType = 'video.analysis'"},
                },
            }
        ],
    )
    assert found[METRICS][0]["DefaultMessageTimeToLive"] == "PT1H"
    assert {each.entity.name for each in read(printed.encode())} == {
        *(topic.name for topic in TOPOLOGY),
        *found,
    }


def test_people_are_shown_each_subscription() -> None:
    """`show` names each subscription with its rule, its lock and how long messages live."""
    code, printed = run("show")
    assert code == 0
    line = next(each for each in printed.splitlines() if each.startswith(VIDEO_ANALYSIS))
    assert line.split() == [VIDEO_ANALYSIS, "3", "2m", "30m", "jobType", "=", "'video.analysis'"]


def test_applying_needs_to_know_where() -> None:
    """Without a namespace the command names the variable."""
    code, printed = run("apply")
    assert code == 2
    assert "SERVICEBUS_CONNECTION" in printed


def test_a_namespace_that_does_not_answer_is_named_in_a_sentence() -> None:
    """Nobody listens: exit 2 and one line."""
    code, printed = run("apply", "--admin-port", "1", SERVICEBUS_CONNECTION=connection_string(1))
    assert code == 2
    assert "cannot be managed" in printed
