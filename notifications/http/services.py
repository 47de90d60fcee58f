"""What the API is made of: handed in by the composition root.

What belongs to another adapter (tokens, the form of inbox items) is here only as the shape that
this one needs.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, cast

from fastapi import Request

from notifications.browsing import Pulse, Tenancy
from notifications.catalogue import Catalogue
from notifications.dead_letters import DeadLetters
from notifications.deliveries import Delivery
from notifications.directory import User
from notifications.endpoints import Endpoints, HealthQueries
from notifications.events import Event
from notifications.http.limits import Publishes
from notifications.http.wire import BODY_WITHIN_S
from notifications.hub import Hub
from notifications.mailing import MailReports, Suppressions
from notifications.ports import (
    Clock,
    Dice,
    Directory,
    Inbox,
    Keys,
    PushGateway,
    Queries,
    Registry,
    Rounds,
)
from notifications.records import InboxItem, Mail
from notifications.replaying import Replaying
from notifications.tally import Tally
from notifications.tenants import Tenants

Probe = Callable[[], Awaitable[None]]
"""Raises a `HuntazeError` where what it looks at is not well."""

ClientUrl = Callable[[str, str, str], Awaitable[tuple[str, str]]]
"""Tenant, user, and the request's own base URL (`https://hub.example`) to a client's URL and
subprotocol. Asynchronous, because the cloud's service may have to be asked."""

RenderMail = Callable[[Event, User, Delivery], Mail]
"""The mail of a delivery, as its channel would render it now."""


class UserTokens(Protocol):
    """Tokens that open one user's inbox."""

    def issue(self, tenant_id: str, user_id: str, expires_in_s: int) -> tuple[str, datetime]:
        """A token, and when it expires."""
        ...

    def read(self, token: str) -> tuple[str, str]:
        """Its tenant and user; a `HuntazeError` where it opens nothing."""
        ...


class InboxForms(Protocol):
    """How inbox items look outside."""

    def item(self, item: InboxItem) -> Mapping[str, Any]:
        """An item as JSON."""
        ...

    def changed(self, item: InboxItem | None, unread: int) -> bytes:
        """What is pushed when the user changed it; None where many changed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What `/readyz` and `/metrics` look at.

    Attributes:
        tally: Counts of this process.
        probes: By name: what must answer for the hub to be ready.
        sweep_at: When the last sweep ended, ms by the hub's clock; None before the first.
        sockets: How many clients are connected.
        sockets_away: How many lost their connection and may still come back to it.
        mails_waiting: How many mails wait for what their account may send.
        degraded: By part: why it does not work at present, where the hub does without it; a
            short constant.
    """

    tally: Tally
    probes: Mapping[str, Probe] = field(default_factory=dict)
    sweep_at: Callable[[], int | None] = lambda: None
    sockets: Callable[[], int] = lambda: 0
    sockets_away: Callable[[], int] = lambda: 0
    mails_waiting: Callable[[], int] = lambda: 0
    degraded: Callable[[], Mapping[str, str]] = dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What the console needs beside what the API does.

    Attributes:
        templates: The folder of its pages.
        secrets: What sessions are signed with, beside the admin's keys; newest first.
        subscriptions: Those that may have dead letters.
    """

    templates: Path
    tenancy: Tenancy
    pulse: Pulse
    render_mail: RenderMail
    subscriptions: tuple[str, ...]
    secrets: tuple[str, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that the API talks to.

    Attributes:
        publishes: How fast tenants may publish.
        most_keys: How many API keys a tenant may have.
        admin_keys: Open everything; newest first.
        email_reports_key: What who reports on mails must show; None takes no reports.
        client_url: Where a realtime client connects.
        clients_at: The origin of the sockets that clients connect to, where it is not the hub's.
        signalr_access: Where a SignalR client is redirected to, and its access token there.
        allowed_origins: Web origins whose pages may call the inbox routes.
        body_within_s: How long a request's body may take to come.
    """

    hub: Hub
    catalogue: Catalogue
    queries: Queries
    health: HealthQueries
    rounds: Rounds
    dead_letters: DeadLetters
    registry: Registry
    directory: Directory
    tenants: Tenants
    endpoints: Endpoints
    replaying: Replaying
    keys: Keys
    inbox: Inbox
    inbox_forms: InboxForms
    push: PushGateway
    suppressions: Suppressions
    mail_reports: MailReports
    user_tokens: UserTokens
    client_url: ClientUrl
    signalr_access: ClientUrl
    clients_at: str | None
    clock: Clock
    dice: Dice
    vitals: Vitals
    publishes: Publishes
    console: Console
    most_keys: int
    admin_keys: tuple[str, ...] = field(repr=False)
    email_reports_key: str | None = field(default=None, repr=False)
    allowed_origins: tuple[str, ...] = ()
    body_within_s: float = BODY_WITHIN_S


def services_of(request: Request) -> Services:
    """The services that the application was built with."""
    return cast("Services", request.app.state.services)
