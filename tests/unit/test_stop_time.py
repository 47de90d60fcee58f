"""How long a hub that stops has left."""

import asyncio

from notifications.stopping import StopTime


async def test_the_limit_is_one_for_all_parts():
    """It runs from the first look on: what one part took, the next has no more."""
    stop_time = StopTime(0.05)
    assert stop_time.left_s() > 0
    async with asyncio.timeout(10):
        while stop_time.left_s():
            await asyncio.sleep(0.005)
    assert stop_time.left_s() == 0


async def test_who_is_cut_short_has_nothing_left():
    """Whether or not somebody looked before."""
    fresh, begun = StopTime(60), StopTime(60)
    assert begun.left_s() > 0
    for stop_time in (fresh, begun):
        stop_time.cut()
        assert stop_time.left_s() == 0
