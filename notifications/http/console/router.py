"""All of the console's routes."""

from notifications.http.console import (
    dead_letters,
    deliveries,
    endpoints,
    entry,
    events,
    overview,
    people,
    replays,
    tenants,
)
from notifications.http.console.guard import router_of

router = router_of(
    overview.pages,
    entry.pages,
    events.pages,
    deliveries.pages,
    endpoints.pages,
    replays.pages,
    dead_letters.pages,
    people.pages,
    tenants.pages,
)
