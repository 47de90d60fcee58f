"""How long a hub that stops has left."""

import asyncio

from notifications.draining import Drain


async def test_the_limit_is_one_for_all_parts():
    """It runs from the first look on: what one part took, the next has no more."""
    drain = Drain(0.05)
    assert drain.left_s() > 0
    async with asyncio.timeout(10):
        while drain.left_s():
            await asyncio.sleep(0.005)
    assert drain.left_s() == 0


async def test_who_is_cut_short_has_nothing_left():
    """Whether or not somebody looked before."""
    fresh, begun = Drain(60), Drain(60)
    assert begun.left_s() > 0
    for drain in (fresh, begun):
        drain.cut()
        assert drain.left_s() == 0
