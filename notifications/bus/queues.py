"""One subscription's messages in memory: which are ready, which are locked, how often each came.

No I/O. What is here is also in the database; this only says what has been handed to whom.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from notifications.bus.filters import Filter
from notifications.bus.topology import Subscription
from notifications.messages import Message, Received

HOT_LIMIT = 8_000
"""Messages a queue keeps in memory beyond those locked; the others wait in the database."""

HOT_BYTES = 8 * 1024 * 1024
"""As much of bodies a queue keeps in memory beyond those locked."""

_CROWD = 8
"""How many times more messages may be in memory for each crash they can still take."""


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
    """A message in somebody's hands.

    Attributes:
        entry: The message.
        until: When the lock runs out.
        ended_by: The transaction that last ended it; if that was committed, the lock is gone.
    """

    entry: Entry
    until: int
    ended_by: object = None


class Queue:
    """The messages of one subscription that are in memory.

    A crash counts as a delivery of all of them, and who may only be delivered once more is
    handed out alone afterwards. So that these stay few, a queue keeps the fewer messages in
    memory, the fewer crashes they can take.
    """

    def __init__(
        self,
        subscription: Subscription,
        rule: Filter,
        bit: int,
        counts: dict[int, int],
        *,
        wary: bool = True,
    ) -> None:
        self.rule = rule
        self._wary = wary
        self.mask = 1 << bit  # this subscription's bit in `pending`
        self.counts = counts  # deliveries that came to nothing, by seq
        self.loaded = 0  # every message up to here is in memory, or done
        self.behind = True  # the database may hold more, beyond `loaded`
        self.active = False  # somebody receives from it
        self.gone = False  # its subscription was deleted: its bit may be another's by now
        self.apart: frozenset[int] = frozenset()  # seqs that come by another way than loading
        self.overdue: list[Entry] = []  # outlived their time, not yet in the dead letters
        self.loading = asyncio.Lock()
        self.locks: dict[int, Lock] = {}  # by token
        self.changed = asyncio.Event()
        self._ready: deque[Entry] = deque()
        self._bytes = 0  # of bodies in `_ready`
        self._returned: list[Entry] = []
        self.configure(subscription)

    def configure(self, subscription: Subscription) -> None:
        """Go by a subscription's limits from now on."""
        self.subscription = subscription
        self.channel = subscription.channel
        self.look_at = 0  # while nobody receives: when messages are looked through for old ones
        self._crowds: list[int] = [
            min(_CROWD ** max(subscription.max_delivery_count - 2 - count, 0), HOT_LIMIT)
            if self._wary
            else HOT_LIMIT
            for count in range(subscription.max_delivery_count + 1)
        ]

    def __len__(self) -> int:
        return len(self._ready) + len(self._returned)

    @property
    def limit(self) -> int:
        """How many messages are kept in memory, beyond those that are locked."""
        return self._crowds[0]

    def starves(self) -> bool:
        """Whether nothing is left in memory while the database may hold more."""
        return self.behind and not len(self)

    def room(self, arriving: Sequence[Entry]) -> int:
        """How many of the messages that arrive now, from the first, are kept in memory."""
        if self.behind:
            return 0
        number = min(len(arriving), max(self.limit - len(self._ready), 0))
        left = HOT_BYTES - self._bytes
        for place in range(number):
            left -= arriving[place].message.size
            if left < 0:
                return place
        return number

    def arrived(self, kept: Sequence[Entry], *, more: bool) -> None:
        """Messages were published; those that are not kept in memory are read later."""
        if kept and kept[-1].seq > self.loaded:
            # Some may have been read from the file in the same commit.
            self._add([entry for entry in kept if entry.seq > self.loaded])
            self.loaded = kept[-1].seq
        if more:
            self.behind = True
        self.changed.set()

    def fitting(self, seqs: Sequence[int]) -> int:
        """How many of these, from the first, may be in memory together."""
        if self.counts.keys().isdisjoint(seqs):
            return min(len(seqs), self.limit)
        number = 0
        for seq in seqs:
            if number >= self._crowds[min(self.counts.get(seq, 0), len(self._crowds) - 1)]:
                break
            number += 1
        return number

    def caught_up(self, entries: Sequence[Entry], upto: int, *, more: bool) -> None:
        """Messages were read from the database: all that there are up to `upto`."""
        self._add(entries)
        self.loaded = upto
        self.behind = more
        self.changed.set()

    def looked_through(self, upto: int, look_at: int) -> None:
        """Nobody receives, and all up to `upto` is done; look again at `look_at`."""
        self.loaded = max(self.loaded, upto)
        self.look_at = look_at

    def take(self, limit: int, now: int, tokens: "Tokens") -> list[Received]:
        """Lock up to `limit` messages; those that outlived their time are set apart."""
        taken: list[Received] = []
        too_old = now - self.subscription.ttl_ms
        while len(taken) < limit and (entry := self._pop()) is not None:
            if entry.enqueued_at <= too_old or _outlived_its_own(entry, now):
                self.overdue.append(entry)
            else:
                taken.append(self.lock(entry, now, tokens))
        return taken

    def shed(self, now: int) -> None:
        """Set apart what outlived its time while nobody came for it."""
        while self._returned and self.outlived(self._returned[0], now):
            self.overdue.append(heapq.heappop(self._returned))
        while self._ready and self.outlived(self._ready[0], now):
            self.overdue.append(self._first())

    def outlived(self, entry: Entry, now: int) -> bool:
        """Whether a message is past its time to live."""
        return entry.enqueued_at + self.subscription.ttl_ms <= now or _outlived_its_own(entry, now)

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
            # What a client of the door says of itself is not the hub's word.
            ours=entry.message.wire is None,
        )

    def give_back(self, token: int, count: int) -> None:
        """A message comes again, before those that are ready; it was delivered `count` times."""
        lock = self.locks.pop(token, None)
        if lock is not None:
            if count:
                self.counts[lock.entry.seq] = count
            heapq.heappush(self._returned, lock.entry)
            self.changed.set()

    def done(self, entry: Entry, token: int | None) -> None:
        """This subscription has dealt with the message."""
        entry.pending &= ~self.mask
        self.counts.pop(entry.seq, None)
        if token is not None:
            self.locks.pop(token, None)

    def deliveries(self, seq: int) -> int:
        """How often a message was delivered so far, the one under way included."""
        held = any(lock.entry.seq == seq for lock in self.locks.values())
        return self.counts.get(seq, 0) + held

    def expired_locks(self, now: int) -> list[int]:
        """Tokens of the locks that ran out."""
        return [token for token, lock in self.locks.items() if lock.until <= now]

    def _add(self, entries: Sequence[Entry]) -> None:
        self._ready.extend(entries)
        self._bytes += sum([entry.message.size for entry in entries])

    def _first(self) -> Entry:
        entry = self._ready.popleft()
        self._bytes -= entry.message.size
        return entry

    def _pop(self) -> Entry | None:
        while self._returned or self._ready:
            entry = heapq.heappop(self._returned) if self._returned else self._first()
            if entry.pending & self.mask:
                return entry
        return None


def _outlived_its_own(entry: Entry, now: int) -> bool:
    """Whether a message is past the time that whoever sent it gave it."""
    if entry.message.system is None:
        return False
    own = entry.message.system.get("TimeToLive")
    return isinstance(own, int) and entry.enqueued_at + own <= now


class Tokens:
    """Numbers of locks, unique in the process."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """The next number."""
        self._last += 1
        return self._last
