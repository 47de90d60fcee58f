"""Channel, sender and a receiver that verifies, together."""

import json

import pytest

from notifications.channels.webhooks.channel import WebhookChannel
from notifications.channels.webhooks.sender import WebhookSender
from notifications.channels.webhooks.signatures import (
    new_secret,
    public_key_text,
    rotate,
    secret_text,
    verify,
)
from notifications.deliveries import Delivered, Parked
from notifications.directory import Endpoint, EndpointState
from notifications.retries import DAY
from tests.webhook_receivers import answer, receiver
from tests.webhook_worlds import (
    LOOPBACK,
    NOON,
    SECRET,
    CountingDice,
    MemoryDirectory,
    SetClock,
    delivery,
    endpoint,
    event,
)


async def deliver(one: Endpoint, *, times: int = 1, clock: SetClock | None = None) -> list:
    """Attempt the sample event's delivery to an endpoint; gives the outcomes."""
    clock = clock or SetClock()
    async with WebhookSender(clock=clock, allowed=LOOPBACK) as sends:
        channel = WebhookChannel(MemoryDirectory([one]), sends, clock)
        return [(await channel.attempt(delivery(), event())).outcome for _ in range(times)]


async def test_receiver_verifies_what_arrives() -> None:
    """What arrives is the event as stored, and both signatures fit it."""
    async with receiver(answer(202)) as target:
        one = endpoint(url=target.url(), signatures=("v1", "v1a"))
        assert await deliver(one) == [Delivered(status=202)]
    [request] = target.requests
    for key in (secret_text(SECRET), public_key_text(SECRET)):
        assert verify(request.headers, request.body, [key], NOON).webhook_id == event().webhook_id
    assert request.body == event().body
    assert json.loads(request.body)["data"] == {"amount": "12.50", "from": "Zoé"}
    assert request.headers["content-type"] == "application/cloudevents+json"


@pytest.mark.parametrize(("elapsed", "signatures"), [(0, 2), (DAY - 1, 2), (DAY, 1)])
async def test_rotation_on_the_wire(elapsed: int, signatures: int) -> None:
    """For a day after a rotation both secrets sign, then the new one alone."""
    begun = int(NOON.timestamp() * 1000)
    secrets = rotate((SECRET,), new_secret(CountingDice()), begun - elapsed)
    async with receiver() as target:
        await deliver(endpoint(url=target.url(), secrets=secrets))
    [request] = target.requests
    assert len(request.headers["webhook-signature"].split(" ")) == signatures
    for secret in secrets[:signatures]:
        verify(request.headers, request.body, [secret_text(secret)], NOON)


async def test_custom_headers_arrive_and_override_nothing() -> None:
    """A customer's headers arrive; what the hub and HTTP set arrives once, as the hub set it."""
    headers = {
        "Authorization": "Bearer sample", "X-Team": "a b", "WEBHOOK-SIGNATURE": "v1,forged",
        "Webhook-Id": "other", "Content-Type": "text/plain", "HOST": "internal.example",
        "Content-Length": "1", "Transfer-Encoding": "chunked", "User-Agent": "other",
        "Accept-Encoding": "gzip", "Connection": "close", "Expect": "100-continue",
    }  # fmt: skip
    async with receiver() as target:
        assert await deliver(endpoint(url=target.url(), headers=headers)) == [Delivered(status=200)]
    [request] = target.requests
    names = [name for name, _ in request.fields]
    assert len(names) == len(set(names))
    assert (request.headers["authorization"], request.headers["x-team"]) == ("Bearer sample", "a b")
    assert request.headers["host"] == f"127.0.0.1:{target.port}"
    assert request.headers["user-agent"] == "Huntaze-Webhooks/1.0"
    assert not {"transfer-encoding", "connection", "expect"}.intersection(names)
    assert request.body == event().body
    verify(request.headers, request.body, [secret_text(SECRET)], NOON)


async def test_paused_endpoint_is_not_called() -> None:
    """A paused endpoint parks its deliveries without a connection."""
    async with receiver() as target:
        outcomes = await deliver(endpoint(url=target.url(), state=EndpointState.PAUSED))
    assert outcomes == [Parked(reason="endpoint-paused")]
    assert target.accepted == 0


async def test_largest_event_arrives_whole() -> None:
    """An event of nearly 192 KiB arrives and verifies."""
    large = event(data={"text": "é" * 95_000})
    async with receiver() as target, WebhookSender(clock=SetClock(), allowed=LOOPBACK) as sends:
        channel = WebhookChannel(MemoryDirectory([endpoint(url=target.url())]), sends, SetClock())
        outcome = (await channel.attempt(delivery(), large)).outcome
    assert outcome == Delivered(status=200)
    [request] = target.requests
    assert len(request.body) > 190_000
    verify(request.headers, request.body, [secret_text(SECRET)], NOON)
