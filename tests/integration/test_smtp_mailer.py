"""The SMTP mailer against a real server: encryption, signing in, connections, refusals."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from notifications.channels.email.smtp import SmtpMailer, examine
from notifications.channels.email.smtp_pool import IDLE_MS, MAILS_PER_SESSION
from notifications.deliveries import Delivered, Failed, Outcome, Postponed
from notifications.smtp_url import Relay, Tls
from notifications.testing import ManualClock
from tests.mail_servers import SENDER, MailServer, eventually, mail, mail_server
from tests.webhook_receivers import Certificate, self_signed

PASSWORD = "a pass/word: with @ in it"
ACCOUNTS = {"hub@example.com": PASSWORD}
SIGNED_IN = {"username": "hub@example.com", "password": PASSWORD}


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate for localhost and 127.0.0.1."""
    return self_signed(tmp_path)


@contextlib.asynccontextmanager
async def mailer_of(
    server: MailServer, clock: ManualClock | None = None, **relay: Any
) -> AsyncIterator[SmtpMailer]:
    """A mailer that uses the server, without encryption unless it is asked for."""
    fields = {"host": "127.0.0.1", "port": server.port, "tls": Tls.NONE, "timeout": 10.0, **relay}
    async with SmtpMailer(Relay(**fields), SENDER, clock or ManualClock()) as mailer:
        yield mailer


def failure(outcome: Outcome) -> Failed:
    """The failure that it is."""
    assert isinstance(outcome, Failed), outcome
    return outcome


def reason(outcome: Outcome) -> tuple[str, str]:
    """The kind of outcome, and why."""
    assert isinstance(outcome, Failed | Postponed), outcome
    kind = "postponed" if isinstance(outcome, Postponed) else "retried"
    if isinstance(outcome, Failed) and not outcome.retryable:
        kind = "final"
    return kind, outcome.reason


# --------------------------------------------------------------------------- what goes over


async def test_the_envelope_is_the_senders_and_the_users() -> None:
    """One recipient, bounces to the sender, the size told before; the server's word is kept."""
    async with mail_server() as server, mailer_of(server) as mailer:
        outcome = await mailer.send(mail())
    (arrived,) = server.mails
    assert outcome == Delivered(status=250, detail="taken as 1")
    assert (arrived.sender, arrived.recipients) == (
        "notify@huntaze.example",
        ("sam.sample@example.com",),
    )
    assert arrived.options == (f"SIZE={len(arrived.content)}",)


async def test_bounces_go_where_they_are_wanted() -> None:
    """With `bounces`, mail servers report there, and the mail still comes from the sender."""
    async with mail_server() as server, mailer_of(server, bounces="b@huntaze.example") as mailer:
        await mailer.send(mail())
    (arrived,) = server.mails
    assert arrived.sender == "b@huntaze.example"
    assert b"From: Huntaze <notify@huntaze.example>" in arrived.content


async def test_an_address_of_another_script_asks_for_what_it_needs() -> None:
    """SMTPUTF8 and BODY=8BITMIME are asked for where they are needed."""
    async with mail_server() as server, mailer_of(server) as mailer:
        assert isinstance(await mailer.send(mail(to="zoé@example.com")), Delivered)
    (arrived,) = server.mails
    assert arrived.recipients == ("zoé@example.com",)
    assert set(arrived.options) >= {"SMTPUTF8", "BODY=8BITMIME"}
    assert "To: Sam Sample <zoé@example.com>".encode() in arrived.content


async def test_a_server_without_smtputf8_ends_such_a_mail() -> None:
    """Where the server takes ASCII alone, the reason says so, and nothing was begun."""
    async with (
        mail_server(options={"enable_SMTPUTF8": False}) as server,
        mailer_of(server) as mailer,
    ):
        for _ in range(2):  # on a new connection, and on a kept one
            outcome = failure(await mailer.send(mail(to="zoé@example.com")))
            assert reason(outcome) == ("final", "smtp-no-smtputf8")
        assert isinstance(await mailer.send(mail()), Delivered)
    assert server.accepted == 1
    assert "SMTPUTF8" in (outcome.detail or "")


async def test_what_is_too_large_is_not_sent() -> None:
    """A mail over the size that the server announces ends, with both sizes, before it is sent."""
    async with (
        mail_server(options={"data_size_limit": 2_000}) as server,
        mailer_of(server) as mailer,
    ):
        outcome = failure(await mailer.send(mail(html="x" * 4_000)))
        assert isinstance(await mailer.send(mail()), Delivered)
    assert reason(outcome) == ("final", "smtp-too-large")
    assert "2000 at most" in (outcome.detail or "")
    assert len(server.mails) == 1


# --------------------------------------------------------------------------- encryption


@pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "starttls"])
async def test_mails_travel_encrypted(certificate: Certificate, implicit: bool) -> None:
    """TLS from the start, and by STARTTLS, both to a certificate that is trusted."""
    tls = Tls.IMPLICIT if implicit else Tls.STARTTLS
    async with (
        mail_server(tls=certificate.server_context(), implicit=implicit) as server,
        mailer_of(server, tls=tls, ca_file=certificate.path) as mailer,
    ):
        assert isinstance(await mailer.send(mail()), Delivered)
    assert server.mails[0].encrypted


@pytest.mark.parametrize("implicit", [True, False], ids=["smtps", "starttls"])
@pytest.mark.parametrize("wrong", ["unknown authority", "another name"])
async def test_a_wrong_certificate_is_ours_to_mend(
    certificate: Certificate, tmp_path: Path, implicit: bool, wrong: str
) -> None:
    """A certificate that does not verify gets no mail and no password, and exhausts nobody."""
    other = tmp_path / "other"
    other.mkdir()
    served = self_signed(other, name="mail.test", address="192.0.2.1")
    ca_file = certificate.path if wrong == "unknown authority" else served.path
    async with (
        mail_server(tls=served.server_context(), implicit=implicit, accounts=ACCOUNTS) as server,
        mailer_of(
            server,
            tls=Tls.IMPLICIT if implicit else Tls.STARTTLS,
            ca_file=ca_file,
            **SIGNED_IN,
        ) as mailer,
    ):
        assert reason(await mailer.send(mail())) == ("postponed", "smtp-certificate")
        assert mailer.trouble() == "smtp-certificate"
    assert (server.mails, server.attempts) == ([], [])


async def test_a_server_without_starttls_gets_nothing() -> None:
    """Where STARTTLS is required and not offered, neither password nor mail leaves unencrypted."""
    async with (
        mail_server(accounts=ACCOUNTS) as server,
        mailer_of(server, tls=Tls.STARTTLS, **SIGNED_IN) as mailer,
    ):
        assert reason(await mailer.send(mail())) == ("postponed", "smtp-no-starttls")
    assert (server.mails, server.attempts) == ([], [])


# --------------------------------------------------------------------------- signing in


@pytest.mark.parametrize("excluded", ["LOGIN", "PLAIN"])
async def test_signing_in_works_by_what_the_server_offers(
    certificate: Certificate, excluded: str
) -> None:
    """PLAIN or LOGIN, whichever there is, with any password."""
    async with (
        mail_server(
            tls=certificate.server_context(),
            accounts=ACCOUNTS,
            options={"auth_exclude_mechanism": [excluded]},
        ) as server,
        mailer_of(server, tls=Tls.STARTTLS, ca_file=certificate.path, **SIGNED_IN) as mailer,
    ):
        assert isinstance(await mailer.send(mail()), Delivered)
    assert server.mails[0].user == "hub@example.com"
    assert [mechanism for mechanism, _ in server.attempts] != [excluded]


async def test_a_refused_password_exhausts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is shown once, logged loudly with what to do, and every mail waits without an attempt."""
    clock = ManualClock()
    async with (
        mail_server(accounts={"hub@example.com": "another"}) as server,
        mailer_of(server, clock, **SIGNED_IN) as mailer,
    ):
        with caplog.at_level(logging.ERROR, logger="huntaze"):
            outcomes = [await mailer.send(mail(f"dlv_{number}")) for number in range(20)]
        assert {reason(each) for each in outcomes} == {("postponed", "smtp-535")}
        assert len(server.attempts) == 1
        assert mailer.trouble() == "smtp-535"
        (record,) = [each for each in caplog.records if each.message == "mail.stopped"]
        assert "HUNTAZE_SMTP_URL" in record.__dict__["advice"]
        assert PASSWORD not in str(record.__dict__)

        server.accounts["hub@example.com"] = PASSWORD
        clock.ms += outcomes[-1].again_in  # type: ignore[union-attr]
        outcomes = await asyncio.gather(*(mailer.send(mail(f"dlv_{n}")) for n in range(20)))
        assert all(isinstance(each, Delivered) for each in outcomes)
        assert mailer.trouble() is None


async def test_a_server_that_wants_a_password_we_lack_exhausts_nobody() -> None:
    """530 at the sender is about us, not about the addressee."""
    async with mail_server(accounts=ACCOUNTS) as server, mailer_of(server) as mailer:
        assert reason(await mailer.send(mail())) == ("postponed", "smtp-530")


async def test_a_sender_that_is_refused_is_ours_to_mend() -> None:
    """What the server thinks of our sender is no addressee's fault."""
    async with (
        mail_server(answers={"MAIL": ["553 5.7.1 not owned by you"]}) as server,
        mailer_of(server) as mailer,
    ):
        assert reason(await mailer.send(mail())) == ("postponed", "smtp-553")


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([], "unencrypted, signed in, takes mails of up to 32,768 KiB"),
        (["553 5.7.1 not owned by you"], "smtp-553"),
    ],
)
async def test_the_server_can_be_tried_without_a_mail(answers: list[str], found: str) -> None:
    """Signing in and the sender are tried as for a mail, and nothing is sent."""
    async with mail_server(accounts=ACCOUNTS, answers={"MAIL": answers}) as server:
        relay = Relay(host="127.0.0.1", port=server.port, tls=Tls.NONE, **SIGNED_IN)
        verdict = await examine(relay, SENDER)
    assert (verdict if isinstance(verdict, str) else verdict.reason) == found
    assert server.mails == []


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("command", "answer", "kind", "why"),
    [
        ("RCPT", "550 5.1.1 no such user", "final", "smtp-550"),
        ("RCPT", "553 5.1.3 no address", "final", "smtp-553"),
        ("RCPT", "550 5.1.1 User unknown in relay recipient table", "final", "smtp-550"),
        ("RCPT", "554 5.7.1 <a@b>: Relay access denied", "retried", "smtp-relay-denied"),
        ("RCPT", "550 relay not permitted", "retried", "smtp-relay-denied"),
        ("RCPT", "550 5.7.1 Unable to relay", "retried", "smtp-relay-denied"),
        ("RCPT", "450 4.2.1 mailbox busy", "retried", "smtp-450"),
        ("RCPT", "451 4.7.1 greylisted", "retried", "smtp-451"),
        ("RCPT", "452 4.2.2 mailbox full", "retried", "smtp-452"),
        ("RCPT", "530 5.7.0 authentication required", "postponed", "smtp-530"),
        ("RCPT", "200 strange", "retried", "smtp-protocol"),
        ("MAIL", "452 4.3.1 no room", "retried", "smtp-452"),
        ("MAIL", "552 5.3.4 too large", "final", "smtp-552"),
        ("MAIL", "421 4.3.2 closing", "retried", "smtp-421"),
        ("DATA", "554 5.7.1 spam", "final", "smtp-554"),
        ("DATA", "552 5.3.4 too large", "final", "smtp-552"),
        ("DATA", "451 4.3.0 try again", "retried", "smtp-451"),
    ],
)
async def test_refusals_are_told_apart(
    command: str, answer: str, kind: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Final, to be retried, or ours to mend: by what was refused and how."""
    async with mail_server(answers={command: [answer]}) as server, mailer_of(server) as mailer:
        outcome = await mailer.send(mail())
    assert reason(outcome) == (kind, why)
    assert server.mails == []
    logged = [each.message for each in caplog.records if each.levelname == "ERROR"]
    assert ("mail.not_relayed" in logged) == (why == "smtp-relay-denied")
    if why[5:].isdigit() and isinstance(outcome, Failed):
        assert outcome.status == int(why[5:])
        assert outcome.detail == answer[4:]


async def test_a_refused_mail_leaves_the_connection_to_the_next() -> None:
    """After a refusal the connection is used again, and the next mail has its own recipient."""
    answers = {"RCPT": ["550 no such user"], "DATA": ["451 later"]}
    async with mail_server(answers=answers) as server, mailer_of(server) as mailer:
        for number, address in enumerate(("a@example.com", "b@example.com", "c@example.com")):
            await mailer.send(mail(f"dlv_{number}", to=address))
    assert [each.recipients for each in server.mails] == [("c@example.com",)]
    assert server.accepted == 1


async def test_greylisting_is_waited_out() -> None:
    """451 first, 250 at the next attempt: the mail arrives, once."""
    async with (
        mail_server(answers={"RCPT": ["451 4.7.1 greylisted"]}) as server,
        mailer_of(server) as mailer,
    ):
        assert reason(await mailer.send(mail())) == ("retried", "smtp-451")
        assert isinstance(await mailer.send(mail()), Delivered)
    assert len(server.mails) == 1


async def test_a_long_answer_is_kept_short_and_clean() -> None:
    """What a server says is kept on one line, bounded, without what no terminal should get."""
    async with (
        mail_server(answers={"RCPT": ["550 no \x1b[31m" + "x" * 2_000]}) as server,
        mailer_of(server) as mailer,
    ):
        detail = failure(await mailer.send(mail())).detail or ""
    assert detail.startswith("no [31mxxx")
    assert len(detail) == 500


# --------------------------------------------------------------------------- connections


async def test_mails_share_connections() -> None:
    """Mails one after the other use one connection; many at once use no more than allowed."""
    async with mail_server() as server, mailer_of(server, connections=3) as mailer:
        for number in range(5):
            await mailer.send(mail(f"dlv_{number}"))
        assert server.accepted == 1
        outcomes = await asyncio.gather(*(mailer.send(mail(f"dlv_1{n}")) for n in range(40)))
        assert mailer.open_connections == server.accepted == 3
    assert all(isinstance(each, Delivered) for each in outcomes)
    assert len(server.mails) == 45


async def test_an_idle_connection_is_closed() -> None:
    """A connection that nobody used for half a minute is ended; the next mail opens one."""
    clock = ManualClock()
    async with mail_server() as server, mailer_of(server, clock) as mailer:
        await mailer.send(mail())
        assert mailer.open_connections == 1
        await clock.advance(IDLE_MS)
        await eventually(lambda: mailer.open_connections == 0)
        await mailer.send(mail("dlv_2"))
    assert [each.connection for each in server.mails] == [1, 2]


async def test_a_connection_does_not_go_on_for_ever() -> None:
    """After a hundred mails there is a new connection."""
    async with mail_server() as server, mailer_of(server) as mailer:
        for number in range(MAILS_PER_SESSION + 1):
            await mailer.send(mail(f"dlv_{number}"))
    assert {each.connection for each in server.mails} == {1, 2}


async def test_a_connection_that_died_is_replaced() -> None:
    """A kept connection that the server closed costs the next mail nothing."""
    async with mail_server() as server, mailer_of(server) as mailer:
        await mailer.send(mail("dlv_1"))
        server.hang_up()
        assert isinstance(await mailer.send(mail("dlv_2")), Delivered)
    assert [each.connection for each in server.mails] == [1, 2]


async def test_a_dead_connection_says_nothing_of_what_the_server_takes() -> None:
    """What a server can is asked of a connection that lives, not of one that was closed."""
    async with mail_server() as server, mailer_of(server) as mailer:
        await mailer.send(mail("dlv_1"))
        server.hang_up()
        await eventually(lambda: all(each.transport is None for each in server.connections))
        assert isinstance(await mailer.send(mail("dlv_2", to="zoé@example.com")), Delivered)


async def test_a_mailer_that_is_closed_leaves_nothing_open() -> None:
    """Closing ends every connection, and a mail after it is postponed."""
    async with mail_server() as server:
        async with mailer_of(server) as mailer:
            await asyncio.gather(*(mailer.send(mail(f"dlv_{number}")) for number in range(8)))
        assert mailer.open_connections == 0
        assert isinstance(await mailer.send(mail()), Postponed)
