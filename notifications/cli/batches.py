"""Sending events in batches, again and again with the same ids until the hub has answered."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from notifications.cli.access import Access, as_given
from notifications.cli.event_files import Entry
from notifications.client import AsyncClient, Published, Refused
from notifications.client.calls import in_batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the hub said to one event.

    Attributes:
        label: See `Entry.label`.
        refused: Why, or None where it was taken.
        duplicate: The hub had it already.
    """

    label: str
    refused: str | None = None
    duplicate: bool = False

    def __str__(self) -> str:
        if self.refused is not None:
            return f"{self.label}  refused: {self.refused}"
        return f"{self.label}  {'duplicate' if self.duplicate else 'accepted'}"


def batches(entries: Iterable[Entry]) -> Iterator[Sequence[Entry]]:
    """Entries in groups that fit one request; what cannot be sent at all is among them."""
    return in_batches(entries, lambda entry: len(entry.text.encode()))


async def publish_batch(
    hub: AsyncClient, access: Access, batch: Sequence[Entry]
) -> Sequence[Answer]:
    """Send a batch; one answer each, in order.

    Raises:
        Unavailable: The hub did not answer, however often it was asked.
        ConfigurationError: It does not take the key, or is none.
    """
    sound = [entry for entry in batch if entry.wrong is None]
    with as_given(access):
        answers = iter(await hub.publish_many([entry.text for entry in sound]) if sound else ())
    return [
        _answer(entry, next(answers))
        if entry.wrong is None
        else Answer(label=entry.label, refused=entry.wrong)
        for entry in batch
    ]


def _answer(entry: Entry, answer: Published | Refused) -> Answer:
    if isinstance(answer, Refused):
        return Answer(label=entry.label, refused=str(answer))
    return Answer(label=entry.label, duplicate=answer.duplicate)
