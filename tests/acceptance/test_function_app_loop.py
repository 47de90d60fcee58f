"""The whole way on Functions: from an SDK in front of the door, through Microsoft's worker library,
to Microsoft's clients, the mail service and a customer's receiver."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

import function_app
from notifications.bus.topology import JOBS_TOPIC
from tests.functions_front import front
from tests.functions_world import Azure, azure
from tests.hub_world import bearer, until
from tests.node_packages import needs_node
from tests.otlp_receiver import OtlpReceiver, assert_whole, otlp_receiver, path
from tests.realtime_clients import node_client, python_client
from tests.signalr_client import node_client as signalr_client
from tests.traced_producer import send
from tests.traced_world import CHANNELS
from tests.webhook_receivers import Receiver, answer

ROOT = Path(__file__).parent.parent.parent
INPUT = json.loads((ROOT / "schemas" / "jobs" / "chat.suggest" / "v1.example.json").read_text())
WITHIN_S = 30.0
OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_BLRP_SCHEDULE_DELAY": "50"}
Toasts = Callable[[], list[Any]]


@dataclass(kw_only=True)
class Customer:
    """A tenant with a user and an endpoint, as the API made them."""

    app: Azure
    token: str
    secret: str
    receiver: Receiver

    def posts(self, event_type: str) -> list[dict[str, Any]]:
        """The events of a type that arrived, each verified as the receiver would."""
        seen = [
            Webhook(self.secret).verify(each.body, each.headers) for each in self.receiver.requests
        ]
        return [each for each in seen if each["type"] == event_type]


@contextlib.asynccontextmanager
async def customer(app: Azure) -> AsyncIterator[Customer]:
    """Ada of acme, who has an address, and acme's receiver."""
    user = {"tenantId": "acme", "email": "ada@example.com", "locale": "en"}
    await app.json("PUT", "/v1/users/ada", json=user, headers=app.admin)
    who = {"tenantId": "acme", "userId": "ada"}
    token = await app.json("POST", "/v1/user-tokens", json=who, headers=app.admin)
    async with Receiver([answer(200)]) as receiver:
        made = await app.json(
            "POST",
            "/v1/webhook-endpoints",
            json={"tenantId": "acme", "url": receiver.url()},
            headers=app.admin,
        )
        yield Customer(app=app, token=token["token"], secret=made["secret"], receiver=receiver)


@contextlib.asynccontextmanager
async def web_pubsub(who: Customer, at: str) -> AsyncIterator[list[Toasts]]:
    """Both of Microsoft's clients, connected where the hub's negotiate says."""

    async def url() -> str:
        headers = bearer(who.token)
        return str((await who.app.json("POST", "/v1/realtime/negotiate", headers=headers))["url"])

    async with python_client(url) as python, node_client(url) as node:
        await until(_async(lambda: python.heard.connected and node.heard.connected), "clients")
        yield [lambda: python.heard.data, lambda: node.heard.data]


@contextlib.asynccontextmanager
async def signalr(who: Customer, at: str) -> AsyncIterator[list[Toasts]]:
    """Microsoft's SignalR client, which negotiates with the hub itself."""
    async with signalr_client(f"{at}/v1/realtime/signalr", who.token) as client:
        assert (await client.said())["what"] == "connected"
        pushed: list[Any] = []

        async def listen() -> None:
            while True:
                said = await client.said()
                if said["what"] == "pushed":
                    pushed.append(said["data"])

        listening = asyncio.create_task(listen())
        try:
            yield [lambda: pushed]
        finally:
            listening.cancel()


CLIENTS = {"webpubsub": web_pubsub, "signalr": signalr}


def _async(condition: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def asked() -> object:
        return condition()

    return asked


async def send_job(app: Azure, job_id: str, collector: str) -> str:
    """Ask for a job as a backend does: with Microsoft's SDK, traced by it; the trace's id."""
    job = {"id": job_id, "jobType": "chat.suggest", "tenantId": "acme", "userId": "ada"}
    message = {
        "topic": JOBS_TOPIC,
        "body": json.dumps({**job, "input": INPUT}),
        "properties": {"jobType": "chat.suggest"},
    }
    (trace_id,) = await asyncio.to_thread(send, app.connection, collector, message)
    return trace_id


@needs_node
@pytest.mark.long
@pytest.mark.parametrize("realtime", list(CLIENTS))
async def test_a_job_goes_all_the_way(tmp_path: Path, realtime: str) -> None:
    """A job that a backend put on the bus is done, and its end reaches every client of its user as
    a toast, her address as a mail and the customer's receiver as a signed webhook; nothing failed
    on the way, nothing is left, and all of it is one trace that begins with the backend. Once the
    process has its hub already, once it is the job that wakes it."""
    with otlp_receiver() as seen:
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": seen.url, **OFTEN}
        async with azure(tmp_path, realtime, **more) as app, front(app) as at, customer(app) as ada:
            await goes_all_the_way(app, at, ada, seen, realtime)


async def goes_all_the_way(
    app: Azure, at: str, ada: Customer, seen: OtlpReceiver, realtime: str
) -> None:
    """See the test."""
    async with CLIENTS[realtime](ada, at) as clients:
        trace_id = await send_job(app, "job-1", seen.url)
        if realtime == "webpubsub":
            await function_app.hub.close()  # it is the job that wakes the process
        ended = _ended(clients)
        async with app.host().at_work() as host:
            await until(_async(lambda: all(each() for each in ended)), "toasts", within_s=WITHIN_S)
            await until(_async(app.mails.mails), "the mail", within_s=WITHIN_S)
            await until(
                _async(lambda: ada.posts("job.succeeded")), "the webhook", within_s=WITHIN_S
            )
            await until(lambda: all_delivered(app, "job-1.end"), "the ledger", within_s=WITHIN_S)

    job = await app.json("GET", "/v1/jobs/job-1?tenantId=acme", headers=app.admin)
    dead = await app.json("GET", "/v1/dead-letters", headers=app.admin)
    (mail,) = [message_from_bytes(each, policy=policy.default) for each in app.mails.mails()]
    (post,) = ada.posts("job.succeeded")

    assert job["state"] == "succeeded"
    assert [len(each()) for each in ended] == [1] * len(ended)
    assert mail["to"] == "ada@example.com"
    assert post["jobid"] == "job-1"
    assert host.failures == []
    assert dead["items"] == []
    await assert_one_trace(app, seen, trace_id)


async def assert_one_trace(app: Azure, seen: OtlpReceiver, trace_id: str) -> None:
    """From the backend's span over bus, run and model to each channel's attempt at the job's end,
    with no parent missing; the event's timeline names it."""
    spans = await seen.trace(trace_id, until=("ask", "run chat.suggest", "chat", *CHANNELS))
    root = assert_whole(spans)
    ends = [each for each in spans if each.attributes.get("huntaze.event.id") == "job-1.end"]
    event = await app.json("GET", "/v1/events/job-1.end?tenantId=acme", headers=app.admin)

    assert (root.name, root.service) == ("ask", "producer")
    assert {each.name for each in ends} >= set(CHANNELS)
    assert all(path(spans, each)[0] == "ask" for each in ends)
    assert event["traceId"] == trace_id


def _ended(clients: list[Toasts]) -> list[Toasts]:
    """What each client was told of the job's end."""

    def of(toasts: Toasts) -> Toasts:
        return lambda: [each for each in toasts() if each["item"]["eventId"] == "job-1.end"]

    return [of(each) for each in clients]


async def all_delivered(app: Azure, event_id: str) -> bool:
    """Whether an event reached everybody."""
    path = f"/v1/deliveries?tenantId=acme&eventId={event_id}"
    found = await app.json("GET", path, headers=app.admin)
    states = {each["channel"]: each["state"] for each in found["items"]}
    return states == dict.fromkeys(("realtime", "email", "webhook"), "delivered")
