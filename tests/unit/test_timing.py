"""The clock that never jumps, the alarm, and numbers that grow with time."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.testing import ManualClock, SeededDice
from notifications.timing import Alarm, Numbers, SystemClock, SystemDice

WALL = 1_772_366_400.0
"""2026-03-01 12:00 UTC, in seconds."""


class Machine:
    """A machine's two clocks, in a test's hands."""

    def __init__(self) -> None:
        self.monotonic = 1_000.0
        self.wall = WALL

    def clock(self) -> SystemClock:
        """A clock that looks at them."""
        return SystemClock(monotonic=lambda: self.monotonic, wall=lambda: self.wall)

    def run(self, seconds: float) -> None:
        """Time passes."""
        self.monotonic += seconds
        self.wall += seconds


jumps = st.floats(min_value=-1e6, max_value=1e6)
spans = st.floats(min_value=0, max_value=100_000)


class TestSystemClock:
    """`now` and `wall`."""

    def test_begins_at_the_wall(self) -> None:
        """A new clock says what the wall clock says, in milliseconds."""
        machine = Machine()

        assert machine.clock().now() == WALL * 1_000

    def test_keeps_time(self) -> None:
        """While the wall clock is true, the clock follows it to the millisecond."""
        machine = Machine()
        clock = machine.clock()
        for _ in range(1_000):
            machine.run(0.0137)
            clock.now()

        assert clock.now() == pytest.approx(machine.wall * 1_000, abs=1)

    @given(st.lists(st.tuples(spans, jumps), max_size=30))
    @pytest.mark.fault("its clock jumps or the machine sleeps", "ourselves")
    def test_never_jumps(self, steps: list[tuple[float, float]]) -> None:
        """Whatever the wall clock does, time runs at between half and one and a half its speed."""
        machine = Machine()
        clock = machine.clock()
        before = clock.now()
        for seconds, jump in steps:
            machine.run(seconds)
            machine.wall += jump
            now = clock.now()
            assert seconds * 500 - 1.01 <= now - before <= seconds * 1_500 + 1.01
            before = now

    @pytest.mark.parametrize("jump", [-3_600.0, 3_600.0])
    def test_catches_up(self, jump: float) -> None:
        """After the wall clock jumped by an hour, the two agree again two hours later."""
        machine = Machine()
        clock = machine.clock()
        machine.wall += jump
        machine.run(3_600)
        assert clock.now() / 1_000 == pytest.approx(machine.wall - jump / 2, abs=0.01)
        machine.run(3_600)

        assert clock.now() / 1_000 == pytest.approx(machine.wall, abs=0.01)
        machine.run(60)
        assert clock.now() / 1_000 == pytest.approx(machine.wall, abs=0.01)

    def test_a_machine_that_slept(self) -> None:
        """Sleep, which the monotonic clock does not see, lets nothing expire at once."""
        machine = Machine()
        clock = machine.clock()
        asleep = 8 * 3_600
        machine.wall += asleep
        before = clock.now()
        machine.run(60)

        assert clock.now() - before == pytest.approx(90_000, abs=2)

    def test_the_wall_is_the_wall(self) -> None:
        """For signatures and people the wall clock's word holds, however it jumped."""
        machine = Machine()
        clock = machine.clock()
        machine.wall += 3_600

        assert clock.wall() == datetime.fromtimestamp(WALL, UTC) + timedelta(hours=1)

    async def test_sleeps_until(self) -> None:
        """Who slept until a time finds that it has come; for a past time nobody sleeps."""
        clock = SystemClock()
        at = clock.now() + 25
        began = time.monotonic()
        await clock.sleep_until(at)
        assert clock.now() >= at
        assert time.monotonic() - began >= 0.024
        await asyncio.wait_for(clock.sleep_until(at - 1_000_000), 1)

    async def test_sleeps_on_where_time_is_slow(self) -> None:
        """Where the wall clock was set back meanwhile, a sleeper sleeps on."""
        machine = Machine()
        clock = machine.clock()
        sleeping = asyncio.create_task(clock.sleep_until(clock.now() + 10))
        await asyncio.sleep(0)
        machine.wall -= 3_600
        machine.run(0.012)
        assert clock.now() == WALL * 1_000 + 6
        async with asyncio.timeout(5):
            while not sleeping.done():
                await asyncio.sleep(0.001)
                machine.run(0.001)

        assert clock.now() >= WALL * 1_000 + 10


def test_dice_are_the_machines() -> None:
    """Rolls are in [0, 1), tokens as long as asked for, and no two the same."""
    dice = SystemDice()

    assert all(0 <= dice.roll() < 1 for _ in range(1_000))
    assert len({dice.token(16) for _ in range(1_000)}) == 1_000
    assert len(dice.token(7)) == 7


class TestAlarm:
    """Rings at the earliest time it was set to."""

    async def ringing(self, alarm: Alarm, clock: ManualClock, ms: int) -> list[int]:
        """When it rang, in the next `ms`."""
        rang: list[int] = []
        start = clock.now()

        async def listen() -> None:
            while True:
                await alarm.ring()
                rang.append(clock.now() - start)

        listening = asyncio.create_task(listen())
        await clock.advance(ms)
        listening.cancel()
        await asyncio.wait({listening})
        return rang

    async def test_rings_once_at_the_earliest(self) -> None:
        """Of several times the earliest counts; it is unset afterwards."""
        clock = ManualClock()
        alarm = Alarm(clock)
        for ms in (500, 200, 900):
            alarm.set(clock.now() + ms)

        assert await self.ringing(alarm, clock, 5_000) == [200]

    async def test_is_set_while_it_waits(self) -> None:
        """An earlier time set while somebody listens moves it; a later one does not."""
        clock = ManualClock()
        alarm = Alarm(clock)
        alarm.set(clock.now() + 1_000)
        listening = asyncio.create_task(alarm.ring())
        await clock.advance(100)
        alarm.set(clock.now() + 200)
        alarm.set(clock.now() + 400)
        await clock.advance(199)
        assert not listening.done()
        await clock.advance(1)

        assert listening.done()

    async def test_set_again_after_ringing(self) -> None:
        """It rings again for each time it is set after it rang."""
        clock = ManualClock()
        alarm = Alarm(clock)
        alarm.set(clock.now() + 10)
        assert await self.ringing(alarm, clock, 20) == [10]
        alarm.set(clock.now() + 10)

        assert await self.ringing(alarm, clock, 20) == [10]

    async def test_the_past_rings_at_once(self) -> None:
        """A time that has passed rings without waiting."""
        clock = ManualClock()
        alarm = Alarm(clock)
        alarm.set(clock.now() - 5)

        assert await self.ringing(alarm, clock, 0) == [0]

    async def test_a_cancelled_listener(self) -> None:
        """Who stops listening leaves the alarm set, and nobody asleep."""
        clock = ManualClock()
        alarm = Alarm(clock)
        alarm.set(clock.now() + 10)
        assert await self.ringing(alarm, clock, 5) == []
        await clock.advance(0)
        assert clock.sleepers == 0

        assert await self.ringing(alarm, clock, 10) == [5]

    async def test_unset_it_waits_for_nothing(self) -> None:
        """While it is not set, nobody is woken by the time."""
        clock = ManualClock()
        listening = asyncio.create_task(Alarm(clock).ring())
        await clock.advance(1_000_000)
        assert clock.sleepers == 0
        listening.cancel()
        await asyncio.wait({listening})

        assert listening.cancelled()


class TestNumbers:
    """Numbers that grow with time."""

    def test_grow(self) -> None:
        """Each is larger than the one before, however many a millisecond and whatever the clock."""
        clock = ManualClock()
        numbers = Numbers(clock, SeededDice())
        made = []
        for step in (0, 0, 1, 0, -50, 0, 3, 5_000):
            clock.ms += step
            made += [numbers.next() for _ in range(5_000)]

        assert all(later > earlier for earlier, later in pairwise(made))

    def test_fit_a_signed_64_bit_column(self) -> None:
        """They are positive and stay below 2**63 for decades."""
        late = ManualClock(int(datetime(2090, 1, 1, tzinfo=UTC).timestamp() * 1_000))
        early = ManualClock(0)

        assert 0 < Numbers(late, SeededDice()).next() < 2**63
        assert 0 < Numbers(early, SeededDice()).next() < 2**63

    def test_are_ordered_by_time(self) -> None:
        """`at` is above every number made before that millisecond and below those made in it."""
        clock = ManualClock()
        numbers = Numbers(clock, SeededDice())
        before = [numbers.next() for _ in range(64)]
        clock.ms += 1
        after = [numbers.next() for _ in range(10)]

        assert max(before) < Numbers.at(clock.ms) <= min(after)
        assert Numbers.at(0) == 0

    def test_borrow_from_the_next_millisecond(self) -> None:
        """More than 64 in a millisecond run ahead of the time by as many as there are more."""
        clock = ManualClock()
        numbers = Numbers(clock, SeededDice())
        made = [numbers.next() for _ in range(65)]

        assert made[63] < Numbers.at(clock.ms + 1) <= made[64] < Numbers.at(clock.ms + 2)

    def test_several_at_once_are_those_one_by_one(self) -> None:
        """A batch gets the numbers that its items would have got, none where it has none."""
        clock = ManualClock()
        at_once, one_by_one = Numbers(clock, SeededDice()), Numbers(clock, SeededDice())
        for count in (1, 0, 100, 3):
            assert at_once.several(count) == [one_by_one.next() for _ in range(count)]
            clock.ms += 1

    def test_of_several_processes(self) -> None:
        """Processes with another share of chance never make the same number."""
        clock = ManualClock()
        made = [
            {number.next() for _ in range(3_000)}
            for number in (Numbers(clock, SeededDice(seed)) for seed in range(8))
        ]

        assert len(set.union(*made)) == 24_000
