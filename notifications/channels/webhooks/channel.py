"""The webhook channel: which endpoints an event goes to, and one attempt at one of them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from notifications import tracing
from notifications.channels.webhooks.signatures import sign
from notifications.deliveries import Delivery, Outcome, Parked, Skipped
from notifications.directory import Endpoint, EndpointState
from notifications.errors import FieldError
from notifications.events import Event
from notifications.ports import Clock, Directory
from notifications.records import Attempted, Placed, Route
from notifications.routing import goes_to
from notifications.spans import TRACEPARENT, posting

CONTENT_TYPE = "application/cloudevents+json"

MAX_HEADERS = 20
MAX_HEADER_VALUE = 4096
MAX_PATTERNS = 50
_MAX_PREPARED = 10_000

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_RESERVED = frozenset(
    (
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    )
)


class Sender(Protocol):
    """What makes the POST: `WebhookSender`, or what stands in for it."""

    async def post(
        self, endpoint_url: str, headers: Mapping[str, str], body: bytes, *, owner: str = ""
    ) -> Outcome:
        """One request; everything that the receiver does is in the outcome."""
        ...


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An endpoint and what all requests to it have in common."""

    endpoint: Endpoint
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Found:
    """A tenant's endpoints by id, and the endpoints that these were."""

    endpoints: Sequence[Endpoint]
    by_id: Mapping[str, Endpoint]


class WebhookChannel:
    """Delivers to customers' endpoints. Implements `ports.ChannelAdapter`."""

    def __init__(self, directory: Directory, sender: Sender, clock: Clock) -> None:
        self._directory = directory
        self._sender = sender
        self._clock = clock
        self._prepared: dict[tuple[str, str], _Prepared] = {}
        self._found: dict[str, _Found] = {}

    async def route(self, event: Event) -> Route:
        """The endpoints that ask for this type, whatever their state; a test goes to its own."""
        endpoints = await self._directory.endpoints(event.tenant_id)
        targets = tuple(each.id for each in endpoints if goes_to(event, each))
        return Route(targets=targets) if targets else Route(reason="no-endpoint")

    async def attempt(self, delivery: Delivery, event: Event) -> Attempted:
        """POST the event to its endpoint, if that is there and takes it."""
        endpoint = await self._find(delivery.tenant_id, delivery.target)
        if endpoint is None:
            return Attempted(outcome=Skipped(reason="endpoint-deleted"))
        if endpoint.state is not EndpointState.ACTIVE:
            return Attempted(outcome=Parked(reason=f"endpoint-{endpoint.state}"))
        headers = self._headers(endpoint, event)
        if tracing.active is not None:
            _add_trace(headers, posting(tracing.active, endpoint.url))
        outcome = await self._sender.post(
            endpoint.url, headers, event.body, owner=endpoint.tenant_id
        )
        return Attempted(outcome=outcome)

    async def rate(self, lane: str) -> int | None:
        """What the endpoint's customer asks for."""
        _, tenant_id, endpoint_id = lane.split("/", 2)
        endpoint = await self._find(tenant_id, endpoint_id)
        return endpoint.rate_per_second if endpoint else None

    async def recorded(self, delivery: Delivery, event: Event, placed: Placed) -> None:
        """Webhooks have no inbox: nothing to tell."""

    async def _find(self, tenant_id: str, endpoint_id: str) -> Endpoint | None:
        endpoints = await self._directory.endpoints(tenant_id)
        found = self._found.get(tenant_id)
        # By identity: while the directory remembers them, they are the same object.
        if found is None or found.endpoints is not endpoints:
            if len(self._found) >= _MAX_PREPARED:
                self._found.clear()
            found = _Found(endpoints, {each.id: each for each in endpoints})
            self._found[tenant_id] = found
        return found.by_id.get(endpoint_id)

    def _headers(self, endpoint: Endpoint, event: Event) -> dict[str, str]:
        timestamp = int(self._clock.wall().timestamp())
        webhook_id = event.webhook_id
        return {
            **self._common_headers(endpoint),
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(
                endpoint, webhook_id, timestamp, event.body, self._clock.now()
            ),
        }

    def _common_headers(self, endpoint: Endpoint) -> dict[str, str]:
        key = (endpoint.tenant_id, endpoint.id)
        prepared = self._prepared.get(key)
        # By identity: whatever changes about an endpoint makes it another object.
        if prepared is None or prepared.endpoint is not endpoint:
            if len(self._prepared) >= _MAX_PREPARED:
                self._prepared.clear()
            prepared = _Prepared(endpoint, _customer_headers(endpoint.headers))
            self._prepared[key] = prepared
        return prepared.headers


def _customer_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """What every request carries; reserved names are left out here too, whoever stored them."""
    kept = {name: value for name, value in headers.items() if not _is_reserved(name)}
    return {**kept, "content-type": CONTENT_TYPE}


def _add_trace(headers: dict[str, str], traceparent: str | None) -> None:
    """Name the trace, for receivers that take traces, too; a customer's own header stands."""
    if traceparent and not any(name.lower() == TRACEPARENT for name in headers):
        headers[TRACEPARENT] = traceparent


def _is_reserved(name: str) -> bool:
    lowered = name.lower()
    return lowered in _RESERVED or lowered.startswith("webhook-")


# --------------------------------------------------------------------------- what customers enter


def check_headers(headers: Mapping[str, str]) -> list[FieldError]:
    """What is wrong with the headers that an endpoint is to be sent."""
    errors = []
    if len(headers) > MAX_HEADERS:
        errors.append(FieldError("/headers", f"must be at most {MAX_HEADERS}"))
    seen: set[str] = set()
    for name, value in headers.items():
        complaint = _header_complaint(name, value)
        if complaint is None and name.lower() in seen:
            complaint = "is there twice: names are the same in any case"
        if complaint:
            errors.append(FieldError(f"/headers/{_escaped(name)}", complaint))
        seen.add(name.lower())
    return errors


def _header_complaint(name: str, value: str) -> str | None:
    if _TOKEN.fullmatch(name) is None:
        return "must be a header name: 1-128 letters, digits or !#$%&'*+-.^_`|~"
    if _is_reserved(name):
        return "is set by the hub and cannot be changed"
    if len(value) > MAX_HEADER_VALUE or _VALUE.fullmatch(value) is None:
        return f"must be 1-{MAX_HEADER_VALUE} printable ASCII characters, no spaces at the ends"
    return None


def check_event_types(patterns: Sequence[str], known: Sequence[str]) -> list[FieldError]:
    """What is wrong with the types that an endpoint asks for.

    Args:
        patterns: `*`, an exact type, or `job.*`.
        known: The catalogue's types.
    """
    if not 1 <= len(patterns) <= MAX_PATTERNS:
        return [FieldError("/eventTypes", f'must have 1-{MAX_PATTERNS} entries, e.g. ["*"]')]
    return [
        FieldError(f"/eventTypes/{place}", f"{pattern[:64]!r} is none of the event types")
        for place, pattern in enumerate(patterns)
        if not _matches_any(pattern, known)
    ]


def _matches_any(pattern: str, known: Sequence[str]) -> bool:
    if pattern == "*":
        return True
    if pattern.endswith(".*"):
        return any(each.startswith(pattern[:-1]) for each in known)
    return pattern in known


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
