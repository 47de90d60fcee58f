"""Replays over HTTP, with a real receiver."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub_world import World, document, hub_world, until
from tests.webhook_receivers import Receiver, answer, receiver

URL = "/v1/webhook-endpoints"
LONG_AGO = {"since": "2020-01-01T00:00:00Z"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A hub and its API."""
    async with hub_world(tmp_path) as world:
        yield world


async def call(world: World, method: str, path: str, body: object = None) -> httpx.Response:
    headers = await world.tenant("acme")
    return await world.http.request(method, path, json=body, headers=headers)


async def endpoint(world: World, customer: Receiver, **wishes: Any) -> str:
    """A new endpoint of acme's; its path."""
    made = await call(world, "POST", URL, {"url": customer.url(), **wishes})
    assert made.status_code == 201, made.text
    return f"{URL}/{made.json()['id']}"


async def gone(world: World, path: str, count: int) -> None:
    """Events that the endpoint answered with 410; resumed afterwards."""
    for number in range(count):
        await call(world, "POST", "/v1/events", document(f"event-{number}"))

        async def exhausted(number: int = number) -> Any:
            found = await call(
                world, "GET", f"/v1/deliveries?eventId=event-{number}&channel=webhook"
            )
            items = found.json()["items"]
            return items and items[0]["state"] == "exhausted"

        await until(exhausted, "the delivery to end")
        assert (await call(world, "POST", f"{path}/resume")).status_code == 200


async def over(world: World, replay: dict[str, Any]) -> dict[str, Any]:
    """A replay once it is over."""

    async def there() -> Any:
        found = (await call(world, "GET", f"/v1/replays/{replay['id']}")).json()
        return found if found["state"] != "running" else None

    found: dict[str, Any] = await until(there, "the replay to end")
    return found


async def test_a_replay_from_preview_to_end(world: World) -> None:
    """The dry run counts, the replay answers at once, goes on by itself, and is read by its id."""
    async with receiver(answer(410), answer(410), answer(200)) as customer:
        path = await endpoint(world, customer, eventTypes=["message.received"])
        await gone(world, path, 2)

        preview = await call(world, "POST", f"{path}/replay", {**LONG_AGO, "dryRun": True})
        assert preview.status_code == 200
        assert preview.json() == {
            "dryRun": True,
            "endpointId": path.rpartition("/")[2],
            "matching": {"exhausted": 2, "parked": 0, "absent": 0},
            "total": 2,
        }
        started = await call(world, "POST", f"{path}/replay", LONG_AGO)
        assert started.status_code == 202, started.text
        replay = started.json()
        assert (replay["total"], replay["eventTypes"]) == (2, ["*"])
        assert replay["askedBy"].startswith("key_")
        done = await over(world, replay)
        assert (done["state"], done["retried"], done["added"]) == ("done", 2, 0)

        async def delivered() -> Any:
            return len(customer.requests) == 4

        await until(delivered, "the receiver to have both")
        listed = (await call(world, "GET", "/v1/replays")).json()
        assert listed == {"items": [done], "nextCursor": None}


async def test_an_endpoint_that_came_later_gets_what_was_before(world: World) -> None:
    """Only those of the past that it asks for; the endpoint that was there gets nothing twice."""
    async with receiver() as first, receiver() as second:
        await endpoint(world, first)
        for number in range(3):
            await call(world, "POST", "/v1/events", document(f"event-{number}"))

        async def there() -> Any:
            return len(first.requests) == 3

        await until(there, "the first to have all")
        path = await endpoint(world, second)
        body = {**LONG_AGO, "states": ["absent"], "eventTypes": ["message.*"]}
        replay = (await call(world, "POST", f"{path}/replay", body)).json()
        done = await over(world, replay)
        assert (done["retried"], done["added"]) == (0, 3)

        async def come() -> Any:
            return len(second.requests) == 3

        await until(come, "the second to have all")
        assert len(first.requests) == 3


async def test_a_replay_waits_for_its_endpoint_and_can_be_cancelled(world: World) -> None:
    """While the endpoint is paused the replay says so; a second is refused, and it can be ended."""
    async with receiver(answer(410), answer(200)) as customer:
        path = await endpoint(world, customer, eventTypes=["message.received"])
        await gone(world, path, 1)
        await call(world, "POST", f"{path}/pause")
        replay = (await call(world, "POST", f"{path}/replay", LONG_AGO)).json()
        assert (replay["state"], replay["reason"]) == ("running", "endpoint-paused")
        second = await call(world, "POST", f"{path}/replay", LONG_AGO)
        assert second.status_code == 409
        assert replay["id"] in second.json()["detail"]
        cancelled = await call(world, "POST", f"/v1/replays/{replay['id']}/cancel")
        assert (cancelled.json()["state"], cancelled.json()["reason"]) == ("cancelled", "by-hand")
        assert len(customer.requests) == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "/since"),
    ({"since": None}, "/since"),
    ({"since": "yesterday"}, "/since"),
    ({"since": "2026-01-01"}, "/since"),
    ({"since": "2026-01-01T00:00:00"}, "/since"),
    ({"since": "0001-01-01T00:00:00Z"}, "/since"),
    ({"since": "9999-12-31T23:59:59Z"}, "/since"),
    ({"since": 1}, "/since"),
    ({"since": "2190-01-01T00:00:00Z"}, "/since"),
    ({**LONG_AGO, "until": "2019-01-01T00:00:00Z"}, "/until"),
    ({**LONG_AGO, "until": LONG_AGO["since"]}, "/until"),
    ({**LONG_AGO, "states": []}, "/states"),
    ({**LONG_AGO, "states": ["pending"]}, "/states/0"),
    ({**LONG_AGO, "eventTypes": []}, "/eventTypes"),
    ({**LONG_AGO, "eventTypes": [""]}, "/eventTypes/0"),
    ({**LONG_AGO, "eventTypes": ["*", "payment.recieved"]}, "/eventTypes/1"),
    ({**LONG_AGO, "eventTypes": ["\0"], "dryRun": True}, "/eventTypes/0"),
    ({**LONG_AGO, "eventTypes": "*"}, "/eventTypes"),
    ({**LONG_AGO, "dryRun": "yes"}, "/dryRun"),
    ({**LONG_AGO, "limit": 5}, "/limit"),
]


@pytest.mark.parametrize("dry", [True, False])
async def test_what_is_wrong_is_refused_with_its_place(world: World, dry: bool) -> None:
    """422 with a pointer, for a dry run as for a replay, and nothing begins."""
    async with receiver() as customer:
        path = await endpoint(world, customer)
        for body, pointer in WRONG:
            refused = await call(world, "POST", f"{path}/replay", {"dryRun": dry, **body})
            assert refused.status_code == 422, (body, refused.text)
            assert [each["pointer"] for each in refused.json()["errors"]] == [pointer], body
        assert (await call(world, "GET", "/v1/replays")).json()["items"] == []


async def test_a_far_until_is_now(world: World) -> None:
    """An `until` in the future means now: what comes later is delivered anyway."""
    async with receiver() as customer:
        path = await endpoint(world, customer)
        body = {**LONG_AGO, "until": "2199-01-01T00:00:00Z"}
        started = await call(world, "POST", f"{path}/replay", body)
        assert started.status_code == 202
        assert started.json()["until"] < "2190"


@pytest.mark.parametrize("name", ["nothing", "rpl_0000000000000", "dlv_0000000000000"])
async def test_what_is_no_replay_is_absent(world: World, name: str) -> None:
    """404 for reading and cancelling."""
    assert (await call(world, "GET", f"/v1/replays/{name}")).status_code == 404
    assert (await call(world, "POST", f"/v1/replays/{name}/cancel")).status_code == 404
    absent = await call(world, "POST", f"{URL}/ep_nothing/replay", LONG_AGO)
    assert absent.status_code == 404


async def test_a_rate_is_asked_for_changed_and_taken_away(world: World) -> None:
    """`ratePerSecond` is 1 to 1,000, or null; what is not sent stays."""
    async with receiver() as customer:
        path = await endpoint(world, customer, ratePerSecond=5)
        shown = (await call(world, "GET", path)).json()
        assert shown["ratePerSecond"] == 5
        kept = await call(world, "PATCH", path, {"description": "same"})
        assert kept.json()["ratePerSecond"] == 5
        none = await call(world, "PATCH", path, {"ratePerSecond": None})
        assert none.json()["ratePerSecond"] is None
        for wrong in (0, -1, 1_001, 1.5, "5"):
            refused = await call(world, "PATCH", path, {"ratePerSecond": wrong})
            assert refused.status_code == 422, wrong
            assert refused.json()["errors"][0]["pointer"] == "/ratePerSecond"
