"""The guard of a subscription: whose fault it is decides how often a message comes again."""

import asyncio
from collections.abc import Sequence

import pytest

from notifications.errors import StoreUnavailable, Unavailable
from notifications.messages import Complete, DeadLetter, Message, Received, Settlement
from notifications.retries import MINUTE
from notifications.testing import ManualClock, SeededDice
from notifications.worker import Guard


@pytest.mark.parametrize(
    ("fault", "settled"),
    [
        (StoreUnavailable("the database is away"), Complete()),
        (Unavailable("all places are taken"), Complete()),
        (ValueError("?"), DeadLetter("handler-failed", "ValueError: ?")),
    ],
)
async def test_only_faults_that_nobody_knows_are_counted(
    fault: Exception, settled: Settlement
) -> None:
    """What came back ten times comes again while something is away, and is given up otherwise."""
    clock, published = ManualClock(), list[Message]()

    async def handle(_messages: Sequence[Received]) -> Sequence[Settlement]:
        raise fault

    async def publish(messages: Sequence[Message]) -> None:
        published.extend(messages)

    received = Received(
        message=Message(id="m", body=b"{}", properties={"hubTries": 10}),
        subscription="notify-email",
        sequence_number=1,
        delivery_count=1,
        enqueued_at=clock.now(),
    )
    handling = asyncio.create_task(Guard("email", handle, publish, clock, SeededDice())([received]))
    await clock.advance(MINUTE)
    assert await handling == [settled]
    assert [each.due_at is not None for each in published] == [True] * (settled == Complete())
