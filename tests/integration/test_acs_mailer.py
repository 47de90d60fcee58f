"""The mailer for Azure Communication Services: its pace, what the service may answer, its key."""

import asyncio
import base64
import hashlib
import hmac
from email.utils import formatdate
from pathlib import Path

import httpx
import orjson
import pytest

from notifications.azure_resource import AzureResource
from notifications.channels.email.acs import PACED
from notifications.deliveries import Delivered, Failed, Postponed
from notifications.mailing import MailLimits, mail_guid
from notifications.retries import HOUR, MINUTE
from notifications.testing import ManualClock
from tests.acs_world import KEY, acs_endpoint, acs_mailer, budget
from tests.azure_server import Script, scripted
from tests.mail_servers import mail


def answering(code: str = "", **script: object) -> Script:
    """A service that answers so."""
    body = orjson.dumps({"error": {"code": code, "message": "because"}})
    return Script(body=body, **script)  # type: ignore[arg-type]


def at(script: Script) -> AzureResource:
    """Where it is."""
    return AzureResource(endpoint=script.endpoint, key=KEY)


@pytest.mark.parametrize(
    ("status", "headers", "retryable", "retry_after"),
    [
        (400, {}, False, None),
        (413, {}, False, None),
        (429, {"Retry-After": "7"}, True, 7_000),
        (429, {}, True, None),
        (500, {}, True, None),
        (503, {"Retry-After": "30"}, True, 30_000),
        (503, {}, True, None),
    ],
)
async def test_a_refusal_of_one_mail_is_its_own(
    tmp_path: Path,
    status: int,
    headers: dict[str, str],
    retryable: bool,
    retry_after: int | None,
) -> None:
    """What the service says of a mail fails that mail, for good or until later; asked once."""
    script = answering(status=status, headers=headers)
    async with scripted(script), acs_mailer(at(script), tmp_path) as mailer:
        outcome = await mailer.send(mail())
        assert mailer.trouble() is None
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == (f"acs-{status}", retryable)
    assert (outcome.retry_after, outcome.status) == (retry_after, status)
    assert len(script.requests) == 1
    assert KEY not in repr(outcome)


@pytest.mark.parametrize(
    ("status", "code"),
    [(401, ""), (403, ""), (404, ""), (400, "DomainNotLinked"), (400, "InvalidSenderUserName")],
)
async def test_a_refusal_of_us_costs_no_mail_an_attempt(
    tmp_path: Path, status: int, code: str
) -> None:
    """A wrong key, endpoint or sender is ours to mend: mails wait, and the next does not ask."""
    script = answering(code, status=status)
    async with scripted(script), acs_mailer(at(script), tmp_path) as mailer:
        assert isinstance(await mailer.send(mail()), Postponed)
        assert mailer.trouble() == f"acs-{status}"
        assert isinstance(await mailer.send(mail("dlv_0000000015lk8")), Postponed)
    assert len(script.requests) == 1


async def test_a_mail_that_the_service_has_already_is_delivered(tmp_path: Path) -> None:
    """409 to our own operation id: an earlier try arrived, though its answer did not."""
    script = answering(status=409)
    async with scripted(script), acs_mailer(at(script), tmp_path) as mailer:
        assert isinstance(await mailer.send(mail()), Delivered)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (Script(cut="before"), "connection"),
        (Script(cut="within"), "connection"),
        (Script(slow=True), "timeout"),
    ],
    ids=["cut before", "cut within", "slow"],
)
async def test_an_answer_that_does_not_come_is_tried_again_later(
    tmp_path: Path, script: Script, reason: str
) -> None:
    """A connection that breaks or stalls fails the attempt, not the mail."""
    async with (
        scripted(script),
        acs_mailer(at(script), tmp_path, time_limit=0.5) as mailer,
    ):
        outcome = await mailer.send(mail())
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == (reason, True)


async def test_what_exceeds_the_limits_waits_and_goes_out_later(tmp_path: Path) -> None:
    """Three a minute: the others are postponed, each to its turn, and all are sent in the end."""
    clock, script = ManualClock(), Script()
    limits = MailLimits(per_minute=3, per_hour=6)
    ids = [f"dlv_00000000000{number:02d}" for number in range(9)]
    async with (
        scripted(script),
        acs_mailer(at(script), tmp_path, limits, clock) as mailer,
    ):
        waiting = dict.fromkeys(ids, 0)
        sent_at: list[int] = []
        for _ in range(60):
            for each in [one for one, due in waiting.items() if due <= clock.ms]:
                outcome = await mailer.send(mail(each))
                if isinstance(outcome, Delivered):
                    del waiting[each]
                    sent_at.append(clock.ms)
                else:
                    assert isinstance(outcome, Postponed), outcome
                    assert (outcome.reason, mailer.trouble()) == (PACED, PACED)
                    waiting[each] = clock.ms + (outcome.again_in or 0)
            assert mailer.waiting == len(waiting)
            if not waiting:
                break
            clock.ms = min(waiting.values())
        assert waiting == {}
        assert mailer.trouble() is None
    assert len(script.requests) == 9
    assert sum(each < sent_at[0] + MINUTE for each in sent_at) == 3
    assert sum(each < sent_at[0] + HOUR for each in sent_at) <= 6


async def test_every_process_draws_from_the_same_account(tmp_path: Path) -> None:
    """Two that draw at once get together what one would have got, and a hold holds both."""
    clock = ManualClock()
    async with budget(tmp_path, MailLimits(per_minute=5, per_hour=100), clock) as first:
        second = type(first)(first._database, MailLimits(per_minute=5, per_hour=100))
        waits = await asyncio.gather(*(each.draw() for each in (first, second) * 6))
        assert waits.count(0) == 5
        clock.ms += 2 * MINUTE
        await first.hold(3 * MINUTE)
        assert await second.draw() == 3 * MINUTE
        clock.ms += 3 * MINUTE
        assert await second.draw() == 0


async def test_a_429_holds_the_account(tmp_path: Path) -> None:
    """Told to wait, nobody asks again before: the next mail waits without an attempt."""
    script = answering(status=429, headers={"Retry-After": "120"})
    async with scripted(script), acs_mailer(at(script), tmp_path) as mailer:
        assert isinstance(await mailer.send(mail()), Failed)
        outcome = await mailer.send(mail("dlv_0000000015lk8"))
        assert isinstance(outcome, Postponed)
        assert (outcome.again_in or 0) > 100_000
    assert len(script.requests) == 1


async def test_another_round_is_another_mail(tmp_path: Path) -> None:
    """The same attempt again is the same mail to the service, a retry by hand is a new one."""
    async with (
        acs_endpoint(tmp_path / "mail") as endpoint,
        acs_mailer(endpoint.resource, tmp_path) as mailer,
    ):
        outcomes = [
            await mailer.send(mail(subject=subject, round=number))
            for subject, number in (("first", 1), ("again", 1), ("by hand", 2))
        ]
        guids = [each.detail for each in outcomes if isinstance(each, Delivered)]
        assert guids[0] == guids[1] != guids[2]
        (arrived,) = endpoint.mails()
        assert b"Subject: by hand" in arrived


# --------------------------------------------------------------------------- the endpoint


def signed(method: str, url: httpx.URL, body: bytes, **changes: str) -> dict[str, str]:
    """The headers of a call, as the service documents them."""
    date = changes.get("date") or formatdate(usegmt=True)
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    host = f"{url.host}:{url.port}"
    text = f"{method}\n{url.raw_path.decode()}\n{date};{host};{digest}"
    key = base64.b64decode(changes.get("key") or KEY)
    signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode()
    return {
        "x-ms-date": date,
        "x-ms-content-sha256": digest,
        "authorization": "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256"
        f"&Signature={signature}",
    }


MESSAGE = {
    "senderAddress": "notify@huntaze.example",
    "recipients": {"to": [{"address": "sam.sample@example.com"}]},
    "content": {"subject": "Hello", "plainText": "Hello"},
}


async def test_the_endpoint_checks_the_signature(tmp_path: Path) -> None:
    """Another key, another date, another body or none at all: 401, and nothing lands."""
    body = orjson.dumps(MESSAGE)
    async with acs_endpoint(tmp_path / "mail") as endpoint, httpx.AsyncClient() as http:
        url = httpx.URL(f"{endpoint.url}/emails:send?api-version=2025-09-01")
        good = signed("POST", url, body)
        bad = [
            {},
            signed("GET", url, body),
            signed("POST", url, b"another"),
            signed("POST", url, body, key=base64.b64encode(b"another").decode()),
            signed("POST", url, body, date="Mon, 01 Jan 2024 00:00:00 GMT"),
            {**good, "x-ms-date": "yesterday"},
            {**good, "authorization": good["authorization"][:-4] + "AAA="},
        ]
        for headers in bad:
            answer = await http.post(url, content=body, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Denied")
        assert endpoint.mails() == []
        answer = await http.post(url, content=body, headers=good)
        assert answer.status_code == 202
        where = httpx.URL(answer.headers["operation-location"])
        state = await http.get(where, headers=signed("GET", where, b""))
        assert state.json()["status"] == "Succeeded"
        unknown = where.copy_with(path=f"/emails/operations/{mail_guid(1, 1)}")
        state = await http.get(unknown, headers=signed("GET", unknown, b""))
        assert state.status_code == 404
        assert len(endpoint.mails()) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"senderAddress": "somebody@else.example"}, "InvalidSenderUserName"),
        ({"recipients": {"to": []}}, "InvalidRecipients"),
        ({"recipients": {"to": [{"address": "nobody"}]}}, "InvalidRecipients"),
        ({"recipients": {"to": [{"address": "a@b.example"}] * 51}}, "InvalidRecipients"),
        ({"recipients": {"to": "a@b.example"}}, "InvalidRequest"),
        ({"content": "Hello"}, "InvalidRequest"),
        (None, "InvalidRequest"),
    ],
)
async def test_the_endpoint_says_what_is_wrong_with_a_mail(
    tmp_path: Path, change: dict[str, object] | None, code: str
) -> None:
    """A mail that the service would not take is a 400 that says why."""
    body = orjson.dumps(None if change is None else MESSAGE | change)
    async with acs_endpoint(tmp_path / "mail") as endpoint, httpx.AsyncClient() as http:
        url = httpx.URL(f"{endpoint.url}/emails:send")
        answer = await http.post(url, content=body, headers=signed("POST", url, body))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
        assert endpoint.mails() == []
