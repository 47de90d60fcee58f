"""The webhook channel with a sender that records."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.webhooks.channel import (
    MAX_HEADER_VALUE,
    WebhookChannel,
    check_event_types,
    check_headers,
)
from notifications.channels.webhooks.signatures import new_secret, rotate, secret_text, verify
from notifications.deliveries import Delivered, Outcome, Parked, Skipped
from notifications.directory import Endpoint, EndpointState
from notifications.ports import ChannelAdapter
from notifications.records import Placed, Route
from tests.webhook_worlds import (
    NOON,
    SECRET,
    CountingDice,
    MemoryDirectory,
    SetClock,
    delivery,
    endpoint,
    event,
)

NOON_MS = int(NOON.timestamp() * 1000)
OURS = ["content-type", "webhook-id", "webhook-timestamp", "webhook-signature"]
KNOWN = ["job.queued", "job.failed", "payment.received"]


@dataclass(slots=True)
class RecordingSender:
    """Keeps what it is given and answers what it is told."""

    outcome: Outcome = Delivered(status=200)  # noqa: RUF009  # a frozen value
    posts: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)

    async def post(
        self, endpoint_url: str, headers: Mapping[str, str], body: bytes, *, owner: str = ""
    ) -> Outcome:
        self.posts.append((endpoint_url, headers, body))
        return self.outcome


@dataclass(slots=True)
class World:
    directory: MemoryDirectory
    sender: RecordingSender
    clock: SetClock
    channel: WebhookChannel


def world(*endpoints: Endpoint, outcome: Outcome | None = None) -> World:
    directory, clock = MemoryDirectory(list(endpoints)), SetClock()
    sender = RecordingSender(outcome or Delivered(status=200))
    return World(directory, sender, clock, WebhookChannel(directory, sender, clock))


def test_is_a_channel_adapter() -> None:
    """The channel has the port's shape."""
    adapter: ChannelAdapter = world().channel
    assert adapter is not None


# --------------------------------------------------------------------------- routing


async def test_routes_to_endpoints_that_ask_for_the_type_whatever_their_state() -> None:
    """An event goes to each of its tenant's endpoints that wants it, paused ones too."""
    w = world(
        endpoint(id="all"),
        endpoint(id="exact", event_types=("payment.received",), state=EndpointState.PAUSED),
        endpoint(id="prefix", event_types=("job.*", "payment.*"), state=EndpointState.DISABLED),
        endpoint(id="other", event_types=("job.*",)),
        endpoint(id="stranger", tenant_id="globex"),
    )
    assert await w.channel.route(event()) == Route(targets=("all", "exact", "prefix"))


async def test_routes_nowhere_with_a_reason() -> None:
    """Where no endpoint asks for the type, the route says so."""
    w = world(endpoint(event_types=("job.*",)), endpoint(id="stranger", tenant_id="globex"))
    assert await w.channel.route(event()) == Route(reason="no-endpoint")


@pytest.mark.parametrize("types", [("*",), ("job.*",)])
async def test_test_event_goes_to_its_endpoint_alone(types: tuple[str, ...]) -> None:
    """`webhook.test` goes to the endpoint it names, whatever that asks for, and to no other."""
    w = world(endpoint(event_types=types), endpoint(id="ep_2"))
    sample = event(type="webhook.test", data={"endpointId": "ep_1"})
    assert await w.channel.route(sample) == Route(targets=("ep_1",))


@pytest.mark.parametrize(
    "data", [{}, {"endpointId": "gone"}, {"endpointId": None}, {"endpointId": ["ep_1"]}]
)
async def test_test_event_of_no_endpoint_goes_nowhere(data: dict) -> None:
    """`webhook.test` that names no endpoint of the tenant is not spread to all of them."""
    w = world(endpoint())
    assert await w.channel.route(event(type="webhook.test", data=data)) == Route(
        reason="no-endpoint"
    )


# --------------------------------------------------------------------------- attempts


async def test_posts_the_event_as_stored_and_signed() -> None:
    """An attempt posts the event's own bytes to the URL, under headers that verify."""
    w = world(endpoint(url="https://example.com/hook"))
    sample = event()
    attempted = await w.channel.attempt(delivery(), sample)
    assert attempted.outcome == Delivered(status=200)
    [(url, headers, body)] = w.sender.posts
    assert (url, body) == ("https://example.com/hook", sample.body)
    assert headers["content-type"] == "application/cloudevents+json"
    assert verify(headers, body, [secret_text(SECRET)], NOON).webhook_id == sample.webhook_id


async def test_retry_has_the_same_id_and_a_new_timestamp() -> None:
    """Each attempt is signed at its own time, under the id of the event."""
    w = world(endpoint())
    await w.channel.attempt(delivery(), event())
    w.clock.at = NOON.replace(hour=18)
    await w.channel.attempt(delivery(attempt=1), event())
    first, second = (headers for _, headers, _ in w.sender.posts)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 6 * 3600
    verify(second, event().body, [secret_text(SECRET)], w.clock.at)


async def test_same_event_id_of_another_tenant_has_another_webhook_id() -> None:
    """Tenants that use the same event id do not share a `webhook-id`."""
    w = world(endpoint(), endpoint(tenant_id="globex"))
    await w.channel.attempt(delivery(), event())
    await w.channel.attempt(delivery(tenant_id="globex"), event(tenantid="globex"))
    first, second = (headers["webhook-id"] for _, headers, _ in w.sender.posts)
    assert first != second


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (EndpointState.PAUSED, Parked(reason="endpoint-paused")),
        (EndpointState.DISABLED, Parked(reason="endpoint-disabled")),
    ],
)
async def test_parks_while_the_endpoint_takes_nothing(
    state: EndpointState, outcome: Outcome
) -> None:
    """A paused or disabled endpoint is not called; the delivery parks."""
    w = world(endpoint(state=state))
    assert (await w.channel.attempt(delivery(), event())).outcome == outcome
    assert w.sender.posts == []


@pytest.mark.parametrize("others", [(), (endpoint(tenant_id="globex"),)])
async def test_deleted_endpoint_ends_its_deliveries(others: tuple[Endpoint, ...]) -> None:
    """An endpoint that is gone is skipped, also where another tenant has one of that id."""
    w = world(*others)
    outcome = (await w.channel.attempt(delivery(), event())).outcome
    assert outcome == Skipped(reason="endpoint-deleted")
    assert w.sender.posts == []


async def test_rotated_secret_counts_at_once() -> None:
    """After a rotation the next attempt is signed by both secrets."""
    w = world(endpoint())
    await w.channel.attempt(delivery(), event())
    secrets = rotate((SECRET,), new_secret(CountingDice()), NOON_MS)
    w.directory.known = [endpoint(secrets=secrets)]
    await w.channel.attempt(delivery(), event())
    headers = [headers for _, headers, _ in w.sender.posts]
    assert [len(each["webhook-signature"].split(" ")) for each in headers] == [1, 2]
    for secret in secrets:
        verify(headers[1], event().body, [secret_text(secret)], NOON)


async def test_changed_headers_count_at_once() -> None:
    """Headers that were changed are sent with the next attempt, and old ones no more."""
    w = world(endpoint(headers={"X-Old": "1"}))
    await w.channel.attempt(delivery(), event())
    w.directory.known = [replace(w.directory.known[0], headers={"X-New": "2"})]
    await w.channel.attempt(delivery(), event())
    (_, first, _), (_, second, _) = w.sender.posts
    assert (first.get("X-Old"), second.get("X-Old"), second.get("X-New")) == ("1", None, "2")


async def test_custom_headers_override_nothing() -> None:
    """Stored headers that carry reserved names, in any case, are left out of the request."""
    bad = {
        "Webhook-Signature": "v1,forged", "WEBHOOK-ID": "x", "webhook-Timestamp": "1",
        "Content-Type": "text/plain", "Host": "internal", "Content-Length": "3",
        "Transfer-Encoding": "chunked", "Connection": "close", "Expect": "100-continue",
        "User-Agent": "other", "Webhook-Anything": "x",
    }  # fmt: skip
    w = world(endpoint(headers={**bad, "Authorization": "Bearer sample"}))
    await w.channel.attempt(delivery(), event())
    [(_, headers, body)] = w.sender.posts
    assert sorted(headers) == sorted([*OURS, "Authorization"])
    verify(headers, body, [secret_text(SECRET)], NOON)


async def test_recorded_does_nothing() -> None:
    """The channel has no inbox entries to tell of."""
    w = world(endpoint())
    await w.channel.recorded(delivery(), event(), Placed(item=None, unread=0))
    assert w.sender.posts == []


# --------------------------------------------------------------------------- what customers enter


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer a b"}, {"X-A": "1", "x-b": "~"}, {"X": "a" * MAX_HEADER_VALUE}],
)
def test_good_headers(headers: dict[str, str]) -> None:
    """Ordinary headers pass."""
    assert check_headers(headers) == []


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("", "x", "name"),
        ("a b", "x", "name"),
        ("a:", "x", "name"),
        ("a\r\nb", "x", "name"),
        (":path", "x", "name"),
        ("é", "x", "name"),
        ("x" * 129, "x", "name"),
        ("Host", "x", "hub"),
        ("content-LENGTH", "x", "hub"),
        ("Transfer-Encoding", "x", "hub"),
        ("TE", "x", "hub"),
        ("webhook-signature", "x", "hub"),
        ("Webhook-Other", "x", "hub"),
        ("User-Agent", "x", "hub"),
        ("X", "", "printable"),
        ("X", " a", "printable"),
        ("X", "a ", "printable"),
        ("X", "a\r\nHost: b", "printable"),
        ("X", "a\n", "printable"),
        ("X", "a\x00", "printable"),
        ("X", "é", "printable"),
        ("X", "a" * (MAX_HEADER_VALUE + 1), "printable"),
    ],
)
def test_bad_headers(name: str, value: str, word: str) -> None:
    """Names that are no tokens or not the customer's, and unsafe values, are refused by name."""
    [error] = check_headers({name: value})
    assert word in error.detail
    assert error.pointer == f"/headers/{name}"


def test_header_pointer_is_escaped() -> None:
    """A name with a slash or tilde is pointed to as RFC 6901 says."""
    assert [e.pointer for e in check_headers({"a/b~": "x"})] == ["/headers/a~1b~0"]


def test_too_many_headers_and_doubles() -> None:
    """More than twenty headers, and one name in two cases, are refused."""
    many = {f"X-{i}": "1" for i in range(21)}
    assert [e.pointer for e in check_headers(many)] == ["/headers"]
    assert [e.pointer for e in check_headers({"X-A": "1", "x-a": "2"})] == ["/headers/x-a"]


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=12), max_size=4))
@pytest.mark.fault("end a header within a value", "attackers")
def test_headers_that_pass_cannot_break_a_request(headers: dict[str, str]) -> None:
    """Whatever is entered, what passes contains no control character, colon name or our names."""
    if not check_headers(headers):
        for name, value in headers.items():
            assert (name + value).isascii()
            assert (name + value).isprintable()
            assert ":" not in name
            assert not name.lower().startswith("webhook-")


@pytest.mark.parametrize("patterns", [["*"], ["job.queued"], ["job.*", "payment.received"]])
def test_good_event_types(patterns: list[str]) -> None:
    """All types, exact ones and a prefix of known ones pass."""
    assert check_event_types(patterns, KNOWN) == []


@pytest.mark.parametrize(
    ("patterns", "pointers"),
    [
        ([], ["/eventTypes"]),
        (["*"] * 51, ["/eventTypes"]),
        (["job.queued", "job.nothing"], ["/eventTypes/1"]),
        (
            ["nothing.*", "job", "job*", ".*", "", "*.*", "**"],
            [f"/eventTypes/{i}" for i in range(7)],
        ),
        (["jo.*"], ["/eventTypes/0"]),
    ],
)
def test_bad_event_types(patterns: list[str], pointers: list[str]) -> None:
    """None, too many, and patterns that no known type fits are refused by their place."""
    assert [error.pointer for error in check_event_types(patterns, KNOWN)] == pointers
