"""The console: who gets in, what forms need, what pages show, and what they never show."""

import asyncio
import html
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
import pytest_asyncio

from notifications.bus.topology import EVENTS_TOPIC
from notifications.http.console.sessions import LASTS_S, Sessions
from notifications.http.console.visits import CONTENT_SECURITY_POLICY
from notifications.messages import Message
from notifications.timing import SystemDice
from tests.hub_world import ADMIN_KEY, SECRETS, World, document, hub_world, until
from tests.ledger_world import HandClock

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOSTILE = "<img src=x onerror=alert(1)>"
REVERSED = "a\u202eb"

# Nothing listens there: what is sent fails at once.
NOWHERE = "https://127.0.0.1:9/hook"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """One hub for all tests, with something of everything."""
    async with hub_world(tmp_path_factory.mktemp("hub")) as world:
        await furnish(world)
        yield world


async def furnish(world: World) -> None:
    """A tenant with users, an endpoint and events; dead letters."""
    http, acme = world.http, await world.tenant("acme")
    await http.put("/v1/users/ada", json={"email": "a@example.com", "name": "Ada"}, headers=acme)
    await http.put("/v1/users/hostile", json={"name": HOSTILE}, headers=acme)
    body = {"url": NOWHERE, "description": HOSTILE, "headers": {"x-token": "not-for-anybody"}}
    made = await http.post("/v1/webhook-endpoints", json=body, headers=acme)
    assert made.status_code == 201, made.text
    data = {"from": {"name": HOSTILE}, "preview": HOSTILE}
    for event in (document("event-1"), document("hostile", userid="hostile", data=data)):
        sent = await http.post("/v1/events", json=event, headers=acme)
        assert sent.status_code == 202, sent.text
    await world.hub.bus.publish(EVENTS_TOPIC, [Message(id=HOSTILE, body=b"{", properties={})])
    await until(lambda: tried(world), "first attempts")
    await until(lambda: letters(world), "dead letters")


async def tried(world: World) -> bool:
    """Whether both webhooks were tried once."""
    views = [await world.hub.queries.event("acme", each) for each in ("event-1", "hostile")]
    made = [v for view in views if view for v in view.deliveries if v.attempts]
    return len(made) >= 4


async def event_between_attempts(admin: httpx.AsyncClient) -> str:
    """The page of an event whose endpoint is away, as it is while none is being made."""
    seen: list[str] = []

    async def waits() -> bool:
        seen.append((await admin.get("/console/event?tenant=acme&id=event-1")).text)
        return "is under way right now" not in seen[-1]

    await until(waits, "the attempt to end")
    return seen[-1]


async def letters(world: World) -> bool:
    """Whether every consumer has its dead letter."""
    page, _ = await world.hub.dead_letters.page(None, reason=None, after=("", 0), limit=9)
    return len(page) == 4


@pytest_asyncio.fixture(loop_scope="module")
async def visitor(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """A browser without a session; reads English."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(world.app),
        base_url="http://hub.test",
        headers={"accept-language": "en"},
    ) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def admin(visitor: httpx.AsyncClient) -> httpx.AsyncClient:
    """The same, signed in."""
    answer = await visitor.post("/console/sign-in", data={"key": ADMIN_KEY})
    assert answer.status_code == 303, answer.text
    return visitor


async def csrf(client: httpx.AsyncClient, path: str = "/console") -> str:
    """The token of a page's forms."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', (await client.get(path)).text)
    assert found
    return found[1]


async def deliveries(world: World, **query: str) -> list[dict[str, Any]]:
    """A tenant's deliveries."""
    answer = await world.http.get("/v1/deliveries", params={"tenantId": "acme", **query},
                                  headers=world.admin)  # fmt: skip
    return list(answer.json()["items"])


async def endpoint_id(world: World) -> str:
    """The first endpoint's."""
    answer = await world.http.get("/v1/webhook-endpoints?tenantId=acme", headers=world.admin)
    return str(answer.json()["items"][0]["id"])


async def pages(world: World) -> dict[str, str]:
    """Every page there is to look at, by name."""
    found = await deliveries(world)
    by_channel = {each["channel"]: each["id"] for each in found}
    endpoint = await endpoint_id(world)
    return {
        "overview": "/console",
        "its live part": "/console/live",
        "overview of a tenant": "/console?tenant=acme",
        "events": "/console/events",
        "events by type": "/console/events?tenant=acme&type=message.received",
        "events by type and user": "/console/events?tenant=acme&type=message.received&user=ada",
        "event": "/console/event?tenant=acme&id=event-1",
        "hostile event": "/console/event?tenant=acme&id=hostile",
        "deliveries": "/console/deliveries?tenant=acme",
        "given up": "/console/deliveries?tenant=acme&state=exhausted&channel=webhook",
        "of an endpoint": f"/console/deliveries?tenant=acme&endpoint={endpoint}&state=pending",
        "webhook": f"/console/delivery?tenant=acme&id={by_channel['webhook']}",
        "toast": f"/console/delivery?tenant=acme&id={by_channel['realtime']}",
        "no mail": f"/console/mail?tenant=acme&id={by_channel['realtime']}",
        "endpoints": "/console/endpoints?tenant=acme",
        "endpoint": f"/console/endpoint?tenant=acme&id={endpoint}",
        "replays": "/console/replays?tenant=acme",
        "dead letters": "/console/dead-letters",
        "some dead letters": "/console/dead-letters?subscription=metrics&reason=not-json",
        "users": "/console/users?tenant=acme",
        "user": "/console/user?tenant=acme&id=hostile",
        "unknown user": "/console/user?tenant=acme&id=somebody&state=unread",
        "tenants": "/console/tenants",
        "tenant": "/console/tenant?tenant=acme",
    }


# --------------------------------------------------------------------------- coming in


async def test_nobody_gets_in_without_signing_in(world: World, visitor: httpx.AsyncClient) -> None:
    """Every page leads to the form that asks for the key, which leads back."""
    for path in (await pages(world)).values():
        answer = await visitor.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"] == "/console/sign-in?next=" + quote(path, safe="")


async def test_the_admins_key_opens_the_console(visitor: httpx.AsyncClient) -> None:
    """The cookie is for this console alone, out of reach of scripts and other sites."""
    answer = await visitor.post("/console/sign-in", data={"key": f" {ADMIN_KEY}\n"})
    cookie = answer.headers["set-cookie"]

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")
    assert {"HttpOnly", "Path=/console", "SameSite=strict", f"Max-Age={LASTS_S}"} <= set(
        cookie.split("; ")
    )
    assert ADMIN_KEY not in cookie
    assert (await visitor.get("/console")).status_code == 200


async def test_over_https_the_cookie_is_secure(world: World) -> None:
    """It never goes over a connection that others can read."""
    transport = httpx.ASGITransport(world.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://hub.test") as client:
        answer = await client.post("/console/sign-in", data={"key": ADMIN_KEY})

    assert "Secure" in answer.headers["set-cookie"].split("; ")


@pytest.mark.parametrize("key", ["", "wrong", ADMIN_KEY + "x", ADMIN_KEY[:-1], "é\u202e"])
async def test_another_key_opens_nothing(visitor: httpx.AsyncClient, key: str) -> None:
    """401, the form again, no cookie."""
    answer = await visitor.post("/console/sign-in", data={"key": key})

    assert answer.status_code == 401
    assert "This is not the admin key." in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_tenants_key_opens_nothing(world: World, visitor: httpx.AsyncClient) -> None:
    """The console is about every tenant."""
    key = (await world.tenant("acme"))["authorization"].removeprefix("Bearer ")

    assert (await visitor.post("/console/sign-in", data={"key": key})).status_code == 401


@pytest.mark.parametrize(
    "following", ["https://evil.example/", "//evil.example", "/v1/events", "/console\r\nx: y", ""]
)
async def test_signing_in_leads_nowhere_else(visitor: httpx.AsyncClient, following: str) -> None:
    """Only pages of the console are led to."""
    answer = await visitor.post("/console/sign-in", data={"key": ADMIN_KEY, "next": following})

    assert answer.headers["location"] == "/console"


async def test_who_signed_out_is_out(admin: httpx.AsyncClient) -> None:
    """Also with a copy of the cookie."""
    copy = admin.cookies["huntaze_console"]
    token = await csrf(admin)
    answer = await admin.post("/console/sign-out", data={"csrf": token})
    admin.cookies.set("huntaze_console", copy, domain="hub.test", path="/console")

    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert (await admin.get("/console")).status_code == 303


async def test_a_session_holds_over_a_restart_and_ends_with_its_key() -> None:
    """Signed, not stored; what it is signed with can be taken away, and it runs out."""
    clock = HandClock()
    dice = SystemDice()
    cookie = Sessions(("k1",), ("s1",), clock, dice).begin("k1")

    def opens(keys: tuple[str, ...], secrets: tuple[str, ...]) -> bool:
        return Sessions(keys, secrets, clock, dice).read(cookie) is not None

    assert opens(("k1",), ("s1",))
    assert opens(("k2", "k1"), ("s2", "s1"))
    assert not opens(("k2",), ("s1",))
    assert not opens(("k1",), ("s2",))
    clock.at += int(timedelta(seconds=LASTS_S).total_seconds() * 1000)
    assert not opens(("k1",), ("s1",))


@pytest.mark.parametrize("change", ["expiry", "nonce", "mac", "junk"])
async def test_a_cookie_that_was_changed_opens_nothing(
    admin: httpx.AsyncClient, change: str
) -> None:
    """Each part of it is signed."""
    version, expires, nonce, mac = admin.cookies["huntaze_console"].split(".")
    changed = {
        "expiry": f"{version}.{int(expires) + 1}.{nonce}.{mac}",
        "nonce": f"{version}.{expires}.{nonce[:-1]}{'A' if nonce[-1] != 'A' else 'B'}.{mac}",
        "mac": f"{version}.{expires}.{nonce}.{'0' * 64}",
        "junk": "x",
    }[change]
    admin.cookies.set("huntaze_console", changed, domain="hub.test", path="/console")

    assert (await admin.get("/console")).status_code == 303


async def test_the_session_opens_nothing_of_the_api(admin: httpx.AsyncClient) -> None:
    """The API goes by keys alone."""
    assert (await admin.get("/v1/api-keys")).status_code == 401


# --------------------------------------------------------------------------- forms


FORMS = (
    "sign-out", "delivery/retry", "endpoint/pause", "endpoint/resume", "endpoint/test",
    "endpoint/rotate", "replays/preview", "replays/start", "replays/cancel",
    "dead-letters/preview", "dead-letters/move", "keys/make", "keys/revoke",
)  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
async def test_a_form_without_its_token_is_refused(admin: httpx.AsyncClient, path: str) -> None:
    """403, whatever is sent instead."""
    for token in ({}, {"csrf": ""}, {"csrf": "0" * 64}):
        answer = await admin.post(f"/console/{path}", data={"tenant": "acme", **token})
        assert answer.status_code == 403
        assert "Nothing was done" in answer.text


@pytest.mark.parametrize("path", ["sign-in", "language", *FORMS])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://hub.test:81"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
async def test_a_form_from_another_site_is_refused(
    admin: httpx.AsyncClient, path: str, headers: dict[str, str]
) -> None:
    """403 before anything of it is read, also with the right token."""
    data = {"csrf": await csrf(admin), "key": ADMIN_KEY, "language": "fr"}
    answer = await admin.post(f"/console/{path}", data=data, headers=headers)

    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_a_form_of_another_session_is_refused(world: World, admin: httpx.AsyncClient) -> None:
    """A token fits the session that it was made for, and no other."""
    token = await csrf(admin)
    await admin.post("/console/sign-in", data={"key": ADMIN_KEY})

    assert (await admin.post("/console/sign-out", data={"csrf": token})).status_code == 403


@pytest.mark.parametrize("path", FORMS)
async def test_nothing_is_done_by_looking(admin: httpx.AsyncClient, path: str) -> None:
    """What changes something is a POST: a link never does."""
    assert (await admin.get(f"/console/{path}")).status_code in (404, 405)


@pytest.mark.parametrize(
    ("content", "media_type", "status"),
    [
        (b'{"csrf":"x"}', "application/json", 415),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a=1" for _ in range(700)), "application/x-www-form-urlencoded", 400),
    ],
    ids=["json", "not utf-8", "too large", "too many"],
)
async def test_what_is_no_form_of_ours_is_refused(
    admin: httpx.AsyncClient, content: bytes, media_type: str, status: int
) -> None:
    """With its status, as a page."""
    answer = await admin.post(
        "/console/sign-out", content=content, headers={"content-type": media_type}
    )

    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


# --------------------------------------------------------------------------- every page


async def test_every_page_is_there_in_both_languages(
    world: World, admin: httpx.AsyncClient
) -> None:
    """200, in the language that was asked for, with one heading and a place to skip to."""
    for language in ("en", "fr"):
        for name, path in (await pages(world)).items():
            answer = await admin.get(path, headers={"accept-language": f"{language};q=0.9"})
            assert answer.status_code == 200, (name, answer.text)
            if name != "its live part":
                assert f'<html lang="{language}">' in answer.text
                assert answer.text.count("<h1") == 1, name
                assert '<main id="main"' in answer.text


async def test_every_page_says_what_it_may_load(world: World, admin: httpx.AsyncClient) -> None:
    """A strict policy without anything inline; never stored, never framed."""
    for name, path in (await pages(world)).items():
        answer = await admin.get(path)
        assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY, name
        assert "unsafe" not in CONTENT_SECURITY_POLICY
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert not re.search(
            r"<script(?![^>]* src=)|<style|<[^>]* style=|<[^>]* on[a-z]+=", answer.text
        ), name


async def test_what_strangers_wrote_is_only_ever_text(
    world: World, admin: httpx.AsyncClient
) -> None:
    """Markup in names, descriptions, payloads and ids of messages shows as it was written."""
    shown = 0
    for name, path in (await pages(world)).items():
        text = (await admin.get(path)).text
        assert "<img src=x" not in text, name
        shown += "&lt;img src=x" in text
    assert shown >= 6


@pytest.mark.fault("read the console for secrets", "attackers")
async def test_no_secret_is_shown(world: World, admin: httpx.AsyncClient) -> None:
    """No signing secret, no key, no value of a customer's header."""
    secrets = ["not-for-anybody", "whsec_", ADMIN_KEY, *SECRETS.user_token_secrets, "hz_"]
    for name, path in (await pages(world)).items():
        text = (await admin.get(path)).text
        assert [secret for secret in secrets if secret in text] == [], name


async def test_nothing_of_the_console_is_in_the_apis_document(world: World) -> None:
    """The OpenAPI document is about the API."""
    assert not [path for path in world.app.openapi()["paths"] if path.startswith("/console")]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/console/nowhere", 404),
        ("/console/files/nothing.css", 404),
        ("/console/event?tenant=acme&id=none", 404),
        ("/console/event?tenant=acme", 422),
        ("/console/event?id=event-1", 422),
        ("/console/event?tenant=other&id=event-1", 404),
        ("/console/events?tenant=no%20tenant", 422),
        ("/console/events?tenant=acme&user=%00", 422),
        ("/console/events?cursor=junk", 422),
        ("/console/delivery?tenant=acme&id=dlv_0", 404),
        ("/console/endpoint?tenant=acme&id=ep_none", 404),
        ("/console/user?tenant=acme&id=a%20b", 422),
        ("/console/dead-letters?subscription=none", 404),
        ("/console/dead-letters?cursor=junk", 422),
    ],
)
async def test_what_is_not_there_is_said_in_a_page(
    admin: httpx.AsyncClient, path: str, status: int
) -> None:
    """An error is a page for a person, with its status."""
    answer = await admin.get(path)

    assert answer.status_code == status
    if "/files/" not in path:
        assert answer.headers["content-type"].startswith("text/html")
        assert "<h1>" in answer.text


async def test_what_needs_attention_is_in_the_part_that_changes(admin: httpx.AsyncClient) -> None:
    """It comes and goes while the page says that it is live."""
    part = (await admin.get("/console/live")).text
    page = (await admin.get("/console")).text

    assert "Needs attention" in part
    assert "There are dead letters" in part
    assert page.count("Needs attention") == 1
    assert page.index('id="live"') < page.index("Needs attention")


async def test_a_type_and_a_user_are_not_looked_up_together(admin: httpx.AsyncClient) -> None:
    """No index finds them: the page shows the user's, of every type, and says so."""
    both = (await admin.get("/console/events?tenant=acme&type=job.failed&user=ada")).text
    user = (await admin.get("/console/events?tenant=acme&user=ada")).text

    assert "Choose a type or a user" in both
    assert "Choose a type or a user" not in user
    assert "id=event-1" in both


async def test_an_events_page_names_its_trace(world: World, admin: httpx.AsyncClient) -> None:
    """Who has the page of an event finds its spans; one that is in no trace says nothing of it."""
    traced = document("traced", traceparent=f"00-{'ab' * 16}-{'cd' * 8}-01")
    assert (await world.http.post("/v1/events", json=traced, headers=world.admin)).is_success

    page = (await admin.get("/console/event?tenant=acme&id=traced")).text
    other = (await admin.get("/console/event?tenant=acme&id=event-1")).text
    assert f"<dt>Trace</dt><dd><code>{'ab' * 16}</code></dd>" in page
    assert "<dt>Trace</dt>" not in other


async def test_a_message_that_was_set_aside_is_the_answer(
    world: World, admin: httpx.AsyncClient
) -> None:
    """Where a channel's message is a dead letter, its event says so, why, and where it lies."""
    acme = await world.tenant("acme")
    await world.http.post("/v1/events", json=document("set-aside"), headers=acme)
    other = orjson.dumps(document("set-aside", data={"from": {"name": "B"}, "preview": "other"}))
    properties = {"hubConsumer": "email", "hubKind": "event"}
    copy = Message(id="copy", body=other, properties=properties)
    await world.hub.bus.publish(EVENTS_TOPIC, [copy])
    await until(lambda: world.hub.dead_letters.of_event("acme:set-aside"), "its dead letter")

    text = (await admin.get("/console/event?tenant=acme&id=set-aside")).text

    assert "Not everybody got it: it was set aside" in text
    assert "was set aside, because another event has the same id." in text
    link = re.search(r'href="(/console/dead-letters\?[^"]+)"', text)
    assert link
    assert "acme" in (await admin.get(html.unescape(link[1]))).text


async def test_a_slash_too_many_does_no_harm(admin: httpx.AsyncClient) -> None:
    """`/console/` is the console."""
    answer = await admin.get("/console/")

    assert (answer.status_code, answer.headers["location"]) == (303, "/console")


async def test_requests_are_counted_by_their_route(world: World, admin: httpx.AsyncClient) -> None:
    """`/metrics` tells the console's pages apart."""
    await admin.get("/console/tenants")
    text = (await admin.get("/metrics")).text

    assert 'route="/console/tenants",status="200"' in text


async def test_a_link_from_elsewhere_keeps_the_session(admin: httpx.AsyncClient) -> None:
    """Browsers keep the cookie back then: one more step, from this site, brings it along."""
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    async with httpx.AsyncClient(transport=admin._transport, base_url="http://hub.test") as bare:
        answer = await bare.get("/console/event?tenant=acme&id=event-1", headers=headers)

    assert answer.status_code == 200
    assert 'http-equiv="refresh" content="0; url=/console/event?tenant=acme&amp;id=event-1"' in (
        answer.text
    )


@pytest.mark.parametrize("name", ["console.css", "console.js", "icon.svg"])
async def test_files_are_sent_once(visitor: httpx.AsyncClient, name: str) -> None:
    """With a tag; who has the file already gets nothing again."""
    first = await visitor.get(f"/console/files/{name}")
    again = await visitor.get(
        f"/console/files/{name}", headers={"if-none-match": first.headers["etag"]}
    )

    assert (first.status_code, again.status_code) == (200, 304)
    assert first.content
    assert not again.content


# --------------------------------------------------------------------------- looks


@pytest.mark.parametrize(
    ("accepted", "cookie", "language"),
    [
        ("fr-FR,fr;q=0.9,en;q=0.8", None, "fr"),
        ("de,fr;q=0.5,en;q=0.4", None, "fr"),
        ("de", None, "en"),
        ("fr;q=0,en", None, "en"),
        ("fr", "en", "en"),
        ("en", "fr", "fr"),
        ("en", "de", "en"),
        (",;;q=x", None, "en"),
    ],
)
async def test_the_language_is_the_viewers(
    visitor: httpx.AsyncClient, accepted: str, cookie: str | None, language: str
) -> None:
    """What was chosen, else what the browser prefers."""
    if cookie:
        visitor.cookies.set("huntaze_language", cookie, domain="hub.test", path="/console")
    answer = await visitor.get("/console/sign-in", headers={"accept-language": accepted})

    assert f'<html lang="{language}">' in answer.text


async def test_a_language_can_be_chosen(visitor: httpx.AsyncClient) -> None:
    """It stays chosen, and leads back to where one was."""
    answer = await visitor.post(
        "/console/language", data={"language": "fr", "back": "/console/sign-in"}
    )

    assert answer.headers["location"] == "/console/sign-in"
    assert 'lang="fr"' in (await visitor.get("/console/sign-in")).text


@pytest.mark.parametrize(
    ("zone", "shown"),
    [("Asia/Tokyo", True), ("UTC", False), ("../../etc/passwd", False), ("Mars/Olympus", False)],
)
async def test_times_are_in_the_viewers_zone(
    world: World, admin: httpx.AsyncClient, zone: str, shown: bool
) -> None:
    """The element's text is in the zone, its title in UTC; an unknown zone is UTC."""
    admin.cookies.set("huntaze_zone", zone, domain="hub.test", path="/console")
    text = (await admin.get("/console/events?tenant=acme")).text
    found = re.search(r'<time datetime="[^"]+T(\d\d):[^"]+" title="[^"]+ UTC">([^<]+)</time>', text)
    assert found
    utc, there = int(found[1]), int(found[2][-8:-6])

    assert there == ((utc + 9) % 24 if shown else utc)


# --------------------------------------------------------------------------- what pages answer


async def test_an_event_says_why_somebody_did_not_get_it(
    world: World, admin: httpx.AsyncClient
) -> None:
    """Each channel has a sentence, also the ones that do not carry the type."""
    # A second attempt may be under way at any moment, and has a sentence of its own.
    text = await event_between_attempts(admin)

    assert "It is in the inbox of ada since" in text
    assert "Events of the type message.received are not mailed." in text
    assert f"{NOWHERE} has not taken it yet: there was no connection, or it broke." in text


async def test_a_mail_is_shown_and_can_do_nothing(world: World, admin: httpx.AsyncClient) -> None:
    """In a sandboxed frame of its own, whose policy lets nothing in but its style."""
    await publish(world, "mailed", "payment.received")
    mail = await mailed(world, "mailed")
    page = await admin.get(f"/console/mail?tenant=acme&id={mail}")
    body = await admin.get(f"/console/mail/body?tenant=acme&id={mail}")

    assert '<iframe class="mail" sandbox title=' in page.text
    assert "a@example.com" in page.text
    policy = body.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert policy.endswith("sandbox")
    assert "frame-ancestors 'self'" in policy
    assert body.headers["x-frame-options"] == "SAMEORIGIN"
    assert "Ada" in body.text


async def publish(world: World, event_id: str, event_type: str) -> None:
    """Publish the example of a type to Ada."""
    example = next(t.example for t in world.hub.catalogue.types() if t.name == event_type)
    event = {**example, "id": event_id, "tenantid": "acme", "userid": "ada"}
    sent = await world.http.post("/v1/events", json=event, headers=world.admin)
    assert sent.status_code == 202, sent.text


async def mailed(world: World, event_id: str) -> str:
    """The mail delivery of an event, once it is there."""

    async def there() -> Any:
        return await deliveries(world, eventId=event_id, channel="email")

    return str((await until(there, "a mail"))[0]["id"])


async def test_lists_go_on_where_a_page_ended(world: World, admin: httpx.AsyncClient) -> None:
    """Following the link to the next page leads through all events, once each."""
    await asyncio.gather(
        *(
            world.http.post("/v1/events", json=document(f"p-{n}", tenantid="pager"),
                            headers=world.admin)
            for n in range(60)
        )
    )  # fmt: skip
    seen: list[str] = []
    path: str | None = "/console/events?tenant=pager"
    while path:
        text = (await admin.get(path)).text
        seen += re.findall(r"<code>(p-[0-9]+)</code>", text)
        further = re.search(r'rel="next" href="([^"]+)"', text)
        path = further[1].replace("&amp;", "&") if further else None

    assert sorted(seen) == sorted(f"p-{n}" for n in range(60))


async def test_a_page_without_a_tenant_offers_them(world: World, admin: httpx.AsyncClient) -> None:
    """With more than one there is a choice."""
    await world.tenant("second")
    text = (await admin.get("/console/users")).text

    assert '/console/users?tenant=acme"' in text
    assert '/console/users?tenant=second"' in text


# --------------------------------------------------------------------------- what is done


async def do(client: httpx.AsyncClient, path: str, **data: Any) -> httpx.Response:
    """Send a form."""
    return await client.post(f"/console/{path}", data={"csrf": await csrf(client), **data})


async def test_an_endpoint_is_paused_and_resumed(world: World, admin: httpx.AsyncClient) -> None:
    """The page says so each time, and the API sees it."""
    form = {"tenant": "acme", "id": await endpoint_id(world)}

    async def state() -> str:
        path = f"/v1/webhook-endpoints/{form['id']}?tenantId=acme"
        return str((await world.http.get(path, headers=world.admin)).json()["state"])

    paused = await do(admin, "endpoint/pause", **form)
    assert await state() == "paused"
    assert "The endpoint is paused." in (await admin.get(paused.headers["location"])).text
    await do(admin, "endpoint/resume", **form)
    assert await state() == "active"


async def test_a_test_event_leads_to_what_became_of_it(
    world: World, admin: httpx.AsyncClient
) -> None:
    """Its delivery's page shows the attempt."""
    answer = await do(admin, "endpoint/test", tenant="acme", id=await endpoint_id(world))
    text = (await admin.get(answer.headers["location"])).text

    assert "webhook.test" in text
    assert "no connection: Connection refused" in text


async def test_a_new_secret_is_shown_once(world: World, admin: httpx.AsyncClient) -> None:
    """On the answer to the form, and on no page afterwards."""
    endpoint = await endpoint_id(world)
    answer = await do(admin, "endpoint/rotate", tenant="acme", id=endpoint)
    later = await admin.get(f"/console/endpoint?tenant=acme&id={endpoint}")

    assert "whsec_" in answer.text
    assert "whsec_" not in later.text


async def test_a_delivery_is_tried_again(world: World, admin: httpx.AsyncClient) -> None:
    """A new round begins; what is delivered is not retried, and the page says so."""
    waiting = (await deliveries(world, state="pending"))[0]
    done = (await deliveries(world, state="delivered"))[0]
    answer = await do(admin, "delivery/retry", tenant="acme", id=waiting["id"])
    refused = await do(admin, "delivery/retry", tenant="acme", id=done["id"])
    path = f"/v1/deliveries/{waiting['id']}?tenantId=acme"

    assert answer.status_code == 303
    assert (await world.http.get(path, headers=world.admin)).json()["round"] == 2
    assert refused.status_code == 409


async def test_a_replay_shows_first_what_it_would_be(
    world: World, admin: httpx.AsyncClient
) -> None:
    """The dry run does nothing; the button after it starts the replay."""
    form = {
        "tenant": "acme",
        "endpoint": await endpoint_id(world),
        "since": "2020-01-01T00:00",
        "until": "2199-01-01T00:00",
        "kinds": ["skipped", "absent"],
    }
    preview = await do(admin, "replays/preview", **form)
    before = await world.http.get("/v1/replays?tenantId=acme", headers=world.admin)
    started = await do(admin, "replays/start", **form)
    after = await world.http.get("/v1/replays?tenantId=acme", headers=world.admin)

    assert preview.status_code == 200, preview.text
    assert "Nothing was done yet." in preview.text
    assert before.json()["items"] == []
    assert started.status_code == 303, started.text
    assert len(after.json()["items"]) == 1
    assert after.json()["items"][0]["askedBy"] == "admin"


@pytest.mark.parametrize(
    "changes", [{"since": "yesterday"}, {"since": ""}, {"kinds": "none"}, {"since": "9999-01-01"}]
)
async def test_a_replay_that_is_wrong_is_refused(
    world: World, admin: httpx.AsyncClient, changes: dict[str, str]
) -> None:
    """422 with what is wrong."""
    form = {"tenant": "acme", "endpoint": await endpoint_id(world), "since": "2020-01-01T00:00"}
    form |= {"until": "2030-01-01T00:00", "kinds": "absent", **changes}

    assert (await do(admin, "replays/preview", **form)).status_code == 422


async def test_a_key_is_made_shown_once_and_revoked(world: World, admin: httpx.AsyncClient) -> None:
    """It opens its tenant until it is revoked."""
    made = await do(admin, "keys/make", tenant="keys", name="CI")
    found = re.search(r"hz_[A-Za-z0-9_-]+", made.text)
    assert found
    headers = {"authorization": f"Bearer {found[0]}"}
    opened = await world.http.get("/v1/events", headers=headers)
    page = await admin.get("/console/tenant?tenant=keys")
    key_id = re.search(r"key_[a-z0-9]+", page.text)
    assert key_id
    revoked = await do(admin, "keys/revoke", tenant="keys", id=key_id[0])
    closed = await world.http.get("/v1/events", headers=headers)

    assert found[0] not in page.text
    assert [each.status_code for each in (opened, revoked, closed)] == [200, 303, 401]


async def test_dead_letters_are_purged_only_when_said_twice(
    world: World, admin: httpx.AsyncClient
) -> None:
    """The dry run says how many of which reason; then they are gone."""
    form = {"subscription": "metrics", "what": "purge"}
    preview = await do(admin, "dead-letters/preview", **form)
    still = await world.hub.dead_letters.page("metrics", reason=None, after=("", 0), limit=9)
    gone = await do(admin, "dead-letters/move", **form)
    left = await world.hub.dead_letters.page("metrics", reason=None, after=("", 0), limit=9)

    assert "1 dead letter would be deleted" in preview.text
    assert len(still[0]) == 1
    assert "1 dead letter was deleted." in gone.text
    assert left[0] == []


async def test_a_dead_letter_is_sent_again(world: World, admin: httpx.AsyncClient) -> None:
    """That one alone; as broken as it is, it comes back."""
    page, _ = await world.hub.dead_letters.page("notify-email", reason=None, after=("", 0), limit=9)
    number = page[0].sequence_number
    form = {"subscription": "notify-email", "what": "replay", "number": str(number)}
    answer = await do(admin, "dead-letters/move", **form)

    async def again() -> bool:
        found, _ = await world.hub.dead_letters.page(
            "notify-email", reason=None, after=("", 0), limit=9
        )
        return bool(found) and found[0].sequence_number > number

    assert "1 dead letter was sent again." in answer.text
    await until(again, "the dead letter to die again")


async def test_a_broken_page_tells_nothing_of_the_inside(
    world: World, admin: httpx.AsyncClient
) -> None:
    """500, with a sentence and without the error."""
    services = world.app.state.services
    world.app.state.services = replace(services, queries=None)
    try:
        answer = await admin.get("/console/events")
    finally:
        world.app.state.services = services

    assert answer.status_code == 500
    assert "Something went wrong in the hub." in answer.text
    assert "NoneType" not in answer.text
