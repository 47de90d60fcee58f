"""Webhook endpoints and their deliveries, over HTTP, with a real receiver."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
import pytest_asyncio
from standardwebhooks.webhooks import Webhook

from tests.hub_world import World, document, hub_world, until
from tests.webhook_receivers import Receiver, answer, receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/v1/webhook-endpoints"
HOOK = "https://example.com/hook"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub; each test uses a tenant of its own where others' endpoints would disturb it."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        yield world


class Tenant:
    """A tenant's calls."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name

    async def call(self, method: str, path: str, body: object = None) -> httpx.Response:
        headers = await self.world.tenant(self.name)
        return await self.world.http.request(method, path, json=body, headers=headers)

    async def create(self, **wishes: Any) -> dict[str, Any]:
        """A new endpoint."""
        made = await self.call("POST", URL, {"url": HOOK, **wishes})
        assert made.status_code == 201, made.text
        found: dict[str, Any] = made.json()
        return found

    async def get(self, endpoint: Mapping[str, Any]) -> Any:
        """An endpoint as it is now."""
        return (await self.call("GET", f"{URL}/{endpoint['id']}")).json()

    async def standing(self, endpoint: Mapping[str, Any], state: str) -> Any:
        """An endpoint as it is now, where that is in this state; else None."""
        found = await self.get(endpoint)
        return found if found["state"] == state else None

    async def publish(self, event_id: str) -> None:
        """An event for the tenant's endpoints."""
        sent = await self.call("POST", "/v1/events", document(event_id, tenantid=self.name))
        assert sent.status_code == 202, sent.text

    async def delivery(self, event_id: str, *states: str) -> Any:
        """The event's webhook delivery once it is in one of the states."""

        async def there() -> Any:
            query = f"/v1/deliveries?eventId={event_id}&channel=webhook"
            items = (await self.call("GET", query)).json()["items"]
            return items[0] if items and items[0]["state"] in states else None

        return await until(there, f"{event_id} to be {' or '.join(states)}")


# --------------------------------------------------------------------------- making and changing


async def test_a_new_endpoint_shows_its_secret_once(world: World) -> None:
    """201 with `whsec_…`; afterwards the secret is in no answer."""
    tenant = Tenant(world, "maker")
    made = await tenant.create(description="billing", eventTypes=["job.*", "payment.received"])

    shown = await tenant.get(made)
    listed = (await tenant.call("GET", URL)).text

    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["publicKey"].startswith("whpk_")
    assert shown == made
    assert secret not in listed
    assert made == {
        **made,
        "url": HOOK,
        "eventTypes": ["job.*", "payment.received"],
        "description": "billing",
        "headers": {},
        "signatures": ["v1"],
        "state": "active",
        "stateReason": None,
        "health": {"lastAttemptAt": None, "lastSuccessAt": None, "recentFailures": 0},
    }


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"url": "http://93.184.215.14/hook"}, "/url"),
    ({"url": "https://user:secret@example.com/"}, "/url"),
    ({"url": "https://10.0.0.1/"}, "/url"),
    ({"url": "https://[::1]/"}, "/url"),
    ({"url": "https://169.254.169.254/latest"}, "/url"),
    ({"url": "ftp://example.com/"}, "/url"),
    ({"url": ""}, "/url"),
    ({"url": "https://example.com/" + "x" * 2048}, "/url"),
    ({"url": 7}, "/url"),
    ({"url": None}, "/url"),
    ({"eventTypes": []}, "/eventTypes"),
    ({"eventTypes": ["job.exploded"]}, "/eventTypes/0"),
    ({"eventTypes": ["*", "nothing.*"]}, "/eventTypes/1"),
    ({"eventTypes": "*"}, "/eventTypes"),
    ({"eventTypes": [7]}, "/eventTypes/0"),
    ({"description": "x" * 501}, "/description"),
    ({"description": "a\u0000b"}, "/description"),
    ({"description": "right\u202eleft"}, "/description"),
    ({"headers": {"Host": "evil.example"}}, "/headers/Host"),
    ({"headers": {"webhook-signature": "v1,forged"}}, "/headers/webhook-signature"),
    ({"headers": {"X-A": "a\r\nX-B: b"}}, "/headers/X-A"),
    ({"headers": {"X A": "a"}}, "/headers/X A"),
    ({"headers": {"X-A": 7}}, "/headers/X-A"),
    ({"headers": {f"X-{n}": "a" for n in range(21)}}, "/headers"),
    ({"signatures": ["v2"]}, "/signatures/0"),
    ({"signatures": []}, "/signatures"),
    ({"secret": "whsec_mine"}, "/secret"),
    ({"state": "paused"}, "/state"),
    ({"tenantId": "a/b"}, "/tenantId"),
]


@pytest.mark.parametrize(("wishes", "pointer"), WRONG, ids=lambda value: str(value)[:40])
async def test_what_is_wrong_is_refused_with_its_place(
    world: World, wishes: dict[str, Any], pointer: str
) -> None:
    """422 with a pointer, when making an endpoint and when changing one."""
    tenant = Tenant(world, "refused")
    endpoint = await tenant.create()
    before = (await tenant.call("GET", f"{URL}?limit=200")).json()["items"]

    making = await tenant.call("POST", URL, {"url": HOOK, **wishes})
    changing = await tenant.call("PATCH", f"{URL}/{endpoint['id']}", wishes)

    for refused in (making, changing):
        assert refused.status_code == 422, refused.text
        assert pointer in [each["pointer"] for each in refused.json()["errors"]]
    assert (await tenant.call("GET", f"{URL}?limit=200")).json()["items"] == before


async def test_a_refusal_repeats_no_header_value(world: World) -> None:
    """What was sent as a credential is not in the answer that refuses it."""
    tenant = Tenant(world, "refused")
    wishes = {"url": HOOK, "headers": {"Authorization": "Bearer hunter2\n"}}

    refused = await tenant.call("POST", URL, wishes)

    assert refused.status_code == 422
    assert "hunter2" not in refused.text


async def test_a_patch_changes_what_it_names_and_nothing_else(world: World) -> None:
    """Each field alone changes alone."""
    tenant = Tenant(world, "patcher")
    made = await tenant.create(description="before", headers={"X-Team": "a"})
    made.pop("secret")

    for change in (
        {"url": "https://example.org/other"},
        {"eventTypes": ["job.failed"]},
        {"description": ""},
        {"headers": {"X-Team": "b", "X-More": "c"}},
        {"signatures": ["v1a"]},
        {},
    ):
        answered = await tenant.call("PATCH", f"{URL}/{made['id']}", change)
        made |= change
        if "signatures" in change:
            made["signatures"] = ["v1", "v1a"]  # v1 is always sent
        assert answered.json() == made
        assert await tenant.get(made) == made


async def test_credentials_in_headers_are_hidden_and_kept(world: World) -> None:
    """Answers show `***`; sending that back keeps the value; other values are shown."""
    tenant = Tenant(world, "hider")
    async with receiver(answer()) as hook:
        headers = {"Authorization": "Bearer hunter2", "X-Api-Key": "k-1", "X-Team": "a"}
        made = await tenant.create(url=hook.url(), headers=headers)
        hidden = {"Authorization": "***", "X-Api-Key": "***", "X-Team": "a"}
        assert made["headers"] == hidden

        changed = {**hidden, "X-Team": "b"}
        patched = await tenant.call("PATCH", f"{URL}/{made['id']}", {"headers": changed})
        assert patched.json()["headers"] == changed
        await tenant.call("POST", f"{URL}/{made['id']}/test")

        assert hook.requests[0].headers["authorization"] == "Bearer hunter2"
        assert hook.requests[0].headers["x-api-key"] == "k-1"
        assert hook.requests[0].headers["x-team"] == "b"


async def test_endpoints_are_listed_by_pages(world: World) -> None:
    """Following `nextCursor` leads through all of them, oldest first."""
    tenant = Tenant(world, "lister")
    made = [(await tenant.create(description=str(number)))["id"] for number in range(5)]

    seen: list[str] = []
    cursor = ""
    while True:
        page = (await tenant.call("GET", f"{URL}?limit=2{cursor}")).json()
        seen += [item["id"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"

    assert seen == made


async def test_a_deleted_endpoint_is_gone(world: World) -> None:
    """204, then 404; so is deleting it again."""
    tenant = Tenant(world, "deleter")
    made = await tenant.create()

    answers = [
        (await tenant.call(method, f"{URL}/{made['id']}")).status_code
        for method in ("DELETE", "GET", "DELETE")
    ]

    assert answers == [204, 404, 404]


# --------------------------------------------------------------------------- delivering


def verified(hook: Receiver, secret: str) -> Any:
    """The last request's body, by a receiver that is not ours."""
    request = hook.requests[-1]
    return Webhook(secret).verify(request.body, request.headers)


async def test_a_test_goes_to_its_endpoint_alone_and_answers_its_delivery(world: World) -> None:
    """The tested endpoint gets a signed `webhook.test` whatever it asks for; others get nothing."""
    tenant = Tenant(world, "tester")
    async with receiver(answer(body=b"thanks")) as hook, receiver(answer()) as other:
        made = await tenant.create(url=hook.url(), eventTypes=["job.failed"])
        await tenant.create(url=other.url())

        tested = await tenant.call("POST", f"{URL}/{made['id']}/test")

        assert tested.status_code == 200, tested.text
        delivery = tested.json()
        assert (delivery["target"], delivery["state"]) == (made["id"], "delivered")
        (attempt,) = delivery["attempts"]
        assert (attempt["number"], attempt["outcome"], attempt["status"]) == (1, "delivered", 200)
        event = verified(hook, made["secret"])
        assert event["type"] == "webhook.test"
        assert event["data"]["endpointId"] == made["id"]
        assert other.requests == []
        shown = await tenant.get(made)
        assert shown["health"]["lastSuccessAt"] == attempt["at"]
        assert shown["health"]["recentFailures"] == 0


async def test_a_test_that_is_refused_shows_why(world: World) -> None:
    """The answer is the delivery with its failed attempt and when it is tried again."""
    tenant = Tenant(world, "failing")
    async with receiver(answer(500, b"out of order")) as hook:
        made = await tenant.create(url=hook.url())

        delivery = (await tenant.call("POST", f"{URL}/{made['id']}/test")).json()

        assert delivery["state"] == "pending"
        assert delivery["nextAttemptAt"] > delivery["createdAt"]
        (attempt,) = delivery["attempts"]
        assert (attempt["outcome"], attempt["status"]) == ("http-500", 500)
        assert attempt["detail"] == "out of order"
        health = (await tenant.get(made))["health"]
        assert health == {
            "lastAttemptAt": attempt["at"],
            "lastSuccessAt": None,
            "recentFailures": 1,
        }


async def test_while_a_secret_rotates_both_sign(world: World) -> None:
    """After rotating, a receiver with the old secret and one with the new one verify."""
    tenant = Tenant(world, "rotator")
    async with receiver(answer()) as hook:
        made = await tenant.create(url=hook.url())
        rotated = (await tenant.call("POST", f"{URL}/{made['id']}/rotate-secret")).json()
        await tenant.call("POST", f"{URL}/{made['id']}/test")

        assert rotated["secret"] != made["secret"]
        assert rotated["publicKey"] != made["publicKey"]
        assert verified(hook, made["secret"]) == verified(hook, rotated["secret"])


async def test_a_paused_endpoint_gets_its_deliveries_once_it_is_resumed(world: World) -> None:
    """While paused deliveries park; resuming sends them."""
    tenant = Tenant(world, "pauser")
    async with receiver(answer()) as hook:
        made = await tenant.create(url=hook.url())
        paused = (await tenant.call("POST", f"{URL}/{made['id']}/pause")).json()
        await tenant.publish("while-paused")
        parked = await tenant.delivery("while-paused", "parked")
        assert hook.requests == []

        resumed = (await tenant.call("POST", f"{URL}/{made['id']}/resume")).json()
        await tenant.delivery("while-paused", "delivered")

    assert (paused["state"], paused["stateReason"]) == ("paused", "paused-by-hand")
    assert (resumed["state"], resumed["stateReason"]) == ("active", None)
    assert parked["reason"] == "endpoint-paused"
    assert parked["nextAttemptAt"] is None


async def test_an_endpoint_that_is_gone_is_disabled_and_can_be_resumed(world: World) -> None:
    """410 disables with a reason, which pausing does not hide; resuming makes it active."""
    tenant = Tenant(world, "goner")
    async with receiver(answer(410), answer()) as hook:
        made = await tenant.create(url=hook.url())
        await tenant.publish("first")
        first = await tenant.delivery("first", "exhausted")
        # The commit can be read a moment before this process's memory of endpoints hears of it.
        disabled = await until(
            lambda: tenant.standing(made, "disabled"), "the endpoint's new state"
        )
        paused = (await tenant.call("POST", f"{URL}/{made['id']}/pause")).json()
        resumed = (await tenant.call("POST", f"{URL}/{made['id']}/resume")).json()
        await tenant.publish("second")
        await tenant.delivery("second", "delivered")

    assert first["reason"] == "gone"
    assert disabled["state"] == "disabled"
    assert disabled["stateReason"]
    assert paused == disabled
    assert resumed["state"] == "active"


async def test_deleting_an_endpoint_ends_its_open_deliveries(world: World) -> None:
    """What was still to be tried ends as skipped."""
    tenant = Tenant(world, "leaver")
    async with receiver(answer(500)) as hook:
        made = await tenant.create(url=hook.url())
        await tenant.publish("open")
        await until(
            lambda: attempted(tenant, "open"),
            "the first attempt",
        )
        await tenant.call("DELETE", f"{URL}/{made['id']}")
        ended = await tenant.delivery("open", "skipped")

    assert ended["reason"] == "endpoint-deleted"


async def attempted(tenant: Tenant, event_id: str) -> Any:
    """The event's webhook delivery, once it was tried."""
    found = (await tenant.call("GET", f"/v1/events/{event_id}")).json()
    webhooks = [each for each in found["deliveries"] if each["channel"] == "webhook"]
    return webhooks[0] if webhooks and webhooks[0]["attempts"] else None


@pytest.mark.parametrize("action", ["test", "pause", "resume", "rotate-secret"])
async def test_nothing_is_done_with_an_absent_endpoint(world: World, action: str) -> None:
    """404."""
    answered = await Tenant(world, "maker").call("POST", f"{URL}/ep_absent/{action}")

    assert answered.status_code == 404


# --------------------------------------------------------------------------- deliveries


async def test_a_retry_by_hand_begins_a_new_round(world: World) -> None:
    """202, round 2, attempts from 1; delivered in the end; the old round's attempts stay."""
    tenant = Tenant(world, "retrier")
    async with receiver(answer(500), answer()) as hook:
        await tenant.create(url=hook.url())
        await tenant.publish("retried")
        first = await until(lambda: attempted(tenant, "retried"), "the first attempt")

        retried = await tenant.call("POST", f"/v1/deliveries/{first['id']}/retry")
        done = await tenant.delivery("retried", "delivered")
        whole = (await tenant.call("GET", f"/v1/deliveries/{done['id']}")).json()

    assert retried.status_code == 202
    assert (retried.json()["id"], retried.json()["round"]) == (first["id"], 2)
    assert [(a["round"], a["number"], a["outcome"]) for a in whole["attempts"]] == [
        (1, 1, "http-500"),
        (2, 1, "delivered"),
    ]


async def test_what_is_delivered_is_not_retried(world: World) -> None:
    """409: there is nothing to retry."""
    tenant = Tenant(world, "retrier-2")
    async with receiver(answer()) as hook:
        await tenant.create(url=hook.url())
        await tenant.publish("done")
        done = await tenant.delivery("done", "delivered")

        retried = await tenant.call("POST", f"/v1/deliveries/{done['id']}/retry")

    assert retried.status_code == 409
    assert "nothing to retry" in retried.json()["detail"]


@pytest.mark.parametrize(
    "delivery_id", ["dlv_0000000000000", "dlv_", "7", "dlv_zzzzzzzzzzzzz", "%00", "dlv_" + "v" * 13]
)
async def test_an_absent_delivery_is_not_found(world: World, delivery_id: str) -> None:
    """404 for reading and retrying, whatever the id is made of."""
    tenant = Tenant(world, "maker")

    assert (await tenant.call("GET", f"/v1/deliveries/{delivery_id}")).status_code == 404
    assert (await tenant.call("POST", f"/v1/deliveries/{delivery_id}/retry")).status_code == 404


async def test_deliveries_are_listed_by_pages_and_filters(world: World) -> None:
    """Pages lead through all of them, newest first; each filter leaves what fits."""
    tenant = Tenant(world, "shipper")
    async with receiver(answer()) as hook:
        made = await tenant.create(url=hook.url())
        for number in range(3):
            await tenant.publish(f"shipped-{number}")
            await tenant.delivery(f"shipped-{number}", "delivered")

    async def listed(query: str) -> list[tuple[str, str]]:
        seen, cursor = [], ""
        while True:
            answered = await tenant.call("GET", f"/v1/deliveries?limit=2&{query}{cursor}")
            page = answered.json()
            seen += [(item["eventId"], item["channel"]) for item in page["items"]]
            if page["nextCursor"] is None:
                return seen
            cursor = f"&cursor={page['nextCursor']}"

    webhooks = [(f"shipped-{number}", "webhook") for number in (2, 1, 0)]
    assert await listed(f"endpointId={made['id']}") == webhooks
    assert await listed("channel=webhook&state=delivered") == webhooks
    assert await listed("state=exhausted") == []
    assert await listed("eventId=absent") == []
    assert sorted(await listed("eventId=shipped-0")) == [
        ("shipped-0", "realtime"),
        ("shipped-0", "webhook"),
    ]
    assert len(await listed("")) == 6


@pytest.mark.parametrize("query", ["state=lost", "channel=pigeon", "limit=0", "cursor=AAAA"])
async def test_a_wrong_filter_is_refused(world: World, query: str) -> None:
    """422 for a state or channel that there is not."""
    answered = await Tenant(world, "maker").call("GET", f"/v1/deliveries?{query}")

    assert answered.status_code == 422
