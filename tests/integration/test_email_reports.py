"""Reports of what became of mails, and the addresses that get none any more."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from notifications.ids import parse_public_id, public_number
from notifications.mailing import MailLimits, mail_guid
from notifications.retries import MINUTE
from notifications.timing import Numbers
from tests.acs_world import acs_endpoint
from tests.heart_world import STORES
from tests.hub_world import World, document, hub_world, on, until

ROOT = Path(__file__).parent.parent.parent
KEY = "a-sample-key-of-the-reports-0123456789"
ADDRESS = "lea@example.com"
EXAMPLE = ROOT / "schemas" / "events" / "payment.received" / "v1.example.json"
PAYMENT = {
    "type": "payment.received",
    "data": orjson.loads(EXAMPLE.read_bytes())["data"],
}
JSON = {"content-type": "application/cloudevents+json"}


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A hub that takes reports, on each database."""
    async with hub_world(tmp_path, email_reports_key=KEY, **on(request.param)) as world:
        yield world


async def with_user(world: World, tenant: str = "acme", email: str = ADDRESS) -> Mapping[str, str]:
    """A user of a tenant, whose key is returned."""
    headers = await world.tenant(tenant)
    made = await world.http.put("/v1/users/lea", json={"email": email}, headers=headers)
    assert made.status_code == 200
    return headers


async def mailed(world: World, event_id: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """Publish what is mailed, and wait for what became of the mail."""
    event = document(event_id, tenantid=None, userid="lea", **PAYMENT)
    sent = await world.http.post(
        "/v1/events",
        json=event,
        headers={**headers, **JSON},
    )
    assert sent.status_code == 202, sent.text

    async def done() -> Any:
        (found,) = (await mails_of(world, event_id, headers)) or [None]
        return found if found and found["state"] != "pending" else None

    return dict(await until(done, "the mail"))


async def mails_of(world: World, event_id: str, headers: Mapping[str, str]) -> Any:
    answer = await world.http.get(
        f"/v1/deliveries?eventId={event_id}&channel=email", headers=headers
    )
    return answer.json()["items"]


def report(delivery: Mapping[str, Any], status: str = "Bounced", **more: Any) -> dict[str, Any]:
    """A report as Event Grid sends it."""
    number = parse_public_id(delivery["id"])
    assert number is not None
    data = {
        "sender": "DoNotReply@example.com",
        "recipient": ADDRESS,
        "messageId": mail_guid(number, more.pop("round", 1)),
        "status": status,
        "deliveryStatusDetails": {"statusMessage": "550 no such user"},
        more.pop("stamp", "deliveryAttemptTimestamp"): "2026-08-19T23:26:32.9912345+00:00",
    }
    return {
        "id": "a",
        "eventType": "Microsoft.Communication.EmailDeliveryReportReceived",
        "subject": "sender/x/message/y",
        "data": data | more,
        "dataVersion": "1.0",
        "eventTime": "2026-08-19T23:28:55.2532364Z",
    }


async def tell(world: World, *events: Any, code: str | None = KEY) -> httpx.Response:
    """Post a batch."""
    query = {} if code is None else {"code": code}
    return await world.http.post("/v1/email/reports", json=list(events), params=query)


async def state_of(world: World, event_id: str, headers: Mapping[str, str]) -> tuple[str, str]:
    (found,) = await mails_of(world, event_id, headers)
    return found["state"], found["reason"]


async def test_a_bounce_ends_the_delivery_and_suppresses_the_address(world: World) -> None:
    """Delivered becomes exhausted, the next mail is skipped with its reason, until it is undone."""
    headers = await with_user(world)
    other = await with_user(world, "other")
    first = await mailed(world, "first", headers)
    assert first["state"] == "delivered"
    bounce = report(first, recipient="LEA@Example.com")
    for batch in ([bounce], [bounce, bounce], [report(first, stamp="deliveryAttemptTimeStamp")]):
        assert (await tell(world, *batch)).status_code == 200
        assert await state_of(world, "first", headers) == ("exhausted", "bounced")

    listed = (await world.http.get("/v1/suppressions", headers=headers)).json()["items"]
    assert [(each["address"], each["reason"]) for each in listed] == [(ADDRESS, "bounced")]
    assert listed[0]["createdAt"] == "2026-08-19T23:26:32.991Z"
    second = await mailed(world, "second", headers)
    assert (second["state"], second["reason"]) == ("skipped", "suppressed-bounced")
    assert (await mailed(world, "theirs", other))["state"] == "delivered", "another tenant's"

    gone = await world.http.delete(f"/v1/suppressions/{ADDRESS}", headers=headers)
    assert gone.status_code == 204
    # What was known already undoes nothing of that.
    assert (await tell(world, bounce)).status_code == 200
    assert (await mailed(world, "third", headers))["state"] == "delivered"
    again = await world.http.post(f"/v1/deliveries/{first['id']}/retry", headers=headers)
    assert again.status_code == 202

    async def delivered() -> bool:
        return await state_of(world, "first", headers) == ("delivered", None)

    await until(delivered, "the retry")
    # The bounce of the round before comes once more: it is not about this one.
    assert (await tell(world, bounce)).status_code == 200
    assert await state_of(world, "first", headers) == ("delivered", None)
    listed = (await world.http.get("/v1/suppressions", headers=headers)).json()["items"]
    assert listed == []


MEANINGS = (
    ("Delivered", "delivered", None, None),
    ("Expanded", "delivered", None, None),
    ("Suppressed", "exhausted", "bounced", "bounced"),
    ("FilteredSpam", "exhausted", "complained", "complained"),
    ("Quarantined", "exhausted", "undelivered", None),
    ("Failed", "exhausted", "undelivered", None),
    ("Whatever", "delivered", None, None),
)
"""By status: what becomes of the delivery, and why its address is suppressed."""


async def test_each_status_has_its_meaning(tmp_path: Path) -> None:
    """What a report says decides about the delivery, and about the address."""
    async with hub_world(tmp_path, email_reports_key=KEY) as world:
        headers = await with_user(world)
        for status, state, reason, suppressed in MEANINGS:
            address = f"{status.lower()}@example.com"
            mail = await mailed(world, status, headers)
            assert (await tell(world, report(mail, status, recipient=address))).status_code == 200
            assert await state_of(world, status, headers) == (state, reason)
            found = await world.http.get(f"/v1/suppressions/{address}", headers=headers)
            assert (found.json()["reason"] if found.is_success else None) == suppressed


async def test_what_is_no_report_of_ours_changes_nothing(world: World) -> None:
    """Foreign ids, other events, nonsense: answered like the rest, and the rest is done."""
    headers = await with_user(world)
    mail = await mailed(world, "event", headers)
    nonsense: list[Any] = [
        None, 1, "x", [], {}, {"eventType": 7}, {"eventType": report(mail)["eventType"]},
        report(mail) | {"data": "x"}, report(mail, recipient=None),
        report(mail, messageId="4ad4d8c5-0000-4000-8000-000000000000"),
        report(mail, deliveryAttemptTimestamp="soon", recipient=""),
        report({"id": "dlv_0000000000001"}), report(mail) | {"eventType": "Microsoft.Else"},
    ]  # fmt: skip
    assert (await tell(world, *nonsense, report(mail))).status_code == 200
    assert await state_of(world, "event", headers) == ("exhausted", "bounced")


async def test_a_report_that_comes_before_its_row_is_wanted_again(world: World) -> None:
    """The service may be faster than our commit: it is asked to say it again, in a while."""
    await with_user(world)
    soon = Numbers.at(world.hub.clock.now())
    answer = await tell(world, report({"id": public_number(soon)}))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    late = Numbers.at(world.hub.clock.now() - 11 * MINUTE)
    assert (await tell(world, report({"id": public_number(late)}))).status_code == 200


@pytest.mark.fault("report mails as bounced without the key of reports", "attackers")
async def test_only_who_has_the_key_reports(tmp_path: Path) -> None:
    """A wrong key, none, and any key where none is set: 401, and nothing is read."""
    async with hub_world(tmp_path, email_reports_key=KEY) as world:
        for code in (None, "", KEY[:-1], KEY + "x", KEY.upper(), "é"):
            refused = await tell(world, code=code)
            assert refused.status_code == 401
            assert KEY not in refused.text
        assert (await world.http.post(f"/v1/email/reports?code={KEY}", json={})).status_code == 422
        assert (await world.http.post(f"/v1/email/reports?code={KEY}")).status_code == 415
    async with hub_world(tmp_path) as world:
        for code in (None, "", KEY):
            assert (await tell(world, code=code)).status_code == 401


async def test_event_grid_is_answered_when_it_subscribes(tmp_path: Path) -> None:
    """The handshake repeats the code that it brings, to who has the key alone."""
    handshake = {
        "id": "x",
        "topic": "/subscriptions/y",
        "data": {"validationCode": "512d38b6", "validationUrl": "https://example.com"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
    }
    async with hub_world(tmp_path, email_reports_key=KEY) as world:
        answer = await tell(world, handshake)
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
        assert (await tell(world, handshake, code="x")).status_code == 401


async def test_a_tenant_sees_and_edits_its_own_list(world: World) -> None:
    """Put, get, list by pages, delete; in any spelling; another tenant's list is another."""
    headers = await with_user(world)
    for number in range(3):
        path = f"/v1/suppressions/User{number}@Example.com"
        put = await world.http.put(path, json={"reason": "asked by phone"}, headers=headers)
        assert (put.status_code, put.json()["address"]) == (200, f"user{number}@example.com")
    put = await world.http.put(path, json={"reason": "another"}, headers=headers)
    got = await world.http.get("/v1/suppressions/USER2@EXAMPLE.COM", headers=headers)
    assert got.json()["reason"] == "another"
    seen, cursor = [], ""
    while cursor is not None:
        page = await world.http.get(f"/v1/suppressions?limit=2{cursor}", headers=headers)
        seen += [each["address"] for each in page.json()["items"]]
        further = page.json()["nextCursor"]
        cursor = None if further is None else f"&cursor={further}"  # type: ignore[assignment]
    assert seen == [f"user{number}@example.com" for number in range(3)]
    theirs = await world.tenant("other")
    for call in (world.http.get, world.http.delete):
        absent = await call("/v1/suppressions/user1@example.com", headers=theirs)
        assert absent.status_code == 404
    assert (await world.http.get("/v1/suppressions", headers=theirs)).json()["items"] == []
    for path, body in (
        ("nobody", {"reason": "x"}),
        ("a@b.example", {}),
        ("a@b.example", {"reason": "x\ny"}),
    ):
        wrong = await world.http.put(f"/v1/suppressions/{path}", json=body, headers=headers)
        assert wrong.status_code == 422
    await world.http.put(
        f"/v1/suppressions/{ADDRESS}", json={"reason": "on leave"}, headers=headers
    )
    skipped = await mailed(world, "event", headers)
    assert (skipped["state"], skipped["reason"]) == ("skipped", "suppressed: on leave")


async def test_a_hub_mails_through_the_service_at_its_pace(tmp_path: Path) -> None:
    """Two a minute: two mails land at once, the others wait visibly and cost no attempt."""
    async with acs_endpoint(tmp_path / "mail") as endpoint:
        changes: dict[str, Any] = {
            "email": "acs",
            "acs": endpoint.resource,
            "acs_limits": MailLimits(per_minute=2, per_hour=100),
            "email_from": "Huntaze <notify@huntaze.example>",
        }
        async with hub_world(tmp_path / "data", **changes) as world:
            headers = await with_user(world)
            for number in range(4):
                event = document(f"event-{number}", tenantid=None, userid="lea", **PAYMENT)
                await world.http.post(
                    "/v1/events",
                    json=event,
                    headers={**headers, **JSON},
                )

            async def paced() -> Any:
                answer = await world.http.get("/v1/deliveries?channel=email", headers=headers)
                items = answer.json()["items"]
                states = sorted(each["state"] for each in items)
                return items if states == ["delivered"] * 2 + ["pending"] * 2 else None

            items = await until(paced, "two mails and two that wait")
            waiting = [each for each in items if each["state"] == "pending"]
            for each in waiting:
                path = f"/v1/deliveries/{each['id']}"
                whole = (await world.http.get(path, headers=headers)).json()
                assert (bool(whole["nextAttemptAt"]), whole["attempts"]) == (True, [])
            ready = (await world.http.get("/readyz")).json()
            assert ready["degraded"] == {"email": "paced"}
            assert "\nhuntaze_mails_waiting 2\n" in (await world.http.get("/metrics")).text
            assert len(endpoint.mails()) == 2
