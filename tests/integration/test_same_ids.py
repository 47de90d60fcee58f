"""An event that is routed again after a crash makes the same deliveries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from notifications.database import Database
from notifications.deliveries import Delivered, Delivery
from notifications.events import Channel, Event
from notifications.ports import ChannelAdapter
from notifications.records import Attempted, Placed, Route
from notifications.testing import ManualClock
from tests.heart_world import heart_world, sample_event


@dataclass
class Keeper:
    """A channel to two targets that keeps the ids of what it was asked to deliver."""

    ids: list[tuple[str, int]] = field(default_factory=list)

    async def route(self, event: Event) -> Route:
        return Route(targets=("ep_1", "ep_2"))

    async def attempt(self, delivery: Delivery, event: Event) -> Attempted:
        self.ids.append((delivery.target, delivery.id))
        return Attempted(outcome=Delivered())

    async def rate(self, lane: str) -> int | None:
        return None

    async def recorded(self, delivery: Delivery, event: Event, placed: Placed) -> None:
        """Nothing."""


async def test_a_delivery_that_is_routed_again_has_the_same_id(tmp_path: Path) -> None:
    """What was sent but not recorded before a crash is sent again under the same delivery id."""
    keeper = Keeper()

    def adapters(_database: Database, _clock: ManualClock) -> Mapping[Channel, ChannelAdapter]:
        return {Channel.WEBHOOK: keeper}

    async with heart_world(tmp_path, adapters=adapters) as world:
        world.faulty.away("record")
        await world.publish(sample_event())
        await world.until(lambda: len(keeper.ids) == 2)
    async with heart_world(tmp_path, adapters=adapters) as world:
        await world.until_states(delivered=2)
    assert len(keeper.ids) == 4
    assert len(set(keeper.ids)) == 2
