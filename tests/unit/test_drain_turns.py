"""Drains begin attempts in turn, as fast as those come back."""

import asyncio

from notifications.drain_turns import TOGETHER, DrainTurns


async def _soon() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_next_begin_once_the_last_came_back() -> None:
    """Where a turn's worth of attempts was begun, the turn ends when they have come back."""
    turns = DrainTurns()
    attempts = [asyncio.create_task(_soon()) for _ in range(TOGETHER)]
    async with turns:
        await turns.begun(attempts)
        assert all(attempt.done() for attempt in attempts)


async def test_few_attempts_hold_nobody_up() -> None:
    """Drains with a delivery each end their turns without waiting, until they make many."""
    turns = DrainTurns()
    attempts = [asyncio.create_task(_soon()) for _ in range(TOGETHER)]
    for attempt in attempts[:-1]:
        async with turns:
            await turns.begun([attempt])
    assert not any(attempt.done() for attempt in attempts)
    async with turns:
        await turns.begun(attempts[-1:])
    assert all(attempt.done() for attempt in attempts)


async def test_attempts_that_hang_end_a_turn_too() -> None:
    """A turn ends though what was begun never comes back; the next one starts to count anew."""
    turns = DrainTurns()
    never = asyncio.Event()
    attempts = [asyncio.create_task(never.wait()) for _ in range(TOGETHER)]
    async with turns:
        await turns.begun(attempts)
    assert not any(attempt.done() for attempt in attempts)
    other = asyncio.create_task(_soon())
    async with turns:
        await turns.begun([other])
    assert not other.done()
    never.set()
    await asyncio.gather(*attempts, other)


async def test_a_turn_is_one_drains_alone() -> None:
    """Nobody begins within another's turn, and the longest waiting comes first."""
    turns = DrainTurns()
    order: list[str] = []

    async def drain(name: str) -> None:
        for page in range(2):
            async with turns:
                order.append(f"{name}{page}")
                await asyncio.sleep(0)
                order.append(f"{name}{page}")

    await asyncio.gather(drain("a"), drain("b"))
    assert order == ["a0", "a0", "b0", "b0", "a1", "a1", "b1", "b1"]
