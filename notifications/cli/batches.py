"""Sending events in batches, again and again with the same ids until the hub has answered."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from notifications.cli.access import Access
from notifications.cli.event_files import Entry
from notifications.errors import ConfigurationError, Unavailable

MAX_EVENTS = 1_000
MAX_BYTES = 8 * 1024 * 1024
"""What the hub takes in one request."""

TRIES = 6
"""How often a batch is sent until the hub answers; sending it again is harmless."""

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_TIMEOUT_S = 60.0
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

    def __init__(
        self, access: Access, client: httpx.AsyncClient, tell: Callable[[str], None]
    ) -> None:
        """Configure.

        Args:
            access: The hub and the key.
            client: Sends the requests.
            tell: Is told, in a few words, of each try that failed.
        """
        self._access = access
        self._client = client
        self._tell = tell

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
        response = await self._post(b"[" + b",".join(e.text.encode() for e in entries) + b"]")
        document = _json(response)
        answered = document.get("items") if isinstance(document, dict) else None
        if isinstance(answered, list) and len(answered) == len(entries):
            return [_answer(*each) for each in zip(entries, answered, strict=True)]
        if response.is_success:
            raise ConfigurationError(f"{self._access.url} is no hub: its answer is none of a hub's")
        if len(entries) == 1:
            return [Answer(label=entries[0].label, refused=_reason(response, document))]
        # One of them spoils the request as a whole: halve it until only the culprit is refused.
        middle = len(entries) // 2
        return await self._send(entries[:middle]) + await self._send(entries[middle:])

    async def _post(self, body: bytes) -> httpx.Response:
        problem = ""
        async for number in _tries():
            if number:
                self._tell(f"{problem}; trying again ({number} of {TRIES - 1})")
            try:
                response = await self._client.post(
                    f"{self._access.url}/v1/events",
                    content=body,
                    headers={
                        "authorization": f"Bearer {self._access.key}",
                        "content-type": "application/json",
                    },
                )
            except httpx.TransportError as error:
                problem = f"no answer from {self._access.url} ({_why(error)})"
                continue
            if response.status_code in (401, 403, 404, 405):
                raise ConfigurationError(self._refusal(response))
            if response.status_code not in (429, 500, 502, 503, 504):
                return response
            problem = f"{self._access.url} answers {_reason(response, _json(response))}"
            await asyncio.sleep(_asked_to_wait(response))
        raise Unavailable(problem)

    def _refusal(self, response: httpx.Response) -> str:
        if response.status_code in (401, 403):
            return (
                f"{self._access.url} does not take this key: give the hub's with --key,"
                " HUNTAZE_API_KEY, or --data"
            )
        return f"{self._access.url} is no hub: it has no /v1/events"


async def _tries() -> AsyncIterator[int]:
    """Count tries, with growing pauses in between."""
    pause = _FIRST_PAUSE_S
    for number in range(TRIES):
        if number:
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        yield number


def _asked_to_wait(response: httpx.Response) -> float:
    text = response.headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isascii() and text.isdigit() else 0.0


def _answer(entry: Entry, item: Any) -> Answer:
    found: dict[str, Any] = item if isinstance(item, dict) else {}
    problem = found.get("problem")
    if problem is not None:
        return Answer(label=entry.label, refused=_told(problem) or "without a reason")
    return Answer(label=entry.label, duplicate=found.get("duplicate") is True)


def _reason(response: httpx.Response, document: Any) -> str:
    return _told(document) or f"{response.status_code} {response.reason_phrase}".strip()


def _told(problem: Any) -> str:
    """A problem document (RFC 9457) in one line."""
    if not isinstance(problem, dict):
        return problem if isinstance(problem, str) else ""
    errors = problem.get("errors")
    places = [
        f"{each.get('pointer') or '/'} {each.get('detail')}"
        for each in (errors if isinstance(errors, list) else [])
        if isinstance(each, dict)
    ]
    told = "; ".join(places) or problem.get("detail") or problem.get("title") or ""
    return " ".join(str(told).split())


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def _why(error: httpx.TransportError) -> str:
    return str(error) or type(error).__name__


def new_client() -> httpx.AsyncClient:
    """A client for talking to a hub."""
    return httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False)
