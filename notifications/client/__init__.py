"""A typed client of the hub's API; docs/client.md shows it at work.

with Client("http://127.0.0.1:8080", "hz_…") as hub:
    hub.publish(NewEvent(type="payment.received", source="/shop", data={…}, user_id="ada"))

`AsyncClient` is the same for asyncio.
"""

from notifications.client.awaiting import AsyncClient
from notifications.client.blocking import Client
from notifications.client.errors import (
    Conflict,
    HubError,
    Invalid,
    Misconfigured,
    NoAnswer,
    NoHub,
    NotAllowed,
    NotFound,
    OverLimit,
    Refused,
)
from notifications.client.exchanges import Retries
from notifications.client.records import (
    Attempt,
    Delivery,
    Endpoint,
    Event,
    Health,
    InboxItem,
    NewEvent,
    Published,
)

__all__ = [
    "AsyncClient",
    "Attempt",
    "Client",
    "Conflict",
    "Delivery",
    "Endpoint",
    "Event",
    "Health",
    "HubError",
    "InboxItem",
    "Invalid",
    "Misconfigured",
    "NewEvent",
    "NoAnswer",
    "NoHub",
    "NotAllowed",
    "NotFound",
    "OverLimit",
    "Published",
    "Refused",
    "Retries",
]
