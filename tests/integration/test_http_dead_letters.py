"""Dead letters over HTTP: seeing them, sending them again, deleting them."""

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from notifications.bus.topology import EVENTS_TOPIC
from notifications.messages import Message
from tests.hub_world import World, document, hub_world, until

FOUR = ("metrics", "notify-email", "notify-signalr", "notify-webhook")
WEBHOOK = {"subscription": "notify-webhook"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A hub at work."""
    async with hub_world(tmp_path / "data") as world:
        yield world


async def put(world: World, *bodies: bytes, **changes: Any) -> None:
    """Put strangers' messages on the topic of events."""
    sent = [
        Message(id=f"m{number}", body=body, properties={}, **changes)
        for number, body in enumerate(bodies)
    ]
    await world.hub.bus.publish(EVENTS_TOPIC, sent)


async def listed(world: World, query: str = "") -> list[dict[str, Any]]:
    """Everything that pages of a list join to."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        answer = await world.http.get(
            f"/v1/dead-letters?limit=3&{query}{cursor}", headers=world.admin
        )
        assert answer.status_code == 200, answer.text
        page = answer.json()
        items += page["items"]
        if page["nextCursor"] is None:
            return items
        cursor = f"&cursor={page['nextCursor']}"


async def dead(world: World, count: int) -> list[dict[str, Any]]:
    """Wait until there are so many dead letters."""

    async def there() -> Any:
        found = await listed(world)
        return found if len(found) == count else None

    return list(await until(there, f"{count} dead letters"))


async def move(world: World, what: str, **body: Any) -> httpx.Response:
    """Replay or purge."""
    return await world.http.post(f"/v1/dead-letters/{what}", json=body, headers=world.admin)


async def test_a_dead_letter_shows_what_it_is_and_why(world: World) -> None:
    """Message, reason, times and counts are there; JSON is shown as JSON."""
    wrong = document(data={"from": "nobody"})
    await put(world, json.dumps(wrong).encode(), subject="s")
    found = await dead(world, 4)

    assert [each["subscription"] for each in found] == list(FOUR)
    shown = found[3]
    assert (shown["reason"], shown["messageId"], shown["subject"]) == ("schema", "m0", "s")
    assert "/data" in shown["description"]
    assert (shown["body"], shown["bodyEncoding"]) == (wrong, "json")
    assert shown["bodyBytes"] == len(json.dumps(wrong))
    assert (shown["deliveryCount"], shown["properties"]) == (1, {})
    assert shown["enqueuedAt"] <= shown["deadAt"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", b""),
        (b"\xff\xfe", b"\xff\xfe"),
        (b"{", b"{"),
        (b'{"a": "' + b"x" * 20_000 + b'"}', (b'{"a": "' + b"x" * 20_000)[: 16 * 1024]),
    ],
    ids=["empty", "bytes", "no JSON", "long"],
)
async def test_a_body_that_is_no_short_json_is_shown_in_base64(
    world: World, body: bytes, shown: bytes
) -> None:
    """What is no JSON is shown as bytes, what is long is cut, and its length is said."""
    await put(world, body)
    found = (await dead(world, 4))[0]

    assert (found["bodyEncoding"], found["bodyBytes"]) == ("base64", len(body))
    assert base64.b64decode(found["body"]) == shown


async def test_json_nested_as_deeply_as_it_can_be_is_listed(world: World) -> None:
    """No message that anybody can send keeps the list from being shown."""
    await put(world, b"[" * 1_000 + b"]" * 1_000, b"[" * 5_000 + b"]" * 5_000, b'{"a":1e400}')

    assert len(await dead(world, 12)) == 12


async def test_a_list_is_narrowed_down(world: World) -> None:
    """By subscription and by reason, over pages."""
    await put(world, b"{", b"[]", b"{", b"{", b"{")
    await dead(world, 20)

    of_webhook = await listed(world, "subscription=notify-webhook")
    assert [each["messageId"] for each in of_webhook] == ["m0", "m1", "m2", "m3", "m4"]
    envelope = await listed(world, "subscription=metrics&reason=envelope")
    assert [each["messageId"] for each in envelope] == ["m1"]
    assert await listed(world, "reason=unheard-of") == []


async def test_a_replay_says_first_what_it_would_do_and_then_does_it(world: World) -> None:
    """A dry run counts by reason and changes nothing; the same without it moves them."""
    await put(world, b"{", b"[]")
    before = await dead(world, 8)
    dry = await move(world, "replay", **WEBHOOK, dryRun=True)

    assert dry.json() == {
        "dryRun": True,
        "count": 2,
        "reasons": {"not-json": 1, "envelope": 1},
        "upTo": max(each["sequenceNumber"] for each in before),
        "nextCursor": None,
    }
    assert await listed(world) == before
    done = await move(world, "replay", **WEBHOOK)
    assert done.json() == {**dry.json(), "dryRun": False}
    numbers = {each["sequenceNumber"] for each in before}

    async def again() -> Any:
        found = await listed(world, "subscription=notify-webhook")
        return found if len(found) == 2 else None  # they are as wrong as they were

    found = await until(again, "both to die again")
    assert numbers.isdisjoint({each["sequenceNumber"] for each in found})
    assert {each["properties"]["hubConsumer"] for each in found} == {"webhook"}


async def test_a_purge_in_pages(world: World) -> None:
    """A bounded number at once; the cursor goes on to the last."""
    await put(world, *[b"{"] * 5)
    await dead(world, 20)
    counts, cursor = [], None
    while True:
        body = {**WEBHOOK, "limit": 2, **({} if cursor is None else {"cursor": cursor})}
        answer = (await move(world, "purge", **body)).json()
        counts.append(answer["count"])
        cursor = answer["nextCursor"]
        if cursor is None:
            break

    assert counts == [2, 2, 1]
    assert {each["subscription"] for each in await listed(world)} == set(FOUR[:3])


async def test_which_ones_is_said_by_number_reason_and_time(world: World) -> None:
    """Everything that is said must apply."""
    await put(world, b"{", b"[]", b"{")
    found = [each for each in await dead(world, 12) if each["subscription"] == "notify-webhook"]
    numbers = [each["sequenceNumber"] for each in found[:2]]

    async def count(**which: Any) -> int:
        answer = await move(world, "purge", **WEBHOOK, dryRun=True, **which)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["count"])

    assert await count() == 3
    assert await count(sequenceNumbers=numbers) == 2
    assert await count(upTo=numbers[0]) == 1
    assert await count(sequenceNumbers=numbers, reason="envelope") == 1
    assert await count(before=found[0]["deadAt"]) == 0
    assert await count(before="2199-01-01t00:00:00+01:00") == 3


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/subscription"),
        ({"subscription": ""}, "/subscription"),
        ({**WEBHOOK, "reason": ""}, "/reason"),
        ({**WEBHOOK, "sequenceNumbers": []}, "/sequenceNumbers"),
        ({**WEBHOOK, "sequenceNumbers": ["1"]}, "/sequenceNumbers/0"),
        ({**WEBHOOK, "sequenceNumbers": [2**63]}, "/sequenceNumbers/0"),
        ({**WEBHOOK, "sequenceNumbers": [1] * 1_001}, "/sequenceNumbers"),
        ({**WEBHOOK, "before": "yesterday"}, "/before"),
        ({**WEBHOOK, "before": "2026-01-31T12:00:00"}, "/before"),
        ({**WEBHOOK, "before": 5}, "/before"),
        ({**WEBHOOK, "dryRun": "yes"}, "/dryRun"),
        ({**WEBHOOK, "limit": 501}, "/limit"),
        ({**WEBHOOK, "cursor": "nonsense"}, "/cursor"),
        ({**WEBHOOK, "all": True}, "/all"),
    ],
    ids=str,
)
@pytest.mark.parametrize("what", ["replay", "purge"])
async def test_what_is_asked_wrongly_is_refused(
    world: World, what: str, body: dict[str, Any], pointer: str
) -> None:
    """422, saying where; nothing is moved."""
    answer = await move(world, what, **body)

    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


async def test_an_unknown_subscription_is_not_found(world: World) -> None:
    """404 with those that there are, on each route."""
    for answer in (
        await world.http.get("/v1/dead-letters?subscription=notify-fax", headers=world.admin),
        await move(world, "replay", subscription="notify-fax"),
        await move(world, "purge", subscription="notify-fax"),
    ):
        assert answer.status_code == 404
        assert "notify-webhook" in answer.json()["detail"]


@pytest.mark.parametrize("cursor", ["", "x", "eDA", "%00", "eDE6", "ZDE"])
async def test_a_cursor_of_another_list_is_refused(world: World, cursor: str) -> None:
    """422, as the caller's error."""
    answer = await world.http.get(f"/v1/dead-letters?cursor={cursor}", headers=world.admin)

    assert answer.status_code == 422, answer.text


async def test_only_the_admin_gets_in(world: World) -> None:
    """A tenant's key and a user's token are 403 on each route: dead letters are everybody's."""
    for headers in (await world.tenant("acme"), await world.user("acme", "ada")):
        for answer in (
            await world.http.get("/v1/dead-letters", headers=headers),
            await world.http.post("/v1/dead-letters/replay", json=WEBHOOK, headers=headers),
            await world.http.post("/v1/dead-letters/purge", json=WEBHOOK, headers=headers),
        ):
            assert answer.status_code == 403
            assert "admin" in answer.json()["detail"]
