"""Sending events in batches; however often one is sent, its events keep their ids."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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


async def publish_batch(hub: AsyncClient, batch: Sequence[Entry]) -> Sequence[Answer]:
    """Send a batch; one answer each, in order.

    Raises:
        HubError: The hub did not answer, does not take the key, or is none.
    """
    sound = [entry for entry in batch if entry.wrong is None]
    answers = iter(await hub.publish_many([entry.text for entry in sound]))
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
