"""Which messages the embedded bus knows to be in memory."""

from notifications.bus.queues import Entry
from notifications.bus.reading import Reading
from notifications.bus.settling import Settling
from notifications.messages import Message


def entry(seq: int) -> Entry:
    """A message."""
    return Entry(seq, Message(id=f"m{seq}", body=b"{}", properties={}), 0, 1)


def test_what_is_held_is_shared_and_what_is_gone_is_forgotten() -> None:
    """However many come and go, those that somebody holds are found, the others are neither
    counted nor remembered for long."""
    reading = Reading(Settling(lambda _: None))
    held = [entry(seq) for seq in range(100)]
    for each in held:
        reading.remember(each)
    for seq in range(100, 30_000):
        reading.remember(entry(seq))
    assert len(reading) == len(held)
    assert reading.among(range(30_000)) == held
    assert len(reading._entries) < 5_000
    held.clear()
    del each
    assert len(reading) == 0
