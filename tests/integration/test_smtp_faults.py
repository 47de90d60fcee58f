"""The SMTP mailer against servers that fail in every way: hang, drop, flood, lie."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from notifications.channels.email.smtp import SmtpMailer
from notifications.channels.email.smtp_answers import KEPT_OF_ANSWER
from notifications.deliveries import Delivered, Failed, Outcome, Postponed
from notifications.smtp_url import Relay, Tls
from notifications.testing import ManualClock
from tests.mail_servers import (
    SENDER,
    Act,
    ScriptedServer,
    drip,
    eventually,
    flood,
    hang_up,
    hear,
    mail,
    never,
    reset,
    scripted,
    then,
)
from tests.webhook_receivers import self_signed

SHORT = 0.3
AUTH = {"EHLO": b"250-mail.test\r\n250 AUTH PLAIN LOGIN CRAM-MD5\r\n"}
SIGNED_IN = {"username": "hub", "password": "sesame-sesame"}


@contextlib.asynccontextmanager
async def mailer_of(
    server: ScriptedServer, *, wait: float = 5.0, **relay: Any
) -> AsyncIterator[SmtpMailer]:
    """A mailer that uses the server, without encryption unless it is asked for."""
    fields = {"host": "127.0.0.1", "port": server.port, "tls": Tls.NONE, "timeout": 10.0, **relay}
    async with SmtpMailer(Relay(**fields), SENDER, ManualClock(), wait=wait) as mailer:
        yield mailer


def failure(outcome: Outcome) -> Failed:
    """The failure that it is."""
    assert isinstance(outcome, Failed), outcome
    return outcome


STEPS = [
    ("", "connection"),
    ("EHLO", "greeting"),
    ("MAIL", "sender"),
    ("RCPT", "recipient"),
    ("DATA", "content"),
    (".", "content"),
]


# --------------------------------------------------------------------------- hanging


@pytest.mark.parametrize(("step", "named"), STEPS)
@pytest.mark.parametrize(
    "how", [never, drip(b"2"), drip(b"250-more\r\n")], ids=["silent", "drips", "goes on"]
)
@pytest.mark.fault("is a mail server that hangs", "receivers")
async def test_a_server_that_hangs_is_a_timeout(step: str, named: str, how: Act) -> None:
    """Wherever it hangs, the attempt ends within its limit, says where, and leaves nothing open."""
    async with scripted({step: how}) as server, mailer_of(server, timeout=SHORT) as mailer:
        async with asyncio.timeout(5):
            outcome = failure(await mailer.send(mail()))
        assert mailer.open_connections == 0
    assert outcome.timed_out
    assert outcome.retryable
    assert named in (outcome.detail or "")
    assert ("may have the mail" in (outcome.detail or "")) == (named == "content")


async def test_a_server_that_never_speaks_tls_is_a_timeout(tmp_path: Path) -> None:
    """A handshake that is never answered is within the same limit."""
    relay = {"tls": Tls.IMPLICIT, "timeout": SHORT, "ca_file": self_signed(tmp_path).path}
    async with scripted({"": never}) as server, mailer_of(server, **relay) as mailer:
        async with asyncio.timeout(5):
            assert failure(await mailer.send(mail())).timed_out


async def test_waiting_for_a_connection_is_nobodys_fault() -> None:
    """A mail that finds every connection in use is not tried, and so uses up no attempt."""
    async with (
        scripted({"MAIL": never}) as server,
        mailer_of(server, connections=1, wait=SHORT) as mailer,
    ):
        first = asyncio.create_task(mailer.send(mail("dlv_1")))
        await eventually(lambda: "MAIL" in server.said())
        async with asyncio.timeout(5):
            outcome = await mailer.send(mail("dlv_2"))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert mailer.open_connections == 0
    assert isinstance(outcome, Postponed)
    assert server.accepted == 1


# --------------------------------------------------------------------------- dropping


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
@pytest.mark.parametrize("how", [hang_up, reset], ids=["closes", "resets"])
@pytest.mark.fault("is a mail server that drops the connection", "receivers")
async def test_a_server_that_drops_us_is_tried_again(step: str, how: Act) -> None:
    """Wherever the connection breaks the mail is tried again later, not within the attempt."""
    async with scripted({step: how}) as server, mailer_of(server) as mailer:
        outcome = failure(await mailer.send(mail()))
        assert mailer.open_connections == 0
    assert (outcome.reason, outcome.retryable) == ("smtp-connection", True)
    assert server.accepted == 1
    assert ("may have it" in (outcome.detail or "")) == (step in ("DATA", "."))


async def test_a_mail_that_the_server_may_have_is_not_sent_twice_by_an_attempt() -> None:
    """Dropped after the content on a kept connection: no second connection, one content."""
    scripts = {"MAIL": b"250 OK\r\n"}
    async with scripted(scripts) as server, mailer_of(server) as mailer:
        assert isinstance(await mailer.send(mail("dlv_1")), Delivered)
        server.script[0]["."] = hang_up
        outcome = failure(await mailer.send(mail("dlv_2")))
        assert outcome.reason == "smtp-connection"
    assert server.accepted == 1
    assert len(server.contents) == 2


async def test_a_mail_cut_off_in_its_middle_is_tried_again() -> None:
    """A server that hangs up while the content comes makes a failure that says so."""

    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"354 go on\r\n")
        await reader.readexactly(100)
        writer.transport.abort()

    async with scripted({"DATA": half}) as server, mailer_of(server) as mailer:
        outcome = failure(await mailer.send(mail(html="x" * 200_000)))
    assert (outcome.reason, outcome.retryable) == ("smtp-connection", True)


@pytest.mark.parametrize(
    "end",
    [b"421 4.4.2 idle\r\n", hang_up, reset, never],
    ids=["421", "eof", "rst", "dead"],
)
async def test_a_kept_connection_that_is_dead_is_replaced(end: bytes | Act) -> None:
    """What a kept connection died of costs the mail nothing: it goes over a new one, once."""
    async with (
        scripted({"NOOP": b""}, {}) as server,
        mailer_of(server, timeout=2.0) as mailer,
    ):
        assert isinstance(await mailer.send(mail("dlv_1")), Delivered)
        server.script[0]["MAIL"] = end
        async with asyncio.timeout(5):
            assert isinstance(await mailer.send(mail("dlv_2")), Delivered)
    assert server.accepted == 2
    assert len(server.contents) == 2


async def test_a_goodbye_while_nobody_speaks_is_understood() -> None:
    """A server that says 421 and closes between two mails costs the second nothing."""
    leave = asyncio.Event()

    async def until_told(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"250 taken\r\n")
        await writer.drain()
        await leave.wait()
        writer.write(b"421 4.4.2 idle too long\r\n")
        await writer.drain()
        writer.close()

    async with scripted({".": until_told}, {}) as server, mailer_of(server) as mailer:
        assert isinstance(await mailer.send(mail("dlv_1")), Delivered)
        leave.set()
        await server.ended.wait()
        assert isinstance(await mailer.send(mail("dlv_2")), Delivered)
    assert server.accepted == 2


async def test_two_dead_connections_in_a_row_are_a_failure() -> None:
    """A dead connection is replaced once; what breaks then is told."""
    async with scripted({}, {"MAIL": hang_up}) as server, mailer_of(server) as mailer:
        await mailer.send(mail("dlv_1"))
        server.script[0]["MAIL"] = hang_up
        assert failure(await mailer.send(mail("dlv_2"))).reason == "smtp-connection"
    assert server.accepted == 2


async def test_nobody_there_is_tried_again() -> None:
    """A port where nothing listens, and a name that is none, are told apart and tried again."""
    async with scripted() as server:
        port = server.port
    for host, reason in (("127.0.0.1", "smtp-connection"), ("mail.invalid", "dns")):
        relay = Relay(host=host, port=port, tls=Tls.NONE, timeout=20.0)
        async with SmtpMailer(relay, SENDER, ManualClock()) as mailer:
            outcome = failure(await mailer.send(mail()))
        assert (outcome.reason, outcome.retryable) == (reason, True)


# --------------------------------------------------------------------------- nonsense


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\xff\xfe\x80 rubbish\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\r\n",
        b"999 what\r\n",
        b"000\r\n",
        b"-50 what\r\n",
        b"x" * 100_000 + b"\r\n",
    ],
    ids=["binary", "http", "ssh", "empty", "999", "000", "negative", "giant"],
)
async def test_what_is_no_smtp_is_told(step: str, nonsense: bytes) -> None:
    """Whatever a server says instead, the outcome is a failure that is kept short and retried."""
    async with scripted({step: nonsense}) as server, mailer_of(server, timeout=2.0) as mailer:
        outcome = failure(await mailer.send(mail()))
        assert mailer.open_connections == 0
    assert (outcome.reason, outcome.retryable) == ("smtp-protocol", True)
    assert len(outcome.detail or "") <= KEPT_OF_ANSWER + 100
    (outcome.detail or "").encode()  # no half of a character, which no database takes


@pytest.mark.parametrize("step", [step for step, _ in STEPS])
@pytest.mark.parametrize("piece", [b"x" * 65_536, b"250-more\r\n" * 5_000], ids=["line", "lines"])
async def test_an_endless_answer_is_cut_off(step: str, piece: bytes) -> None:
    """An answer without end is neither kept nor waited for."""
    async with scripted({step: flood(piece)}) as server, mailer_of(server) as mailer:
        async with asyncio.timeout(5):
            outcome = failure(await mailer.send(mail()))
    assert outcome.reason == "smtp-protocol"


async def test_a_size_that_is_no_number_is_no_limit() -> None:
    """What cannot be read in a greeting is not believed."""
    odd = b"250-mail.test\r\n250 SIZE " + b"9" * 5_000 + b"\r\n"
    async with scripted({"EHLO": odd}) as server, mailer_of(server) as mailer:
        assert isinstance(await mailer.send(mail()), Delivered)


async def test_an_old_server_without_ehlo_still_gets_mails() -> None:
    """A server that only knows HELO is spoken to like that."""
    async with scripted({"EHLO": b"502 unknown\r\n"}) as server, mailer_of(server) as mailer:
        assert isinstance(await mailer.send(mail()), Delivered)
    assert server.said()[:3] == ["EHLO", "HELO", "MAIL"]


@pytest.mark.parametrize(
    ("step", "answer", "kind", "reason"),
    [
        ("", b"421 too many connections\r\n", Failed, "smtp-421"),
        ("", b"554 no mail from your address\r\n", Postponed, "smtp-554"),
        ("EHLO", b"451 later\r\n", Failed, "smtp-451"),
        ("EHLO", b"550 bad name\r\n", Postponed, "smtp-550"),
        ("DATA", b"250 strange\r\n", Failed, "smtp-protocol"),
    ],
)
async def test_what_a_server_thinks_of_us_is_no_addressees_fault(
    step: str, answer: bytes, kind: type, reason: str
) -> None:
    """Refusals before there is an addressee never end a mail for good."""
    async with scripted({step: answer}) as server, mailer_of(server) as mailer:
        outcome = await mailer.send(mail())
    assert isinstance(outcome, kind)
    assert getattr(outcome, "reason") == reason  # noqa: B009 - of either kind
    assert getattr(outcome, "retryable", True)


# --------------------------------------------------------------------------- what is on the wire


async def test_a_line_that_is_a_dot_does_not_end_a_mail() -> None:
    """Dots at the start of a line are coded or doubled; the one that ends the mail is the last."""
    async with scripted() as server, mailer_of(server) as mailer:
        await mailer.send(mail(text=".\n..\n.end\nx.\n"))
    (content,) = server.contents
    assert b"\r\n=2E\r\n...\r\n..end\r\nx.\r\n" in content
    assert content.count(b"\r\n.\r\n") == 1


async def test_the_name_of_this_machine_is_what_was_set() -> None:
    """`name` is what EHLO says."""
    async with scripted() as server, mailer_of(server, name="hub.example.com") as mailer:
        await mailer.send(mail())
    assert server.heard[0] == (1, b"EHLO hub.example.com")


async def test_what_comes_in_plaintext_before_tls_is_forgotten(tmp_path: Path) -> None:
    """Answers that somebody put in behind STARTTLS, unencrypted, are never taken for the server's.

    The forged ones would let the mail count as delivered to a recipient that the server refuses.
    """
    certificate = self_signed(tmp_path)
    forged = b"220 go\r\n250-forged\r\n250 SIZE 1\r\n" + b"250 OK\r\n" * 9
    script: dict[str, bytes | Act] = {
        "EHLO": b"250-mail.test\r\n250 STARTTLS\r\n",
        "STARTTLS": forged,
        "RCPT": b"550 no such user\r\n",
    }
    async with (
        scripted(script, tls=certificate.server_context()) as server,
        mailer_of(server, tls=Tls.STARTTLS, ca_file=certificate.path) as mailer,
    ):
        outcome = failure(await mailer.send(mail()))
    assert (outcome.reason, outcome.retryable) == ("smtp-550", False)
    assert server.said() == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT", "QUIT"]


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (b"454 TLS not available\r\n", Failed, "smtp-454"),
        (b"501 no\r\n", Postponed, "smtp-501"),
        (then(b"220 go\r\n", hang_up), Failed, "smtp-tls"),
        (then(b"220 go\r\n", hear, b"this is no handshake at all\r\n"), Failed, "smtp-tls"),
    ],
    ids=["temporary", "for good", "drops", "rubbish"],
)
async def test_a_starttls_that_fails_sends_nothing(
    answer: bytes | Act, kind: type, reason: str
) -> None:
    """When encryption fails, whatever the reason, nothing follows in plaintext."""
    script: dict[str, bytes | Act] = {
        "EHLO": b"250-mail.test\r\n250 STARTTLS\r\n",
        "STARTTLS": answer,
    }
    async with scripted(script) as server, mailer_of(server, tls=Tls.STARTTLS) as mailer:
        async with asyncio.timeout(5):
            outcome = await mailer.send(mail())
    assert isinstance(outcome, kind)
    assert getattr(outcome, "reason") == reason  # noqa: B009 - of either kind
    assert "MAIL" not in server.said()


# --------------------------------------------------------------------------- signing in


async def test_a_refused_password_is_shown_once_however_many_ways_there_are() -> None:
    """535 is not asked for again by another mechanism: that locks accounts."""
    plain = {"EHLO": b"250-mail.test\r\n250 AUTH LOGIN PLAIN\r\n", "AUTH": b"535 wrong\r\n"}
    async with scripted(plain) as server, mailer_of(server, **SIGNED_IN) as mailer:
        outcome = await mailer.send(mail())
    assert isinstance(outcome, Postponed)
    assert outcome.reason == "smtp-535"
    assert server.said().count("AUTH") == 1


async def test_a_way_to_sign_in_that_does_not_work_is_followed_by_the_next() -> None:
    """A server that names CRAM-MD5 and cannot do it gets the password another way."""
    answers = [b"504 not really\r\n", b"235 welcome\r\n"]

    async def auth(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers.pop(0))

    async with scripted({**AUTH, "AUTH": auth}) as server, mailer_of(server, **SIGNED_IN) as mailer:
        assert isinstance(await mailer.send(mail()), Delivered)
    assert [line[:13] for _, line in server.heard if line.startswith(b"AUTH")] == [
        b"AUTH CRAM-MD5",
        b"AUTH PLAIN AG",
    ]


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (b"454 4.7.0 temporary failure\r\n", Failed, "smtp-454"),
        (b"421 closing\r\n", Failed, "smtp-421"),
        (b"334 no base64!\r\n", Failed, "smtp-protocol"),
        (b"530 5.7.0 no\r\n", Postponed, "smtp-530"),
        (hang_up, Failed, "smtp-connection"),
    ],
    ids=["454", "421", "challenge", "530", "drops"],
)
async def test_signing_in_that_fails_is_never_the_addressees_fault(
    answer: bytes | Act, kind: type, reason: str
) -> None:
    """Whatever comes of signing in, the mail is tried again."""
    script: dict[str, bytes | Act] = {**AUTH, "AUTH": answer}
    async with scripted(script) as server, mailer_of(server, **SIGNED_IN) as mailer:
        outcome = await mailer.send(mail())
    assert isinstance(outcome, kind)
    assert getattr(outcome, "reason") == reason  # noqa: B009 - of either kind
    assert getattr(outcome, "retryable", True)


async def test_a_server_that_lets_nobody_sign_in_is_ours_to_mend() -> None:
    """Where the server offers no way to sign in, the mail waits and the password stays here."""
    async with scripted() as server, mailer_of(server, **SIGNED_IN) as mailer:
        outcome = await mailer.send(mail())
    assert isinstance(outcome, Postponed)
    assert outcome.reason == "smtp-no-auth"
    assert "AUTH" not in server.said()


async def test_a_server_that_repeats_our_password_does_not_get_it_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What the server says back is kept without our password, in whatever form it had it."""
    said = b"535 AGh1YgBzZXNhbWUtc2VzYW1l c2VzYW1lLXNlc2FtZQ== sesame-sesame is wrong\r\n"
    async with (
        scripted({**AUTH, "AUTH": said}) as server,
        mailer_of(server, **SIGNED_IN) as mailer,
    ):
        with caplog.at_level(logging.ERROR, logger="huntaze"):
            await mailer.send(mail())
    (record,) = [each for each in caplog.records if each.message == "mail.stopped"]
    assert record.__dict__["detail"].endswith("535 … … … is wrong")


# --------------------------------------------------------------------------- the end


async def test_an_attempt_that_is_given_up_leaves_no_connection() -> None:
    """Whoever stops waiting for a mail frees its place, and the connection is closed at once."""
    async with scripted({"RCPT": never}, {}) as server, mailer_of(server, connections=1) as mailer:
        given_up = asyncio.create_task(mailer.send(mail("dlv_1")))
        await eventually(lambda: "RCPT" in server.said())
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        await eventually(lambda: server.open_connections == 0)
        assert isinstance(await mailer.send(mail("dlv_2")), Delivered)


async def test_closing_breaks_off_what_is_under_way() -> None:
    """A mail that is under way when the hub stops is postponed, and nothing stays open."""
    async with scripted({".": never}) as server, mailer_of(server) as mailer:
        sending = asyncio.create_task(mailer.send(mail()))
        await eventually(lambda: server.contents)
        async with asyncio.timeout(5):
            await mailer.close()
            outcome = await sending
    assert isinstance(outcome, Postponed)


async def test_a_server_that_ignores_goodbyes_does_not_hold_up_the_end() -> None:
    """QUIT that is not answered is not waited for beyond its two seconds."""
    async with scripted({"QUIT": never}) as server, mailer_of(server) as mailer:
        await mailer.send(mail())
        async with asyncio.timeout(4):
            await mailer.close()
        assert mailer.open_connections == 0
