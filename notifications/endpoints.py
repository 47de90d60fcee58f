"""Customers' endpoints: making, changing, switching and testing them.

Pausing, disabling and resuming change the endpoint alone; what its deliveries make of it is the
dispatcher's and the sweep's.
"""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from notifications.deliveries import State
from notifications.directory import Endpoint, EndpointState, SigningSecret
from notifications.errors import (
    FieldError,
    HuntazeError,
    InvalidInput,
    NotFound,
    OverLimit,
    Unavailable,
)
from notifications.events import Channel
from notifications.hub import Hub
from notifications.ports import Clock, Dice, Directory, EndpointRegistry, Queries
from notifications.records import DeliveryView
from notifications.retries import SECOND

PAUSED_BY_HAND = "paused-by-hand"
"""The `state_reason` of an endpoint that somebody paused."""

TEST_MARGIN = 5 * SECOND
"""How much longer than an attempt can take `test` waits for its outcome."""

ROOM_AGAIN_S = 60.0
"""When it is sensible to ask again for what a tenant has enough of: somebody must act first."""

_LOOK_AGAIN = 50
_TEST_MESSAGE = "This is a test event from Huntaze."

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointHealth:
    """How an endpoint has been doing.

    Attributes:
        last_attempt_at: ms since the epoch; None where it was never tried.
        last_success_at: As above, of those that it took.
        recent_failures: How many of its last 20 deliveries it refused when they were last tried.
    """

    last_attempt_at: int | None = None
    last_success_at: int | None = None
    recent_failures: int = 0


class HealthQueries(Protocol):
    """How endpoints have been doing."""

    async def health(
        self, tenant_id: str, endpoint_ids: Sequence[str]
    ) -> Mapping[str, EndpointHealth]:
        """By endpoint id, from their last deliveries."""
        ...


class Checks(Protocol):
    """What may be entered for an endpoint; each answers with what is wrong."""

    def url(self, url: str) -> Sequence[FieldError]:
        """Where it leads."""
        ...

    def headers(self, headers: Mapping[str, str]) -> Sequence[FieldError]:
        """What is sent along."""
        ...

    def event_types(self, patterns: Sequence[str]) -> Sequence[FieldError]:
        """What it asks for."""
        ...


class Signing(Protocol):
    """An endpoint's keys and their text forms."""

    def new(self) -> SigningSecret:
        """A fresh generation."""
        ...

    def rotate(self, secrets: Sequence[SigningSecret], now: int) -> tuple[SigningSecret, ...]:
        """A fresh generation in front; the former one signs along for a day."""
        ...

    def secret_text(self, secret: SigningSecret) -> str:
        """`whsec_…`: shown once."""
        ...

    def public_key_text(self, secret: SigningSecret) -> str:
        """`whpk_…`: shown always."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What a customer entered; None leaves a field as it is.

    Attributes:
        rate_per_second: See `Endpoint`; 0 takes the limit away.
    """

    url: str | None = None
    event_types: tuple[str, ...] | None = None
    description: str | None = None
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    signatures: tuple[str, ...] | None = None
    rate_per_second: int | None = None


class Endpoints:
    """What is done with endpoints, for every way of asking for it."""

    def __init__(
        self,
        registry: EndpointRegistry,
        directory: Directory,
        *,
        hub: Hub,
        queries: Queries,
        checks: Checks,
        signing: Signing,
        clock: Clock,
        dice: Dice,
        nudge: Callable[[], None],
        attempt_limit: int,
        most: int,
    ) -> None:
        """Wire it.

        `nudge` asks for a sweep, which begins again with what was parked; `attempt_limit` is the
        longest an attempt can take, ms; `most` is how many endpoints a tenant may have.
        """
        self._registry = registry
        self._directory = directory
        self._hub = hub
        self._queries = queries
        self._checks = checks
        self._signing = signing
        self._clock = clock
        self._dice = dice
        self._nudge = nudge
        self._test_patience = attempt_limit + TEST_MARGIN
        self._most = most

    async def of(self, tenant_id: str) -> Sequence[Endpoint]:
        """A tenant's endpoints, oldest first."""
        found = await self._directory.endpoints(tenant_id)
        return sorted(found, key=lambda each: (each.created_at, each.id))

    async def get(self, tenant_id: str, endpoint_id: str) -> Endpoint:
        """One endpoint.

        Raises:
            NotFound: There is none.
        """
        for endpoint in await self._directory.endpoints(tenant_id):
            if endpoint.id == endpoint_id:
                return endpoint
        raise NotFound("no such endpoint")

    async def create(self, tenant_id: str, wishes: Wishes) -> Endpoint:
        """Make an endpoint; its `secrets` hold the one secret to be shown now.

        Raises:
            InvalidInput: Something that was entered is wrong.
            OverLimit: The tenant has as many as it may.
        """
        endpoint = Endpoint(
            tenant_id=tenant_id,
            id="ep_" + short_id(self._dice),
            url=wishes.url or "",
            secrets=(self._signing.new(),),
            created_at=self._clock.now(),
        )
        endpoint = _granted(endpoint, wishes)
        self._check(endpoint, wishes)
        if not await self._registry.save_endpoint(endpoint, most=self._most):
            raise OverLimit(
                f"A tenant has at most {self._most} endpoints: delete one that is not needed.",
                retry_after=ROOM_AGAIN_S,
            )
        return endpoint

    async def change(self, tenant_id: str, endpoint_id: str, wishes: Wishes) -> Endpoint:
        """Change what was entered.

        Raises:
            NotFound: There is no such endpoint.
            InvalidInput: Something that was entered is wrong.
        """

        def change(endpoint: Endpoint) -> Endpoint:
            changed = _granted(endpoint, wishes)
            self._check(changed, wishes)
            return changed

        return await self._change(tenant_id, endpoint_id, change)

    async def rotate(self, tenant_id: str, endpoint_id: str) -> Endpoint:
        """Give it a new secret, the first of its `secrets`; the former signs along for a day."""
        now = self._clock.now()
        return await self._change(
            tenant_id,
            endpoint_id,
            lambda each: replace(each, secrets=self._signing.rotate(each.secrets, now)),
        )

    async def pause(self, tenant_id: str, endpoint_id: str) -> Endpoint:
        """Take no deliveries for now; one that is disabled stays so, with its reason."""

        def pause(endpoint: Endpoint) -> Endpoint:
            if endpoint.state is not EndpointState.ACTIVE:
                return endpoint
            return replace(endpoint, state=EndpointState.PAUSED, state_reason=PAUSED_BY_HAND)

        return await self._change(tenant_id, endpoint_id, pause)

    async def resume(self, tenant_id: str, endpoint_id: str) -> Endpoint:
        """Take deliveries again; those that are parked begin again."""
        endpoint = await self._change(
            tenant_id,
            endpoint_id,
            lambda each: replace(each, state=EndpointState.ACTIVE, state_reason=None),
        )
        self._nudge()
        return endpoint

    async def delete(self, tenant_id: str, endpoint_id: str) -> None:
        """Remove it; its open deliveries end as skipped.

        Raises:
            NotFound: There is no such endpoint.
        """
        if not await self._registry.delete_endpoint(tenant_id, endpoint_id):
            raise NotFound("no such endpoint")
        self._nudge()  # the sweep ends what is beyond a commit's worth

    async def test(self, tenant_id: str, endpoint_id: str) -> DeliveryView:
        """Send `webhook.test` to this endpoint alone; its delivery once it was tried.

        Raises:
            NotFound: There is no such endpoint.
            Unavailable: It has not been tried within what an attempt may take.
        """
        await self.get(tenant_id, endpoint_id)
        event_id = "test-" + short_id(self._dice)
        (published,) = await self._hub.publish(
            [
                {
                    "specversion": "1.0",
                    "id": event_id,
                    "source": "/huntaze/webhooks",
                    "type": "webhook.test",
                    "subject": endpoint_id,
                    "data": {"endpointId": endpoint_id, "message": _TEST_MESSAGE},
                }
            ],
            tenant_id=tenant_id,
        )
        if isinstance(published, HuntazeError):
            raise published
        return await self._tried(tenant_id, event_id)

    def secret(self, endpoint: Endpoint) -> str:
        """The newest secret's text, for whoever just made or rotated it."""
        return self._signing.secret_text(endpoint.secrets[0])

    def public_key(self, endpoint: Endpoint) -> str:
        """The newest public key's text."""
        return self._signing.public_key_text(endpoint.secrets[0])

    async def _change(
        self, tenant_id: str, endpoint_id: str, change: Callable[[Endpoint], Endpoint]
    ) -> Endpoint:
        changed = await self._registry.change_endpoint(tenant_id, endpoint_id, change)
        if changed is None:
            raise NotFound("no such endpoint")
        return changed

    def _check(self, endpoint: Endpoint, wishes: Wishes) -> None:
        errors: list[FieldError] = []
        if wishes.url is not None or not endpoint.url:
            errors += self._checks.url(endpoint.url)
        if wishes.headers is not None:
            errors += self._checks.headers(endpoint.headers)
        if wishes.event_types is not None:
            errors += self._checks.event_types(endpoint.event_types)
        if errors:
            raise InvalidInput(errors)

    async def _tried(self, tenant_id: str, event_id: str) -> DeliveryView:
        give_up_at = self._clock.now() + self._test_patience
        while (now := self._clock.now()) < give_up_at:
            view = await self._queries.event(tenant_id, event_id)
            for delivery in view.deliveries if view else ():
                if delivery.delivery.channel is Channel.WEBHOOK and _is_tried(delivery):
                    return delivery
            await self._clock.sleep_until(now + _LOOK_AGAIN)
        raise Unavailable(f"test event {event_id} is on its way, and was not tried yet")


def short_id(dice: Dice) -> str:
    """20 unguessable characters of base 32: 100 bits, safe in URLs, lower case."""
    return base64.b32encode(dice.token(13))[:20].decode().lower()


def _granted(endpoint: Endpoint, wishes: Wishes) -> Endpoint:
    return replace(
        endpoint,
        url=_or(wishes.url, endpoint.url),
        event_types=_or(wishes.event_types, endpoint.event_types),
        description=_or(wishes.description, endpoint.description),
        headers=_or(wishes.headers, endpoint.headers),
        signatures=_or(wishes.signatures, endpoint.signatures),
        rate_per_second=_or(wishes.rate_per_second, endpoint.rate_per_second) or None,
    )


def _or(wish: T | None, otherwise: T) -> T:
    return otherwise if wish is None else wish


def _is_tried(view: DeliveryView) -> bool:
    return bool(view.attempts) or view.delivery.state is not State.PENDING
