"""The API of a hub: hands the parts of an `OpenHub` to `http`. Like `bootstrap`, it may import
every adapter, and only the hosts import it."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI
from starlette.routing import Route, WebSocketRoute

from notifications.addresses import Network, check_url
from notifications.bootstrap import OpenHub
from notifications.bus.topology import CONSUMERS
from notifications.catalogue import Catalogue
from notifications.channels.realtime.gateways import SIGNALR_SOCKETS, SOCKETS
from notifications.channels.realtime.items import inbox_changed, item_json
from notifications.channels.realtime.service_http import SERVICE_METHODS
from notifications.channels.realtime.tokens import UserTokens
from notifications.channels.webhooks import signatures
from notifications.channels.webhooks.channel import check_event_types, check_headers
from notifications.deliveries import Delivery
from notifications.directory import SigningSecret, User
from notifications.endpoints import Endpoints
from notifications.errors import FieldError
from notifications.events import Event
from notifications.http.app import build_app
from notifications.http.health import figures
from notifications.http.limits import Publishes
from notifications.http.services import Console, RenderMail, Services, Vitals
from notifications.http.wire import BODY_WITHIN_S
from notifications.ids import public_id
from notifications.ports import Dice
from notifications.rates import Rates
from notifications.records import InboxItem, Mail
from notifications.rendering import Renderer
from notifications.retries import MINUTE, SECOND
from notifications.shipped import TEMPLATES
from notifications.stores.standing import swept_at
from notifications.stores.tenants import SqlTenants
from notifications.stores.writable import WriteProbe
from notifications.telemetry.opening import observe


def create_app(
    hub: OpenHub, *, body_within_s: float = BODY_WITHIN_S, sweeps: bool = True
) -> FastAPI:
    """The API and the sockets of a hub.

    Args:
        hub: Its parts.
        body_within_s: How long a request's body may take to come.
        sweeps: Whether this process does; where another does, the ledger says when.
    """
    swept = SweptHere(hub) if sweeps else SweptElsewhere(hub)
    app = build_app(
        Services(
            hub=hub.hub,
            catalogue=hub.catalogue,
            queries=hub.queries,
            health=hub.queries,
            rounds=hub.upkeep,
            dead_letters=hub.dead_letters,
            registry=hub.directory,
            directory=hub.directory,
            tenants=SqlTenants(hub.database, hub.sweep.nudge),
            endpoints=Endpoints(
                hub.directory,
                hub.directory,
                hub=hub.hub,
                queries=hub.queries,
                checks=EndpointChecks(hub.settings.webhook_allowed_networks, hub.catalogue),
                signing=EndpointSigning(hub.dice),
                clock=hub.clock,
                dice=hub.dice,
                nudge=hub.sweep.nudge,
                attempt_limit=int(hub.settings.webhook_timeout * SECOND),
                most=hub.settings.limit_endpoints,
            ),
            replaying=hub.replaying,
            keys=hub.keys,
            inbox=hub.inbox,
            inbox_forms=RealtimeForms(),
            push=hub.realtime.push,
            suppressions=hub.mails.suppressions,
            mail_reports=hub.mails.reports,
            email_reports_key=hub.settings.email_reports_key,
            user_tokens=UserTokens(hub.secrets.user_token_secrets, hub.clock),
            client_url=hub.realtime.client_url,
            signalr_access=hub.realtime.signalr_access,
            clients_at=hub.realtime.clients_at,
            clock=hub.clock,
            dice=hub.dice,
            vitals=Vitals(
                tally=hub.tally,
                probes={
                    "database": swept.probe,
                    "database-writes": WriteProbe(hub.database, hub.clock),
                },
                sweep_at=swept.at,
                sockets=hub.realtime.sockets.count,
                sockets_away=hub.realtime.sockets.away,
                mails_waiting=hub.mails.waiting,
                degraded=lambda: {"email": why} if (why := hub.mails.mailer.trouble()) else {},
            ),
            publishes=Publishes(Rates(hub.settings.limit_publishes), hub.clock),
            console=Console(
                templates=TEMPLATES / "console",
                tenancy=hub.browsing,
                pulse=hub.browsing,
                render_mail=mail_renderer(hub.renderer),
                subscriptions=tuple(sorted(CONSUMERS.values())),
                secrets=hub.secrets.user_token_secrets,
            ),
            most_keys=hub.settings.limit_keys,
            admin_keys=hub.secrets.admin_keys,
            allowed_origins=hub.settings.allowed_origins,
            body_within_s=body_within_s,
        )
    )
    sockets = hub.realtime.sockets
    for path in SOCKETS:
        app.router.routes.append(WebSocketRoute(path, sockets.endpoint))
    for path in SIGNALR_SOCKETS:
        app.router.routes.append(WebSocketRoute(path, sockets.signalr_endpoint))
    for path, answer in {**hub.realtime.routes, **hub.mails.routes}.items():
        app.router.routes.append(Route(path, answer, methods=SERVICE_METHODS))
    hub.beside.mount(app)
    observe(lambda: figures(app))
    return app


class EndpointChecks:
    """Implements `endpoints.Checks` by the webhook channel's rules."""

    def __init__(self, allowed: Sequence[Network], catalogue: Catalogue) -> None:
        self._allowed = allowed
        self._known = tuple(each.name for each in catalogue.types())

    def url(self, url: str) -> Sequence[FieldError]:
        """Where it leads."""
        return check_url(url, self._allowed)

    def headers(self, headers: Mapping[str, str]) -> Sequence[FieldError]:
        """What is sent along."""
        return check_headers(headers)

    def event_types(self, patterns: Sequence[str]) -> Sequence[FieldError]:
        """What it asks for."""
        return check_event_types(patterns, self._known)


class EndpointSigning:
    """Implements `endpoints.Signing` by Standard Webhooks."""

    def __init__(self, dice: Dice) -> None:
        self._dice = dice

    def new(self) -> SigningSecret:
        """A fresh generation."""
        return signatures.new_secret(self._dice)

    def rotate(self, secrets: Sequence[SigningSecret], now: int) -> tuple[SigningSecret, ...]:
        """A fresh generation in front; the former one signs along for a day."""
        return signatures.rotate(secrets, self.new(), now)

    def secret_text(self, secret: SigningSecret) -> str:
        """`whsec_…`."""
        return signatures.secret_text(secret)

    def public_key_text(self, secret: SigningSecret) -> str:
        """`whpk_…`."""
        return signatures.public_key_text(secret)


class RealtimeForms:
    """Implements `http.services.InboxForms` by what the realtime channel pushes."""

    def item(self, item: InboxItem) -> Mapping[str, Any]:
        """An item as JSON."""
        return item_json(item)

    def changed(self, item: InboxItem | None, unread: int) -> bytes:
        """What is pushed when the user changed it."""
        return inbox_changed(item, unread)


def mail_renderer(renderer: Renderer) -> RenderMail:
    """Mails as the e-mail channel renders them."""

    def render(event: Event, user: User, delivery: Delivery) -> Mail:
        return renderer.mail(event, user, delivery=delivery, operation_id=public_id(delivery))

    return render


class SweptHere:
    """When this process last swept."""

    def __init__(self, hub: OpenHub) -> None:
        self._hub = hub

    async def probe(self) -> None:
        """Raises `StoreUnavailable` where the database does not answer."""
        await self._hub.database.read(
            lambda connection: connection.execute(sa.text("SELECT 1")).all()
        )

    def at(self) -> int | None:
        """Ms since the epoch; before the first, since when it is waited for."""
        return self._hub.sweep.last_at or self._hub.sweep.began_at


class SweptElsewhere:
    """When any process last began to sweep, as the ledger said when it was last asked."""

    def __init__(self, hub: OpenHub) -> None:
        self._hub = hub
        self._at = 0
        self._asked = 0

    async def probe(self) -> None:
        """Raises `StoreUnavailable` where the database does not answer."""
        at = await self._hub.database.read(swept_at)
        self._at = at or 0
        self._asked = self._hub.clock.now()

    def at(self) -> int | None:
        """Ms since the epoch, and no earlier than it is waited for; None where nobody asked within
        a minute, since another process may have swept meanwhile."""
        if self._hub.clock.now() - self._asked > MINUTE:
            return None
        return max(self._at, self._hub.sweep.began_at)
