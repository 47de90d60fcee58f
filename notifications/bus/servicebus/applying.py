"""Bringing a namespace to the topology: adds and updates; removes only where it is told to.

It looks at the hub's own topics alone: what else is in the namespace is somebody else's. Doing it
twice changes nothing the second time.
"""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from azure.core.exceptions import AzureError, ClientAuthenticationError, ResourceNotFoundError
from azure.core.pipeline.transport import AioHttpTransport
from azure.servicebus.aio.management import ServiceBusAdministrationClient
from azure.servicebus.management import (
    CorrelationRuleFilter,
    EntityStatus,
    SqlRuleFilter,
    SubscriptionProperties,
    TopicProperties,
)

from notifications.bus.filters import CorrelationFilter, SqlFilter
from notifications.bus.servicebus.connection import machine_identity
from notifications.bus.topology import DEAD_LETTERS_ON_EXPIRY, Rule, Subscription, Topic
from notifications.errors import Unavailable
from notifications.service_bus_address import ServiceBusAddress, read_parts
from notifications.setting_forms import in_words

EMULATOR_ADMIN_PORT = 5300
"""Where the emulator, and the door, are managed over http."""

_FIELDS = (
    "correlation_id",
    "message_id",
    "to",
    "reply_to",
    "label",
    "session_id",
    "reply_to_session_id",
    "content_type",
)

_SWITCHED_OFF = ("Disabled", "ReceiveDisabled", "SendDisabled")
"""What somebody may have set an entity's status to; there are others, which pass by themselves."""

_FORWARDS = ("forward_to", "forward_dead_lettered_messages_to")

Properties = TypeVar("Properties", SubscriptionProperties, TopicProperties)
Do = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that is not as the topology has it.

    Attributes:
        mark: `+` is missing, `~` is different, `-` is too much, `!` cannot be changed.
        what: Which, and how it differs.
        run: Mends it; None where nothing can.
    """

    mark: str
    what: str
    run: Do | None = field(default=None, repr=False)


@asynccontextmanager
async def open_admin(
    address: ServiceBusAddress, *, admin_port: int | None = None
) -> AsyncIterator[ServiceBusAdministrationClient]:
    """A client that manages a namespace; plain http for the emulator and the door, as they do.

    Args:
        address: The namespace, with what may manage it.
        admin_port: Where an emulator or a door is managed.
    """
    text = address.connection_string
    if text is None:
        credential = machine_identity(address)
        async with credential, ServiceBusAdministrationClient(address.host, credential) as client:
            yield client
        return
    parts = read_parts(text)
    more: dict[str, Any] = {}
    if parts.get("usedevelopmentemulator", "").lower() == "true":
        host = address.host.partition(":")[0]
        text = (
            f"Endpoint=sb://{host}:{admin_port or EMULATOR_ADMIN_PORT}/;"
            f"SharedAccessKeyName={parts.get('sharedaccesskeyname', '')};"
            f"SharedAccessKey={parts.get('sharedaccesskey', '')}"
        )
        more = {"transport": _PlainHttp(), "retry_total": 1}
    async with ServiceBusAdministrationClient.from_connection_string(text, **more) as client:
        yield client


class _PlainHttp(AioHttpTransport):  # type: ignore[misc]
    """The SDK only ever asks over https; an emulator on this machine answers over http."""

    async def send(self, request: Any, **options: Any) -> Any:
        """Send it, to the same place without encryption."""
        request.url = request.url.replace("https://", "http://", 1)
        return await super().send(request, **options)


async def differences(
    client: ServiceBusAdministrationClient, topology: Sequence[Topic]
) -> list[Change]:
    """What is not as the topology has it, in the order it is to be mended.

    Raises:
        Unavailable: The namespace does not answer, or refuses.
    """
    changes: list[Change] = []
    try:
        for topic in topology:
            changes += await _topic(client, topic)
    except ClientAuthenticationError as error:
        raise Unavailable(
            "the namespace refuses: managing takes a policy with the Manage right,"
            " or the role Azure Service Bus Data Owner"
        ) from error
    except AzureError as error:
        raise Unavailable(f"the namespace cannot be managed: {_short(error)}") from error
    return changes


async def mend(changes: Sequence[Change], *, prune: bool) -> None:
    """Make the changes; what is too much is removed only with `prune`.

    Raises:
        Unavailable: The namespace does not answer, or refuses; what came before is made.
    """
    for change in changes:
        if change.run is None or (change.mark == "-" and not prune):
            continue
        try:
            await change.run()
        except AzureError as error:
            raise Unavailable(f"{change.mark} {change.what}: {_short(error)}") from error


async def _topic(client: ServiceBusAdministrationClient, topic: Topic) -> list[Change]:
    try:
        found = await client.get_topic(topic.name)
    except ResourceNotFoundError:
        made = Change(mark="+", what=f"topic {topic.name}", run=lambda: _make_topic(client, topic))
        return [made, *(_missing(client, each) for each in topic.subscriptions)]
    changes: list[Change] = []
    if found.requires_duplicate_detection:
        said = (
            f"topic {topic.name}: detects duplicates, which drops what is sent again; make it anew"
        )
        changes.append(Change(mark="!", what=said))
    changes += _mended(found, _switched_on(found), f"topic {topic.name}", client.update_topic)
    wanted = {each.name.lower(): each for each in topic.subscriptions}
    there = {each.name.lower(): each async for each in client.list_subscriptions(topic.name)}
    for name, subscription in wanted.items():
        if name not in there:
            changes.append(_missing(client, subscription))
            continue
        changes += _settings(client, subscription, there[name])
        changes += await _rules(client, subscription)
    for name in sorted(there.keys() - wanted.keys()):
        said = f"subscription {topic.name}/{there[name].name}, with what is in it"
        changes.append(Change(mark="-", what=said, run=_deletion(client, topic.name, name)))
    return changes


async def _make_topic(client: ServiceBusAdministrationClient, topic: Topic) -> None:
    await client.create_topic(topic.name, requires_duplicate_detection=False)


def _deletion(client: ServiceBusAdministrationClient, topic: str, name: str) -> Do:
    return lambda: client.delete_subscription(topic, name)


def _missing(client: ServiceBusAdministrationClient, wanted: Subscription) -> Change:
    async def make() -> None:
        await client.create_subscription(wanted.topic, wanted.name, **_wanted_settings(wanted))
        # It was made with a rule that takes everything; until now it has.
        rule = await client.get_rule(wanted.topic, wanted.name, wanted.rule.name)
        rule.filter = _filter(wanted.rule)
        await client.update_rule(wanted.topic, wanted.name, rule)

    return Change(mark="+", what=f"subscription {wanted.topic}/{wanted.name}", run=make)


def _wanted_settings(wanted: Subscription) -> dict[str, Any]:
    return {
        "lock_duration": dt.timedelta(milliseconds=wanted.lock_ms),
        "default_message_time_to_live": dt.timedelta(milliseconds=wanted.ttl_ms),
        "max_delivery_count": wanted.max_delivery_count,
        "dead_lettering_on_message_expiration": DEAD_LETTERS_ON_EXPIRY,
    }


def _settings(
    client: ServiceBusAdministrationClient, wanted: Subscription, found: SubscriptionProperties
) -> list[Change]:
    name = f"subscription {wanted.topic}/{wanted.name}"
    if found.requires_session:
        return [Change(mark="!", what=f"{name}: requires sessions; make it anew")]
    different = {
        key: value
        for key, value in _wanted_settings(wanted).items()
        if getattr(found, key) != value
    }
    # Where it forwards, nothing is left for the hub to receive, or to find among the dead letters.
    forwards = [key for key in _FORWARDS if getattr(found, key)]
    different |= _switched_on(found) | dict.fromkeys(forwards)
    return _mended(
        found, different, name, lambda found: client.update_subscription(wanted.topic, found)
    )


def _switched_on(found: SubscriptionProperties | TopicProperties) -> dict[str, Any]:
    return {"status": EntityStatus.ACTIVE} if found.status in _SWITCHED_OFF else {}


def _mended(
    found: Properties,
    different: dict[str, Any],
    name: str,
    write: Callable[[Properties], Awaitable[object]],
) -> list[Change]:
    """The change that gives an entity its settings; none where nothing is different."""
    if not different:
        return []
    said = ", ".join(
        f"{key.replace('_', ' ')} {_said(getattr(found, key))} → {_said(value)}"
        for key, value in different.items()
    )

    async def update() -> None:
        for key, value in different.items():
            setattr(found, key, value)
        await write(found)

    return [Change(mark="~", what=f"{name}: {said}", run=update)]


async def _rules(client: ServiceBusAdministrationClient, wanted: Subscription) -> list[Change]:
    topic, name = wanted.topic, wanted.name
    there = {each.name: each async for each in client.list_rules(topic, name)}
    changes: list[Change] = []
    own = there.pop(wanted.rule.name, None)
    what = f"rule {topic}/{name}/{wanted.rule.name}: {_rule_text(_filter(wanted.rule))}"
    if own is None:
        made: Do = lambda: client.create_rule(  # noqa: E731 - as below
            topic, name, wanted.rule.name, filter=_filter(wanted.rule)
        )
        changes.append(Change(mark="+", what=what, run=made))
    elif own.action is not None or _rule_text(own.filter) != _rule_text(_filter(wanted.rule)):
        found = own

        async def update() -> None:
            found.filter, found.action = _filter(wanted.rule), None
            await client.update_rule(topic, name, found)

        changes.append(Change(mark="~", what=what, run=update))
    for extra in sorted(there):
        said = f"rule {topic}/{name}/{extra}: {_rule_text(there[extra].filter)}"
        changes.append(Change(mark="-", what=said, run=_rule_deletion(client, wanted, extra)))
    return changes


def _rule_deletion(client: ServiceBusAdministrationClient, wanted: Subscription, rule: str) -> Do:
    return lambda: client.delete_rule(wanted.topic, wanted.name, rule)


def _filter(rule: Rule) -> Any:
    if isinstance(rule.filter, SqlFilter):
        return SqlRuleFilter(rule.filter.expression)
    found: CorrelationFilter = rule.filter
    return CorrelationRuleFilter(
        **{name: getattr(found, name) for name in _FIELDS},
        properties=cast("Any", dict(found.properties)),
    )


def _rule_text(found: object) -> str:
    """A filter in words; the same for two that take the same."""
    if isinstance(found, CorrelationRuleFilter):
        parts = {name: getattr(found, name) for name in _FIELDS}
        said = {name: value for name, value in parts.items() if value}
        return f"correlation {said} {dict(found.properties or {})}"
    if isinstance(found, SqlRuleFilter):
        return str(found.sql_expression)
    return type(found).__name__


def _said(value: object) -> str:
    if isinstance(value, dt.timedelta):
        ms = value // dt.timedelta(milliseconds=1)
        return in_words(ms) if value.days < 1_000 else "for ever"
    if value is None:
        return "nowhere"
    if isinstance(value, EntityStatus):
        return str(value.value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(error: BaseException) -> str:
    text = str(error).splitlines()
    return (text[0] if text else type(error).__name__)[:200]
