"""Sending events in batches; however often one is sent, its events keep their ids."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from notifications.cli.calls import Caller, json_of, reason_of, told
from notifications.cli.event_files import Entry
from notifications.errors import ConfigurationError

MAX_EVENTS = 1_000
MAX_BYTES = 8 * 1024 * 1024
"""What the hub takes in one request."""

_BRACKETS = 2


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
    batch: list[Entry] = []
    size = _BRACKETS
    for entry in entries:
        length = len(entry.text.encode()) + 1
        if batch and (len(batch) == MAX_EVENTS or size + length > MAX_BYTES):
            yield batch
            batch, size = [], _BRACKETS
        batch.append(entry)
        size += length
    if batch:
        yield batch


class Publisher:
    """Sends batches to one hub."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def publish(self, batch: Sequence[Entry]) -> list[Answer]:
        """Send a batch; one answer each, in order.

        Raises:
            Unavailable: The hub did not answer, however often it was asked.
            ConfigurationError: It does not take the key, or is none.
        """
        sound = [entry for entry in batch if entry.wrong is None]
        answers = iter(await self._send(sound) if sound else ())
        return [
            next(answers) if entry.wrong is None else Answer(label=entry.label, refused=entry.wrong)
            for entry in batch
        ]

    async def _send(self, entries: Sequence[Entry]) -> list[Answer]:
        body = b"[" + b",".join(entry.text.encode() for entry in entries) + b"]"
        response = await self._caller.call("POST", "/v1/events", content=body)
        document = json_of(response)
        answered = document.get("items") if isinstance(document, dict) else None
        if isinstance(answered, list) and len(answered) == len(entries):
            return [_answer(*each) for each in zip(entries, answered, strict=True)]
        if response.is_success:
            raise ConfigurationError(f"{self._caller.url} is no hub: its answer is none of a hub's")
        if len(entries) == 1:
            return [Answer(label=entries[0].label, refused=reason_of(response, document))]
        # One of them spoils the request as a whole: halve it until only the culprit is refused.
        middle = len(entries) // 2
        return await self._send(entries[:middle]) + await self._send(entries[middle:])


def _answer(entry: Entry, item: Any) -> Answer:
    found: dict[str, Any] = item if isinstance(item, dict) else {}
    problem = found.get("problem")
    if problem is not None:
        return Answer(label=entry.label, refused=told(problem) or "without a reason")
    return Answer(label=entry.label, duplicate=found.get("duplicate") is True)
