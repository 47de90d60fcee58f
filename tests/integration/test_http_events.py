"""Publishing events, and reading what became of them."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
import pytest_asyncio

from notifications.events import MAX_EVENT_BYTES
from notifications.http.wire import MAX_REQUEST_BYTES
from tests.hub_world import World, document, hub_world, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

URL = "/v1/events"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests; each uses event ids of its own."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        yield world


async def publish(
    world: World, body: object, *, tenant: str | None = "acme", **headers: str
) -> httpx.Response:
    """POST a document, or bytes as they are; with a tenant's key, or the admin's."""
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    key = world.admin if tenant is None else await world.tenant(tenant)
    sent = {"content-type": "application/json", **key, **headers}
    return await world.http.post(URL, content=content, headers=sent)


async def read(world: World, event_id: str, tenant: str = "acme") -> Any:
    """GET an event."""
    answer = await world.http.get(
        f"{URL}/{quote(event_id, safe='')}", headers=await world.tenant(tenant)
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def pointers(problem: Mapping[str, Any]) -> list[str]:
    """Where a problem says that something is wrong."""
    return [each["pointer"] for each in problem.get("errors", ())]


# --------------------------------------------------------------------------- one event


async def test_an_event_is_accepted_and_there(world: World) -> None:
    """202 with the id, and the event can be read at once."""
    answer = await publish(world, document("one"))

    assert (answer.status_code, answer.json()) == (202, {"id": "one", "duplicate": False})
    assert (await read(world, "one"))["event"]["data"] == document()["data"]


async def test_the_same_event_again_is_a_duplicate(world: World) -> None:
    """The same content is a duplicate, whatever its time and trace say."""
    await publish(world, document("twice"))
    later = {"time": "2026-02-01T00:00:00Z", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}

    answer = await publish(world, document("twice", **later))

    assert (answer.status_code, answer.json()) == (202, {"id": "twice", "duplicate": True})


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"from": {"name": "Zoé"}, "preview": "Something else"}},
        {"source": "/elsewhere"},
        {"subject": "other"},
        {"userid": "bob"},
        {"userid": None},
        {"jobid": "job-1"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_the_same_id_with_another_content_is_a_conflict(
    world: World, changes: dict[str, Any]
) -> None:
    """409, and what was accepted first stays."""
    event_id = f"conflict-{sorted(changes)}-{changes.get('userid')}".replace(" ", "")
    await publish(world, document(event_id))

    answer = await publish(world, document(event_id, **changes))

    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:huntaze:problem:conflict"
    assert (await read(world, event_id))["event"]["source"] == "/messages"


async def test_a_tenants_key_stands_for_its_tenant(world: World) -> None:
    """With a tenant's key the event need not name its tenant."""
    answer = await publish(world, document("unnamed", tenantid=None))

    assert answer.status_code == 202
    assert (await read(world, "unnamed"))["event"]["tenantid"] == "acme"


async def test_the_admin_names_the_tenant_in_the_event(world: World) -> None:
    """The admin publishes for the tenant that the event names, and for nobody without."""
    named = await publish(world, document("by-admin"), tenant=None)
    unnamed = await publish(world, document("by-admin-2", tenantid=None), tenant=None)

    assert named.status_code == 202
    assert (await read(world, "by-admin"))["event"]["id"] == "by-admin"
    assert (unnamed.status_code, pointers(unnamed.json())) == (422, ["/tenantid"])


async def test_another_tenants_event_is_not_found(world: World) -> None:
    """A tenant cannot publish for another: 404, and nothing is stored there."""
    answer = await publish(world, document("forged"), tenant="other")

    assert answer.status_code == 404
    gone = await world.http.get(f"{URL}/forged", headers=await world.tenant("acme"))
    assert gone.status_code == 404


# --------------------------------------------------------------------------- wrong events

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("no specversion", {"specversion": None}, "/specversion"),
    ("another specversion", {"specversion": "0.3"}, "/specversion"),
    ("no id", {"id": None}, "/id"),
    ("id is a number", {"id": 7}, "/id"),
    ("id is empty", {"id": ""}, "/id"),
    ("id too long", {"id": "x" * 91}, "/id"),
    ("id with a space", {"id": "a b"}, "/id"),
    ("id with a line break", {"id": "a\nb"}, "/id"),
    ("id with a NUL", {"id": "a\0b"}, "/id"),
    ("id beyond ASCII", {"id": "é"}, "/id"),
    ("id of a job's own event", {"id": "job_1.end"}, "/id"),
    ("no source", {"source": None}, "/source"),
    ("source with a control", {"source": "/a\tb"}, "/source"),
    ("no type", {"type": None}, "/type"),
    ("unknown type", {"type": "job.exploded"}, "/type"),
    ("type is a list", {"type": ["job.failed"]}, "/type"),
    ("tenant too long", {"tenantid": "t" * 37}, "/tenantid"),
    ("tenant with a slash", {"tenantid": "a/b"}, "/tenantid"),
    ("tenant is an object", {"tenantid": {}}, "/tenantid"),
    ("user too long", {"userid": "u" * 129}, "/userid"),
    ("user with a line break", {"userid": "a\r\nb"}, "/userid"),
    ("date without a zone", {"time": "2026-01-31T12:00:00"}, "/time"),
    ("date alone", {"time": "2026-01-31"}, "/time"),
    ("no such day", {"time": "2026-02-30T12:00:00Z"}, "/time"),
    ("before computers", {"time": "0001-01-01T00:00:00Z"}, "/time"),
    ("far in the future", {"time": "9999-12-31T23:59:59Z"}, "/time"),
    ("time is a number", {"time": 1769860800}, "/time"),
    ("another content type", {"datacontenttype": "text/xml"}, "/datacontenttype"),
    ("broken trace", {"traceparent": "00-abc"}, "/traceparent"),
    ("data is a list", {"data": []}, "/data"),
    ("data is a text", {"data": "hello"}, "/data"),
    ("data lacks a field", {"data": {"preview": "x"}}, "/data/from"),
    ("data of a wrong type", {"data": {"from": {"name": 7}, "preview": "x"}}, "/data/from/name"),
    ("unknown attribute", {"priority": "high"}, "/priority"),
]


@pytest.mark.parametrize(("changes", "pointer"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
async def test_a_wrong_event_is_refused_with_its_place(
    world: World, changes: dict[str, Any], pointer: str
) -> None:
    """422, and a pointer to what is wrong; the same within a batch."""
    wrong = document("wrong", **changes)
    if changes == {"tenantid": {}} or "tenantid" not in changes:
        alone = await publish(world, wrong)
        batch = await publish(world, [wrong])
    else:
        alone = await publish(world, wrong, tenant=None)
        batch = await publish(world, [wrong], tenant=None)

    assert alone.status_code == 422, alone.text
    assert pointer in pointers(alone.json())
    assert batch.status_code == 422
    assert batch.json()["items"][0]["problem"]["errors"] == alone.json()["errors"]


@pytest.mark.parametrize("body", [b"7", b"null", b'"text"', b"true", b"{}"])
async def test_what_is_no_event_at_all_is_refused(world: World, body: bytes) -> None:
    """JSON of another shape is a known thing that is wrong: 422."""
    assert (await publish(world, body)).status_code == 422


NOT_JSON = [
    b"",
    b"not json",
    b'{"id": ',
    b'{"id": NaN}',
    b'{"id": "\xff"}',
    b'{"id": "\\ud800"}',
    b'{"data": ' + b"[" * 33 + b"]" * 33 + b"}",
    b'{"data": {"n": 18446744073709551616}}',
]


@pytest.mark.parametrize("body", NOT_JSON, ids=range(len(NOT_JSON)))
async def test_what_is_no_json_is_refused(world: World, body: bytes) -> None:
    """400, as a problem document."""
    answer = await publish(world, body)

    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:huntaze:problem:not-json"
    assert answer.json()["instance"] == URL


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/xml", "multipart/form-data", ""],
)
async def test_another_media_type_is_refused(world: World, media_type: str) -> None:
    """415, and the answer says what is taken."""
    answer = await publish(world, document("typed"), **{"content-type": media_type})

    assert answer.status_code == 415
    assert "application/cloudevents+json" in answer.headers["accept"]


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/cloudevents+json; charset=UTF-8"],
)
async def test_cloudevents_media_types_are_taken(world: World, media_type: str) -> None:
    """JSON and CloudEvents JSON are the same thing."""
    answer = await publish(world, document("typed-2"), **{"content-type": media_type})

    assert answer.status_code == 202


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_another_method_is_refused(world: World, method: str) -> None:
    """405, naming the methods that the resource takes."""
    answer = await world.http.request(method, URL, headers=world.admin)

    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, POST"


# --------------------------------------------------------------------------- limits


def of_size(event_id: str, size: int) -> bytes:
    """An event that takes so many bytes on the wire; what is too much is blank."""
    body = orjson.dumps(document(event_id))
    return body[:-1] + b" " * (size - len(body)) + b"}"


async def test_an_event_of_the_limit_is_taken_and_one_byte_more_is_not(world: World) -> None:
    """192 KiB on the wire is the limit, of an event alone and of one in a batch."""
    right, wrong = of_size("right-size", MAX_EVENT_BYTES), of_size("too-large", MAX_EVENT_BYTES + 1)

    taken = await publish(world, right)
    refused = await publish(world, wrong)
    batch = await publish(world, b"[" + right + b"," + wrong + b"]")

    assert taken.status_code == 202
    assert refused.status_code == 413
    assert batch.status_code == 207
    assert [item["status"] for item in batch.json()["items"]] == [202, 413]


async def test_a_batch_of_a_thousand_is_taken_and_one_more_is_not(world: World) -> None:
    """1,000 events are a batch; 1,001 are a 413."""
    events = [document(f"many-{number}") for number in range(1_001)]

    taken = await publish(world, events[:1_000])
    refused = await publish(world, events)

    assert taken.status_code == 202
    assert [item["id"] for item in taken.json()["items"]] == [each["id"] for each in events[:-1]]
    assert refused.status_code == 413
    assert refused.json()["detail"] == "At most 1,000 events at once."


async def test_a_request_over_eight_mebibytes_is_refused(world: World) -> None:
    """8 MiB and one byte is a 413, announced or not."""
    body = b" " * (MAX_REQUEST_BYTES + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1 << 20):
            yield body[start : start + (1 << 20)]

    headers = {"content-type": "application/json", **world.admin}
    announced = await world.http.post(URL, content=body, headers=headers)
    streamed = await world.http.post(URL, content=pieces(), headers=headers)

    assert announced.status_code == streamed.status_code == 413


# --------------------------------------------------------------------------- batches


async def test_a_batch_answers_each_event_in_order(world: World) -> None:
    """One wrong event among right ones: 207, each with its own answer in its place."""
    answer = await publish(
        world,
        [document("batch-1"), document("batch-2", type="nonsense"), document("batch-3"), 7],
    )

    items = answer.json()["items"]
    assert answer.status_code == 207
    assert items[0] == {"id": "batch-1", "status": 202, "duplicate": False}
    assert (items[1]["id"], items[1]["status"]) == ("batch-2", 422)
    assert pointers(items[1]["problem"]) == ["/type"]
    assert items[2] == {"id": "batch-3", "status": 202, "duplicate": False}
    assert (items[3]["id"], items[3]["status"]) == (None, 422)


async def test_the_same_id_twice_in_a_batch(world: World) -> None:
    """The first is new; the same again is a duplicate, another content a conflict."""
    answer = await publish(
        world, [document("dup"), document("dup"), document("dup", source="/elsewhere")]
    )

    items = answer.json()["items"]
    assert answer.status_code == 207
    assert [(item["status"], item.get("duplicate")) for item in items] == [
        (202, False),
        (202, True),
        (409, None),
    ]


async def test_a_batch_of_nothing_right_is_refused_as_a_whole(world: World) -> None:
    """422, still one answer for each."""
    answer = await publish(world, [{}, 1, "x"])

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/json"
    assert [item["status"] for item in answer.json()["items"]] == [422, 422, 422]


async def test_an_empty_batch_is_all_accepted(world: World) -> None:
    """Of no events all were accepted."""
    answer = await publish(world, [])

    assert (answer.status_code, answer.json()) == (202, {"items": []})


async def test_a_batch_may_hold_many_tenants_events_only_for_the_admin(world: World) -> None:
    """The admin's batch reaches every tenant; a tenant's batch reaches its own."""
    batch = [document("mixed"), document("mixed", tenantid="other")]

    by_admin = await publish(world, batch, tenant=None)
    by_tenant = await publish(
        world, [document("mixed-2"), document("mixed-2", tenantid="other")], tenant="acme"
    )

    assert by_admin.status_code == 202
    assert [item["duplicate"] for item in by_admin.json()["items"]] == [False, False]
    assert [item["status"] for item in by_tenant.json()["items"]] == [202, 404]


# --------------------------------------------------------------------------- reading


async def test_an_event_tells_what_became_of_it(world: World) -> None:
    """Once routed, the event shows a delivery for each channel, and its attempts."""
    await publish(world, document("told"))

    async def routed() -> Any:
        found = await read(world, "told")
        return found if found["state"] == "routed" else None

    found = await until(routed, "the event to be routed")

    by_channel = {each["channel"]: each for each in found["deliveries"]}
    assert set(by_channel) == {"realtime", "webhook"}
    realtime, webhook = by_channel["realtime"], by_channel["webhook"]
    assert (realtime["target"], realtime["state"]) == ("ada", "delivered")
    assert [attempt["outcome"] for attempt in realtime["attempts"]] == ["delivered"]
    assert (webhook["target"], webhook["state"], webhook["reason"]) == (
        None,
        "skipped",
        "no-endpoint",
    )


async def test_events_are_listed_by_pages(world: World) -> None:
    """Following `nextCursor` leads through all of a tenant's events, newest first, each once."""
    headers = await world.tenant("lister")
    sent = [document(f"listed-{number}", tenantid="lister") for number in range(5)]
    for each in sent:
        await publish(world, each, tenant="lister")

    seen: list[str] = []
    cursor = ""
    while True:
        query = f"?limit=2{cursor}"
        page = (await world.http.get(f"{URL}{query}", headers=headers)).json()
        seen += [item["event"]["id"] for item in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = f"&cursor={page['nextCursor']}"

    assert seen == [each["id"] for each in reversed(sent)]


async def test_events_are_listed_by_type_or_by_user(world: World) -> None:
    """Each filter leaves what fits; both at once would be by no index, and are refused."""
    headers = await world.tenant("filters")
    await publish(world, document("for-ada", tenantid="filters"), tenant="filters")
    await publish(world, document("for-bob", tenantid="filters", userid="bob"), tenant="filters")

    async def ids(query: str) -> list[str]:
        page = await world.http.get(f"{URL}?{query}", headers=headers)
        return [item["event"]["id"] for item in page.json()["items"]]

    assert await ids("userId=bob") == ["for-bob"]
    assert await ids("type=message.received") == ["for-bob", "for-ada"]
    assert await ids("type=job.failed") == []
    refused = await world.http.get(f"{URL}?type=message.received&userId=ada", headers=headers)
    assert refused.status_code == 422
    assert "choose type or userId" in refused.text


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=many",
        "cursor=nonsense",
        "cursor=" + "x" * 300,
        "userId=" + "u" * 129,
        "userId=a%20b",
        "tenantId=a/b",
        "type=" + "t" * 65,
    ],
)
async def test_a_wrong_query_is_refused(world: World, query: str) -> None:
    """422 for what is no limit, cursor, user or tenant."""
    answer = await world.http.get(f"{URL}?{query}", headers=world.admin)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == ""


@pytest.mark.parametrize("event_id", ["a/b", "a?b#c", "100%", "..%2f..", "a//b", ";=&+"])
async def test_any_id_that_is_taken_can_be_read(world: World, event_id: str) -> None:
    """Ids with characters that mean something in URLs are read back."""
    assert (await publish(world, document(event_id))).status_code == 202

    assert (await read(world, event_id))["event"]["id"] == event_id


@pytest.mark.parametrize("event_id", ["absent", "%00", "%ff", "a%20b", "x" * 500])
async def test_an_absent_event_is_not_found(world: World, event_id: str) -> None:
    """404, whatever the id is made of."""
    answer = await world.http.get(f"{URL}/{event_id}", headers=await world.tenant("acme"))

    assert answer.status_code == 404


async def test_types_are_listed_with_schema_and_example(world: World) -> None:
    """Every type has its versions, channels, schema and an example that is accepted."""
    answer = await world.http.get("/v1/event-types", headers=await world.tenant("acme"))

    items = {item["type"]: item for item in answer.json()["items"]}
    assert set(items["message.received"]) == {
        "type", "versions", "channels", "description", "schema", "example",
    }  # fmt: skip
    for name, item in items.items():
        example = {**item["example"], "id": f"example-{name}", "tenantid": "acme"}
        assert (await publish(world, example)).status_code == 202, name


# --------------------------------------------------------------------------- trouble of ours


async def test_while_the_database_is_away_the_caller_is_told_when_to_come_back(
    tmp_path: Path,
) -> None:
    """503 with Retry-After, nothing of the reason, and nothing was accepted."""
    async with hub_world(tmp_path) as world:
        await world.tenant("acme")
        await world.hub.database.close()

        answer = await publish(world, document("too-late"))

    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "stopping" not in answer.text
