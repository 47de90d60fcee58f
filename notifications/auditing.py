"""What the audit holds a hub's data against. It loads nothing that only a running hub needs."""

from notifications.bus.topology import CONSUMERS, EVENTS_TOPIC, TOPOLOGY
from notifications.service_bus_address import ServiceBusAddress
from notifications.stores.audit import Bus, Expectations
from notifications.timing import SystemClock


def expectations(now: int) -> Expectations:
    """What is expected at `now`, in ms; retries and time are with the data."""
    return Expectations(now=now, topic=EVENTS_TOPIC, subscriptions=CONSUMERS)


def service_bus_seen(address: ServiceBusAddress) -> Bus:
    """What is on its way on Service Bus; looks there only for what the ledger lacks."""
    # Loaded where it is wanted: Microsoft's SDK takes a third of a second.
    from notifications.bus.servicebus.look import ServiceBusAudit

    return ServiceBusAudit(address, TOPOLOGY, SystemClock(), CONSUMERS)
