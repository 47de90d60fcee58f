"""The hub's resources: which request each call is, and what it answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from notifications.client.calls import Calls, Page
from notifications.client.exchanges import Steps
from notifications.client.records import Delivery, Endpoint, Event, InboxItem, Unread

T = TypeVar("T")

ENDPOINTS = "/v1/webhook-endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[T]):
    """A list, to be read page by page.

    Attributes:
        kind: What is in it.
        path: Where it is.
        params: What narrows it down.
    """

    kind: type[T]
    path: str
    params: Mapping[str, str | int | None] = field(default_factory=dict)


class Resources(Calls):
    """The calls that have a name."""

    __slots__ = ()

    def page_of(self, listing: Listing[T], cursor: str | None) -> Steps[Page[T]]:
        """A page of a list; the first where there is no cursor."""
        return self.page(listing.kind, listing.path, {**listing.params, "cursor": cursor})

    # ---- events

    def event(self, event_id: str) -> Steps[Event]:
        return self.fetch(Event, "GET", _at("/v1/events", event_id))

    def events(self, event_type: str | None, user_id: str | None) -> Listing[Event]:
        return Listing(
            kind=Event, path="/v1/events", params={"type": event_type, "userId": user_id}
        )

    # ---- endpoints

    def endpoint(self, endpoint_id: str) -> Steps[Endpoint]:
        return self.fetch(Endpoint, "GET", _at(ENDPOINTS, endpoint_id))

    def endpoints(self) -> Listing[Endpoint]:
        return Listing(kind=Endpoint, path=ENDPOINTS)

    def create_endpoint(self, wishes: Mapping[str, Any]) -> Steps[Endpoint]:
        return self.fetch(Endpoint, "POST", ENDPOINTS, body=wishes)

    def change_endpoint(self, endpoint_id: str, wishes: Mapping[str, Any]) -> Steps[Endpoint]:
        return self.fetch(Endpoint, "PATCH", _at(ENDPOINTS, endpoint_id), body=wishes)

    def delete_endpoint(self, endpoint_id: str) -> Steps[None]:
        return self.call("DELETE", _at(ENDPOINTS, endpoint_id))

    def act_on_endpoint(self, endpoint_id: str, action: str) -> Steps[Endpoint]:
        path = _at(ENDPOINTS, endpoint_id, action)
        # Rotating twice would make two secrets, of which the caller gets to see one.
        return self.fetch(Endpoint, "POST", path, repeatable=action != "rotate-secret")

    def test_endpoint(self, endpoint_id: str) -> Steps[Delivery]:
        return self.fetch(Delivery, "POST", _at(ENDPOINTS, endpoint_id, "test"))

    # ---- deliveries

    def delivery(self, delivery_id: str) -> Steps[Delivery]:
        return self.fetch(Delivery, "GET", _at("/v1/deliveries", delivery_id))

    def deliveries(
        self,
        *,
        endpoint_id: str | None,
        state: str | None,
        event_id: str | None,
        channel: str | None,
    ) -> Listing[Delivery]:
        params = {
            "endpointId": endpoint_id,
            "state": state,
            "eventId": event_id,
            "channel": channel,
        }
        return Listing(kind=Delivery, path="/v1/deliveries", params=params)

    def retry_delivery(self, delivery_id: str) -> Steps[Delivery]:
        return self.fetch(Delivery, "POST", _at("/v1/deliveries", delivery_id, "retry"))

    # ---- inbox

    def inbox(self, user_id: str, state: str | None, after: int | None) -> Listing[InboxItem]:
        params = {"userId": user_id, "state": state, "after": after}
        return Listing(kind=InboxItem, path="/v1/inbox", params=params)

    def unread(self, user_id: str) -> Steps[int]:
        found = yield from self.fetch(Unread, "GET", "/v1/inbox/count", params={"userId": user_id})
        return found.unread

    def mark(self, user_id: str, item_id: str, action: str) -> Steps[InboxItem]:
        path = _at("/v1/inbox", item_id, action)
        return self.fetch(InboxItem, "POST", path, params={"userId": user_id}, repeatable=True)

    def read_all(self, user_id: str) -> Steps[None]:
        params = {"userId": user_id}
        return self.call("POST", "/v1/inbox/read-all", params=params, repeatable=True)


def endpoint_wishes(
    *,
    url: str | None = None,
    event_types: Sequence[str] | None = None,
    description: str | None = None,
    headers: Mapping[str, str] | None = None,
    signatures: Sequence[str] | None = None,
    rate_per_second: int | None = None,
) -> dict[str, Any]:
    """What an endpoint is to be like, as the API takes it; what is None is left out."""
    wishes: dict[str, Any] = {
        "url": url,
        "eventTypes": None if event_types is None else list(event_types),
        "description": description,
        "headers": None if headers is None else dict(headers),
        "signatures": None if signatures is None else list(signatures),
    }
    found = {name: value for name, value in wishes.items() if value is not None}
    if rate_per_second is not None:
        found["ratePerSecond"] = rate_per_second or None
    return found


def _at(collection: str, identifier: str, action: str = "") -> str:
    """The path of one thing, whatever its id holds."""
    path = f"{collection}/{quote(identifier, safe='')}"
    return f"{path}/{action}" if action else path
