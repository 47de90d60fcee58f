"""The fakes that the hub ships for tests."""

import asyncio

from notifications.testing import START_MS, ManualClock, SeededDice


class TestManualClock:
    """Time in a test's hands."""

    def test_stands_still(self) -> None:
        """Its time is the same whenever it is asked, and the same for people."""
        clock = ManualClock()

        assert {clock.now() for _ in range(100)} == {START_MS}
        assert clock.wall().isoformat() == "2026-03-01T12:00:00+00:00"
        assert ManualClock(1_500).wall().isoformat() == "1970-01-01T00:00:01.500000+00:00"

    async def test_wakes_in_order(self) -> None:
        """Sleepers wake at their own times, the earliest first, equals as they came."""
        clock = ManualClock(0)
        woken: list[tuple[str, int]] = []

        async def sleeper(name: str, at: int) -> None:
            await clock.sleep_until(at)
            woken.append((name, clock.now()))

        sleeping = [
            asyncio.create_task(sleeper(name, at))
            for name, at in (("c", 30), ("a", 10), ("b", 20), ("a2", 10), ("late", 41))
        ]
        await clock.advance(40)

        assert woken == [("a", 10), ("a2", 10), ("b", 20), ("c", 30)]
        assert clock.now() == 40
        await clock.advance(1)
        await asyncio.gather(*sleeping)

    async def test_who_sleeps_again_is_woken_again(self) -> None:
        """Who goes back to sleep within an advance is woken in it as often as is due."""
        clock = ManualClock(0)
        ticks: list[int] = []

        async def tick() -> None:
            while True:
                await clock.sleep_until(clock.now() + 10)
                ticks.append(clock.now())

        ticking = asyncio.create_task(tick())
        await clock.advance(35)
        ticking.cancel()
        await asyncio.wait({ticking})

        assert ticks == [10, 20, 30]
        await clock.advance(0)
        assert clock.sleepers == 0

    async def test_the_past_needs_no_sleep(self) -> None:
        """Sleeping until now or before returns at once."""
        clock = ManualClock(100)
        await asyncio.wait_for(clock.sleep_until(100), 1)
        await asyncio.wait_for(clock.sleep_until(5), 1)

        assert clock.sleepers == 0


def test_seeded_dice() -> None:
    """The same seed falls the same way, another seed another way."""

    def fall(seed: int) -> tuple[list[float], bytes]:
        dice = SeededDice(seed)
        return [dice.roll() for _ in range(5)], dice.token(8)

    assert fall(1) == fall(1)
    assert fall(1) != fall(2)
    assert all(0 <= roll < 1 for roll in fall(3)[0])
    assert len(fall(4)[1]) == 8
