"""What the audit holds a hub's data against. It loads nothing that only a running hub needs."""

from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC
from notifications.stores.audit import Expectations


def expectations(now: int) -> Expectations:
    """What is expected at `now`, in ms; retries and time are with the data."""
    return Expectations(now=now, topic=EVENTS_TOPIC, subscriptions=CONSUMERS)
