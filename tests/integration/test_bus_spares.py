"""What the embedded bus spares: events for channels that do not carry them, and settling twice."""

from pathlib import Path

from notifications.bus.topology import CONSUMERS, METRICS, NOTIFY_WEBHOOK, TOPOLOGY
from notifications.events import Channel, Known
from notifications.routing import event_message
from tests.bus_worlds import embedded_world, receive_one
from tests.heart_world import sample_event


async def test_an_event_is_handed_to_the_channels_that_carry_it_and_to_metrics(tmp_path: Path):
    """An event that only webhooks carry comes to their consumer and to metrics; one of which the
    bus knows nothing comes to all four. Completed within a commit, nothing of it is left to be
    settled, and a message in hand is not over before."""
    channels = frozenset({Channel.WEBHOOK})
    known = Known(key=64, event=sample_event("carried"), channels=channels)
    consumers = list(CONSUMERS.values())
    async with embedded_world(tmp_path, TOPOLOGY, consumers) as world:
        bus = world.bus
        await bus.publish("huntaze-events", [event_message(known.event, decoded=known)])
        await bus.publish("huntaze-events", [event_message(sample_event("foreign"))])

        first = {name: await receive_one(world, name) for name in consumers}
        assert {name: one.message.id for name, one in first.items()} == {
            name: "acme:carried" if name in (NOTIFY_WEBHOOK, METRICS) else "acme:foreign"
            for name in consumers
        }

        held = first[NOTIFY_WEBHOOK]
        assert not bus.over(held)
        await bus.database.write(lambda tx: bus.complete(tx, [held]))
        assert bus.over(held)
