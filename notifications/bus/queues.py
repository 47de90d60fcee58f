"""One subscription's messages in memory: which are ready, which are locked, how often each came.

No I/O. What is here is also in the database; this only says what has been handed to whom.
"""

import asyncio
import heapq
from collections import deque
from dataclasses import dataclass

from notifications.bus.filters import Filter
from notifications.bus.topology import Subscription
from notifications.ports import Message, Received

HOT_LIMIT = 2_000
"""Messages a queue keeps in memory beyond those locked; the others wait in the database."""


@dataclass(slots=True, weakref_slot=True, eq=False)
class Entry:
    """A message in memory, shared by the queues that hold it.

    Attributes:
        seq: Its sequence number.
        message: What was sent.
        enqueued_at: When it became visible.
        pending: The bits of the subscriptions that have not dealt with it.
    """

    seq: int
    message: Message
    enqueued_at: int
    pending: int

    def __lt__(self, other: "Entry") -> bool:
        return self.seq < other.seq


@dataclass(slots=True, eq=False)
class Lock:
    """A message in somebody's hands."""

    entry: Entry
    until: int


class Queue:
    """The messages of one subscription that are in memory."""

    def __init__(
        self, subscription: Subscription, rule: Filter, bit: int, counts: dict[int, int]
    ) -> None:
        self.subscription = subscription
        self.rule = rule
        self.mask = 1 << bit  # this subscription's bit in `pending`
        self.counts = counts  # deliveries that came to nothing, by seq
        self.loaded = 0  # every message up to here is in memory, or done
        self.behind = True  # the database may hold more, beyond `loaded`
        self.active = False  # somebody receives from it
        self.loading = asyncio.Lock()
        self.locks: dict[int, Lock] = {}  # by token
        self.changed = asyncio.Event()
        self._ready: deque[Entry] = deque()
        self._returned: list[Entry] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._returned)

    def append(self, entry: Entry) -> None:
        """A message arrived, or was loaded."""
        self.loaded = entry.seq
        self._ready.append(entry)
        self.changed.set()

    def arrive(self, entry: Entry) -> None:
        """A message was just published: keep it in memory, or leave it for later."""
        if not self.active or self.behind or entry.seq <= self.loaded:
            return
        if len(self._ready) >= HOT_LIMIT:
            self.behind = True
        else:
            self.append(entry)

    def take(self, limit: int, now: int, tokens: "Tokens") -> tuple[list[Received], list[Entry]]:
        """Lock up to `limit` messages; those past their time to live are set apart, unlocked."""
        taken: list[Received] = []
        expired: list[Entry] = []
        while len(taken) < limit and (entry := self._pop()) is not None:
            if entry.enqueued_at + self.subscription.ttl_ms <= now:
                expired.append(entry)
            else:
                taken.append(self.lock(entry, now, tokens))
        return taken, expired

    def lock(self, entry: Entry, now: int, tokens: "Tokens") -> Received:
        """Put a message into somebody's hands."""
        token = tokens.next()
        self.locks[token] = Lock(entry, now + self.subscription.lock_ms)
        return Received(
            message=entry.message,
            subscription=self.subscription.name,
            sequence_number=entry.seq,
            delivery_count=self.counts.get(entry.seq, 0) + 1,
            enqueued_at=entry.enqueued_at,
            token=token,
        )

    def give_back(self, entry: Entry) -> None:
        """A message comes again, before those that are ready."""
        heapq.heappush(self._returned, entry)
        self.changed.set()

    def done(self, entry: Entry, token: int | None = None) -> None:
        """This subscription has dealt with the message."""
        entry.pending &= ~self.mask
        self.counts.pop(entry.seq, None)
        if token is not None:
            self.locks.pop(token, None)

    def expired_locks(self, now: int) -> list[int]:
        """Tokens of the locks that ran out."""
        return [token for token, lock in self.locks.items() if lock.until <= now]

    def _pop(self) -> Entry | None:
        while self._returned or self._ready:
            entry = heapq.heappop(self._returned) if self._returned else self._ready.popleft()
            if entry.pending & self.mask:
                return entry
        return None


class Tokens:
    """Numbers of locks, unique in the process."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """The next number."""
        self._last += 1
        return self._last
