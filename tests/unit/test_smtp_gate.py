"""What keeps mails back while the mail server takes none, and when they go on."""

import asyncio
import logging

import pytest

from notifications.channels.email.smtp_answers import Trouble, Verdict
from notifications.channels.email.smtp_gate import FIRST_PAUSE, LAST_PAUSE, Gate
from notifications.deliveries import Delivered, Failed, Postponed
from notifications.testing import ManualClock

REFUSED = Trouble(reason="smtp-535", detail="no", advice="check the password")
DELIVERED = Delivered(status=250)


class Server:
    """What attempts meet.

    Attributes:
        verdict: What each returns.
        tried: How many there were.
        most: How many there were at once, at most.
        answer: Attempts return once this is set.
    """

    def __init__(self, verdict: Delivered | Postponed | Verdict) -> None:
        self.verdict = verdict
        self.tried = self.most = self._now = 0
        self.answer = asyncio.Event()
        self.answer.set()

    async def attempt(self) -> Delivered | Postponed | Verdict:
        self.tried += 1
        self._now += 1
        self.most = max(self.most, self._now)
        await asyncio.sleep(0)
        await self.answer.wait()
        self._now -= 1
        return self.verdict


async def test_a_gate_that_is_open_is_not_noticed() -> None:
    """Outcomes pass as they are, side by side, while nothing is ours to mend."""
    gate, server = Gate(ManualClock()), Server(Failed(reason="smtp-550", retryable=False))
    outcomes = await asyncio.gather(*(gate.through(server.attempt) for _ in range(5)))
    assert outcomes == [server.verdict] * 5
    assert (gate.trouble, server.most) == (None, 5)


async def test_trouble_is_met_once() -> None:
    """After trouble nothing is tried until the pause is over, and each is told how long that is."""
    clock = ManualClock()
    gate, server = Gate(clock), Server(REFUSED)
    first = await gate.through(server.attempt)
    clock.ms += 1_000
    second = await gate.through(server.attempt)
    assert first == Postponed(reason="smtp-535", again_in=FIRST_PAUSE)
    assert second == Postponed(reason="smtp-535", again_in=FIRST_PAUSE - 1_000)
    assert server.tried == 1


async def test_pauses_double_up_to_five_minutes() -> None:
    """The longer it lasts, the less often the server is asked, but never less than that."""
    clock = ManualClock()
    gate, server = Gate(clock), Server(REFUSED)
    pauses = []
    for _ in range(9):
        outcome = await gate.through(server.attempt)
        assert isinstance(outcome, Postponed)
        pauses.append(outcome.again_in)
        clock.ms += outcome.again_in or 0
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-2:] == [LAST_PAUSE, LAST_PAUSE]


async def test_after_the_pause_one_goes_first() -> None:
    """One mail tries; when it gets through, those that waited for it follow side by side."""
    clock = ManualClock()
    gate, server = Gate(clock), Server(REFUSED)
    await gate.through(server.attempt)
    clock.ms += FIRST_PAUSE
    server.verdict, server.most = DELIVERED, 0
    server.answer.clear()
    waiting = [asyncio.create_task(gate.through(server.attempt)) for _ in range(5)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert (server.tried, server.most) == (2, 1)
    server.answer.set()
    assert await asyncio.gather(*waiting) == [DELIVERED] * 5
    assert gate.trouble is None


async def test_after_the_pause_one_trouble_is_enough() -> None:
    """When the one that goes first meets the same trouble, the others do not try."""
    clock = ManualClock()
    gate, server = Gate(clock), Server(REFUSED)
    await gate.through(server.attempt)
    clock.ms += FIRST_PAUSE
    outcomes = await asyncio.gather(*(gate.through(server.attempt) for _ in range(5)))
    assert all(isinstance(each, Postponed) for each in outcomes)
    assert server.tried == 2


async def test_trouble_that_many_meet_at_once_counts_once() -> None:
    """Twenty mails in flight that are all refused make one pause, the first."""
    gate, server = Gate(ManualClock()), Server(REFUSED)
    server.answer.clear()
    under_way = [asyncio.create_task(gate.through(server.attempt)) for _ in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    server.answer.set()
    outcomes = await asyncio.gather(*under_way)
    assert {each.again_in for each in outcomes if isinstance(each, Postponed)} == {FIRST_PAUSE}


async def test_an_old_failure_does_not_open_the_gate() -> None:
    """What began before the trouble was known and failed otherwise says nothing of it."""
    clock = ManualClock()
    gate, refusing = Gate(clock), Server(REFUSED)
    slow = Server(Failed(reason="timeout"))
    slow.answer.clear()
    under_way = asyncio.create_task(gate.through(slow.attempt))
    await asyncio.sleep(0)
    await gate.through(refusing.attempt)
    slow.answer.set()
    await under_way
    assert gate.trouble == REFUSED


async def test_trouble_is_logged_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """One line when it stops, and one when it goes on."""
    clock = ManualClock()
    gate, server = Gate(clock), Server(REFUSED)
    with caplog.at_level(logging.INFO, logger="huntaze"):
        for _ in range(3):
            await gate.through(server.attempt)
        clock.ms += FIRST_PAUSE
        server.verdict = DELIVERED
        await gate.through(server.attempt)
    assert [(each.levelname, each.message) for each in caplog.records] == [
        ("ERROR", "mail.stopped"),
        ("INFO", "mail.resumed"),
    ]
    assert caplog.records[0].__dict__["advice"] == "check the password"
