"""The e-mail channel, over the real renderer and mail folder."""

import asyncio
import email
import email.policy
import html
import json
import logging
import shutil
from collections.abc import Sequence
from datetime import datetime

import pytest

from notifications.channels.email.channel import EmailChannel
from notifications.channels.email.folder import FolderMailer
from notifications.deliveries import Delivered, Failed, Outcome, Skipped
from notifications.directory import Endpoint, Locale, Role, User
from notifications.ids import public_id
from notifications.records import Attempted, InboxEntry, InboxItem, Mail, Placed, Route
from notifications.rendering import Renderer
from tests.event_samples import NOW, TEMPLATES, delivery, example, minimal, user

RENDERER = Renderer(TEMPLATES)


class People:
    """A directory in memory."""

    def __init__(self, *users: User) -> None:
        self._users = {(each.tenant_id, each.id): each for each in users}

    def forget(self, tenant_id: str, user_id: str) -> None:
        """Delete a user."""
        del self._users[tenant_id, user_id]

    async def user(self, tenant_id: str, user_id: str) -> User | None:
        """That user, or None."""
        return self._users.get((tenant_id, user_id))

    async def owners(self, tenant_id: str) -> Sequence[User]:
        """The tenant's owners."""
        return [
            each
            for (tenant, _), each in self._users.items()
            if tenant == tenant_id and each.role is Role.OWNER
        ]

    async def endpoints(self, tenant_id: str) -> Sequence[Endpoint]:
        """None: this directory is about people."""
        return []


class Noon:
    """A clock that stands still."""

    def now(self) -> int:
        """Noon, in Paris."""
        return int(NOW.timestamp() * 1000)

    def wall(self) -> datetime:
        """The same."""
        return NOW


class NeverMailer:
    """A mail server that does not answer."""

    async def send(self, mail: Mail) -> Outcome:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def channel(folder, *users: User) -> EmailChannel:
    """The channel over a mail folder."""
    return EmailChannel(
        People(*users), RENDERER, FolderMailer(folder, "notify@huntaze.example"), Noon()
    )


OWNERS = (
    user(id="usr_b", role=Role.OWNER),
    user(id="usr_a", role=Role.OWNER, email="a@example.com"),
    user(id="usr_none", role=Role.OWNER, email=None),
    user(id="usr_other", tenant_id="other", role=Role.OWNER),
    user(id="usr_member"),
)


@pytest.mark.parametrize(
    ("users", "route"),
    [
        ([user()], Route(targets=("usr_sample",))),
        ([user(email=None)], Route(reason="no-address")),
        ([user(email="")], Route(reason="no-address")),
        ([], Route(reason="no-user")),
        ([user(tenant_id="other")], Route(reason="no-user")),
        ([user(id="usr_owner", role=Role.OWNER)], Route(reason="no-user")),
    ],
)
async def test_an_event_of_a_user_goes_to_that_user(tmp_path, users, route):
    """An event that names a user goes to that user of that tenant and nobody else."""
    assert await channel(tmp_path, *users).route(example("job.succeeded")) == route


@pytest.mark.parametrize(
    ("users", "route"),
    [
        (OWNERS, Route(targets=("usr_b", "usr_a"))),
        ([user(role=Role.OWNER, email=None)], Route(reason="no-address")),
        ([user()], Route(reason="no-owner")),
        ([user(tenant_id="other", role=Role.OWNER)], Route(reason="no-owner")),
    ],
)
async def test_an_event_of_nobody_goes_to_the_owners(tmp_path, users, route):
    """An event without a user goes to each of the tenant's owners who has an address."""
    assert await channel(tmp_path, *users).route(minimal("budget.threshold")) == route


async def test_a_delivery_is_a_mail(tmp_path):
    """An attempt leaves a mail named for the delivery, to that user, in the user's language."""
    reader = user(Locale.FR, name="Zoé Exemple")
    outcome = await channel(tmp_path, reader).attempt(delivery(), example("payment.received"))
    assert outcome == Attempted(outcome=Delivered(detail=f"{public_id(delivery())}.eml"))
    (file,) = tmp_path.iterdir()
    arrived = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert str(arrived["To"]) == "Zoé Exemple <sam.sample@example.com>"
    assert arrived["Subject"] == "Paiement reçu\u00a0: 49,00\u00a0€ (Camille Exemple)"
    assert arrived["Content-Language"] == "fr"
    assert arrived["X-Huntaze-Delivery"] == public_id(delivery())
    assert arrived["Date"].datetime == NOW
    assert "Bonjour Zoé Exemple," in arrived.get_body(("plain",)).get_content()
    assert '<html lang="fr"' in arrived.get_body(("html",)).get_content()


async def test_a_second_attempt_leaves_the_same_mail(tmp_path):
    """An attempt that is made twice leaves one file with the same bytes."""
    mails = channel(tmp_path, user())
    await mails.attempt(delivery(), example("payment.received"))
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    await mails.attempt(delivery(), example("payment.received"))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


@pytest.mark.parametrize(
    ("users", "reason"),
    [
        ([], "user-deleted"),
        ([user(tenant_id="other")], "user-deleted"),
        ([user(email=None)], "no-address"),
    ],
)
async def test_who_is_gone_gets_no_mail(tmp_path, users, reason):
    """Between routing and attempt a user may go, or the address: that is skipped, not failed."""
    outcome = await channel(tmp_path, *users).attempt(delivery(), example("job.succeeded"))
    assert outcome == Attempted(outcome=Skipped(reason=reason))
    assert list(tmp_path.iterdir()) == []


async def test_a_bad_address_fails_for_good(tmp_path):
    """An address that is none is a final failure that says so."""
    mails = channel(tmp_path, user(email="nobody, all@example.com"))
    outcome = (await mails.attempt(delivery(), example("job.succeeded"))).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("invalid-address", False)


async def test_a_template_that_fails_ends_the_delivery(tmp_path, caplog):
    """A mail that cannot be rendered is a final failure, logged with template, line and reason."""
    templates = tmp_path / "templates"
    shutil.copytree(TEMPLATES, templates)
    (templates / "email/payment.received/en/subject.txt").write_text("{{ data.secret }}")
    mails = EmailChannel(
        People(user()), Renderer(templates), FolderMailer(tmp_path / "m", "n@example.com"), Noon()
    )
    with caplog.at_level(logging.ERROR, logger="huntaze"):
        outcome = (await mails.attempt(delivery(), example("payment.received"))).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("render", False)
    assert "email/payment.received/en/subject.txt, line 1" in (outcome.detail or "")
    (record,) = [each for each in caplog.records if each.message == "mail.not_rendered"]
    assert record.__dict__["template"] == "email/payment.received/en/subject.txt"
    assert record.__dict__["eventId"] == "evt-1"
    assert "Camille" not in json.dumps(record.__dict__, default=str)


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{% for x in range(10 ** 9) %}x{% endfor %}",
        "{{ data.payer.name }}{% include 'email/_base/layout.html' %}",
        "{{ self }}{{ event.__init__.__globals__ }}",
        "%(name)s {0.__class__} ${x} #{x}",
    ],
)
async def test_what_a_stranger_calls_himself_is_never_run(tmp_path, text):
    """What looks like a template in an event's data is shown as it is, in subject and bodies."""
    event = example("payment.received", payer={"name": text})
    outcome = (await channel(tmp_path, user()).attempt(delivery(), event)).outcome
    assert isinstance(outcome, Delivered)
    (file,) = tmp_path.iterdir()
    arrived = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    shown = html.unescape(arrived.get_body(("html",)).get_content())
    assert text in arrived["Subject"]
    assert text in " ".join(arrived.get_body(("plain",)).get_content().split())
    assert text in " ".join(shown.split())


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x85", "\u2028", "\u2029"])
async def test_a_name_that_ends_a_line_makes_no_header(tmp_path, end):
    """A payer's and a user's name that would begin another header arrive on one line each."""
    named = f"Eve{end}Bcc: all@example.com{end}{end}<p>"
    mails = channel(tmp_path, user(name=named))
    event = example("payment.received", payer={"name": named})
    assert isinstance((await mails.attempt(delivery(), event)).outcome, Delivered)
    (file,) = tmp_path.iterdir()
    arrived = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
    assert "Bcc" not in arrived
    assert "Eve Bcc: all@example.com" in arrived["Subject"]
    assert [each.addr_spec for each in arrived["To"].addresses] == ["sam.sample@example.com"]


@pytest.mark.parametrize(
    "subject",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ range(10 ** 9) | list }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ data }}",
        "{{ 1 // 0 }}",
        "{{ data.payer.name.format_map(data) }}{{ data.payer.nothing }}",
    ],
)
async def test_a_template_that_misbehaves_ends_the_delivery(tmp_path, subject):
    """Whatever a template does, the delivery ends with the reason `render`; nothing is mailed."""
    templates = tmp_path / "templates"
    shutil.copytree(TEMPLATES, templates)
    (templates / "email/payment.received/en/subject.txt").write_text(subject)
    mails = EmailChannel(
        People(user()), Renderer(templates), FolderMailer(tmp_path / "m", "n@example.com"), Noon()
    )
    outcome = (await mails.attempt(delivery(), example("payment.received"))).outcome
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("render", False)
    assert not (tmp_path / "m").exists()


async def test_a_mailer_that_never_answers_is_a_timeout():
    """An attempt ends within its limit, as a timeout that may be tried again."""
    mails = EmailChannel(People(user()), RENDERER, NeverMailer(), Noon(), time_limit=0.02)
    async with asyncio.timeout(5):
        outcome = (await mails.attempt(delivery(), example("job.succeeded"))).outcome
    assert isinstance(outcome, Failed)
    assert outcome.timed_out
    assert outcome.retryable


async def test_nothing_follows_a_recorded_mail(tmp_path):
    """The inbox is no matter of this channel: being told of an entry sends nothing."""
    entry = InboxEntry(
        tenant_id="acme",
        user_id="usr_sample",
        item_id="i",
        rank=0,
        event_id="evt-1",
        type="job.succeeded",
        title="t",
        body="",
        url=None,
        progress=None,
        created_at=0,
    )
    placed = Placed(item=InboxItem(entry=entry, seq=1, state="unread", updated_at=0), unread=1)
    await channel(tmp_path, user()).recorded(delivery(), example("job.succeeded"), placed)
    assert list(tmp_path.iterdir()) == []
