"""What every mailer keeps: one suite for the `Mailer` port, over the folder and real servers."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import cast

import pytest

from notifications.channels.email.mailers import open_mailer
from notifications.deliveries import Delivered, Failed
from notifications.errors import InvalidInput
from notifications.ports import Mailer
from notifications.settings import Settings
from notifications.smtp_url import Relay, Tls
from notifications.timing import SystemClock
from tests.acs_world import WIDE, acs_endpoint, budget
from tests.mail_servers import SENDER, mail, mail_server


@dataclass(frozen=True, slots=True)
class World:
    """A mailer, and what arrived where it carries mails to.

    Attributes:
        mailer: The mailer.
        arrived: The messages, as they arrived.
    """

    mailer: Mailer
    arrived: Callable[[], Sequence[bytes]]

    def messages(self) -> list[EmailMessage]:
        """The messages, read as a mail program does."""
        return [
            cast("EmailMessage", email.message_from_bytes(each, policy=email.policy.default))
            for each in self.arrived()
        ]


@asynccontextmanager
async def folder(path: Path) -> AsyncIterator[World]:
    async with open_mailer(Settings(email_from=SENDER), path, SystemClock()) as mailer:
        yield World(mailer, lambda: [each.read_bytes() for each in sorted(path.glob("*"))])


@asynccontextmanager
async def smtp(path: Path) -> AsyncIterator[World]:
    async with mail_server() as server:
        relay = Relay(host="127.0.0.1", port=server.port, tls=Tls.NONE)
        settings = Settings(email="smtp", smtp=relay, email_from=SENDER)
        async with open_mailer(settings, path, SystemClock()) as mailer:
            yield World(mailer, lambda: [each.content for each in server.mails])


@asynccontextmanager
async def acs(path: Path) -> AsyncIterator[World]:
    async with acs_endpoint(path) as endpoint, budget(path.parent) as account:
        settings = Settings(email="acs", acs=endpoint.resource, email_from=SENDER, acs_limits=WIDE)
        async with open_mailer(settings, path, SystemClock(), account) as mailer:
            yield World(mailer, endpoint.mails)


@pytest.fixture(params=[folder, smtp, acs], ids=["folder", "smtp", "acs"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Each mailer in turn."""
    async with request.param(tmp_path / "mail") as made:
        yield made


async def test_a_mail_that_is_delivered_has_arrived(world: World) -> None:
    """When `send` says `Delivered`, the whole message is there, as it was rendered."""
    sent = mail(subject="Prêt\u00a0!", to_name="Zoé « Sam »", text="Bonjour\n\n.\n..\nFrom me\n")
    assert isinstance(await world.mailer.send(sent), Delivered)
    (arrived,) = world.messages()
    assert arrived["Subject"] == sent.subject
    (to,) = arrived["To"].addresses
    assert (to.display_name, to.addr_spec) == (sent.to_name, sent.to)
    body = arrived.get_body(("plain",))
    assert body is not None
    assert body.get_content().replace("\r\n", "\n") == sent.text


async def test_a_mail_that_is_sent_again_is_the_same(world: World) -> None:
    """The same operation id again: the same Message-ID, date and bytes, so that it can be told."""
    for _ in range(2):
        assert isinstance(await world.mailer.send(mail()), Delivered)
    assert len(set(world.arrived())) == 1
    assert {each["Message-ID"] for each in world.messages()} == {
        "<dlv_0000000015lk7@huntaze.example>"
    }


async def test_many_at_once_all_arrive(world: World) -> None:
    """Mails that are sent together arrive each once, each under its own id."""
    ids = [f"dlv_{number}" for number in range(70)]
    outcomes = await asyncio.gather(*(world.mailer.send(mail(each)) for each in ids))
    assert all(isinstance(each, Delivered) for each in outcomes)
    assert sorted(each["X-Huntaze-Delivery"] for each in world.messages()) == sorted(ids)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nobody",
        "a@example.com, b@example.com",
        "a@example.com\r\nRCPT TO:<b@example.com>",
        "a@example.com> SIZE=1\r\nDATA",
        "a\x00@example.com",
        "a\u2028b@example.com",
        "zoé\u202e@example.com",
        "a@exam ple.com",
    ],
)
async def test_what_is_no_address_fails_for_good(world: World, address: str) -> None:
    """An address that could be anything else ends the mail; nothing is sent, others go on."""
    outcome = await world.mailer.send(mail(to=address))
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("invalid-address", False)
    assert world.arrived() == []
    assert isinstance(await world.mailer.send(mail()), Delivered)


@pytest.mark.parametrize("field", ["subject", "to_name", "operation_id", "locale"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x00", "\x0b", "\x85", "\u2028", "\u2029"])
@pytest.mark.fault("end a header within a value", "attackers")
async def test_nothing_in_a_mail_makes_a_header(world: World, field: str, end: str) -> None:
    """What ends a line, in whatever becomes a header, makes neither a header nor a recipient."""
    await world.mailer.send(mail())
    injected = f"x{end}Bcc: all@example.com{end}{end}<script>"
    assert isinstance(await world.mailer.send(mail(**{field: injected})), Delivered)
    usual, arrived = world.messages()[0], world.messages()[-1]
    assert arrived.keys() == usual.keys()
    assert len(list(arrived.iter_parts())) == 2


async def test_a_very_long_name_arrives_on_lines_that_servers_take(world: World) -> None:
    """No line is longer than the 998 bytes that a mail may have, whatever is put in it."""
    long = mail(to_name="x" * 5_000, subject="é" * 5_000, text="y" * 50_000, html="z" * 50_000)
    assert isinstance(await world.mailer.send(long), Delivered)
    (arrived,) = world.arrived()
    assert max(map(len, arrived.split(b"\r\n"))) <= 998


async def test_every_line_ends_as_it_must(world: World) -> None:
    """Bare carriage returns and line feeds of a text arrive as line ends, never alone."""
    assert isinstance(await world.mailer.send(mail(text="a\rb\nc\r\nd\n.\n\r.\r\n")), Delivered)
    (arrived,) = world.arrived()
    assert b"\r" not in arrived.replace(b"\r\n", b"")
    assert b"\n" not in arrived.replace(b"\r\n", b"")


async def test_an_address_of_another_script_is_taken(world: World) -> None:
    """Where whatever carries the mail takes such addresses, the user gets it."""
    assert isinstance(await world.mailer.send(mail(to="zoé@exämple.com")), Delivered)
    (arrived,) = world.messages()
    assert "zoé@xn--exmple-cua.com" in str(arrived["To"])


async def test_a_mailer_that_works_has_no_trouble(world: World) -> None:
    """Nothing is said to be ours to mend while mails go out."""
    await world.mailer.send(mail())
    assert world.mailer.trouble() is None


@pytest.mark.parametrize("kind", ["folder", "smtp"])
async def test_a_wrong_sender_is_told_at_the_start(kind: str, tmp_path: Path) -> None:
    """A sender that is no address is refused before any mail."""
    settings = Settings(email=kind, smtp=Relay(host="127.0.0.1"), email_from="nobody")
    with pytest.raises(InvalidInput, match="/from"):
        async with open_mailer(settings, tmp_path, SystemClock()):
            pass
