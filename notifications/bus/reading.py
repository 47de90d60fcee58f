"""Bringing messages from the database into memory, within a transaction, a page at a time."""

from collections.abc import Iterable
from itertools import takewhile
from weakref import ref

from notifications.bus import journal
from notifications.bus.journal import SEQ, MessageRow
from notifications.bus.queues import Entry, Queue
from notifications.bus.settling import Settling
from notifications.database import Transaction

_GONE = 4_000
"""Messages that have come since those that are gone were last forgotten, at most."""


class Reading:
    """Reads pages. A message that is in memory already, for another queue, is shared.

    Args:
        settling: Buries what outlived its time.
    """

    def __init__(self, settling: Settling) -> None:
        self._settling = settling
        # Not a `WeakValueDictionary`: it hears of each that goes, for half a microsecond.
        self._entries: dict[int, ref[Entry]] = {}
        self._most = _GONE

    def __len__(self) -> int:
        """How many messages are in memory."""
        return sum(known() is not None for known in self._entries.values())

    def among(self, seqs: Iterable[int]) -> list[Entry]:
        """Those of these numbers that are in memory."""
        found = (self._known(seq) for seq in seqs)
        return [entry for entry in found if entry is not None]

    def forget(self, entries: Iterable[Entry], mask: int) -> None:
        """A subscription is gone: these messages do not wait on its behalf any more."""
        for entry in entries:
            entry.pending &= ~mask

    def remember(self, entry: Entry) -> None:
        """Share a message that did not come from the database."""
        self._entries[entry.seq] = ref(entry)
        if len(self._entries) > self._most:
            self._forget_gone()

    def _forget_gone(self) -> None:
        self._entries = {seq: known for seq, known in self._entries.items() if known() is not None}
        self._most = len(self._entries) + _GONE

    def _known(self, seq: int) -> Entry | None:
        known = self._entries.get(seq)
        return None if known is None else known()

    def entry(self, row: MessageRow) -> Entry:
        """The message of a row."""
        return self._entries_of((row,))[0]

    def _entries_of(self, rows: Iterable[MessageRow]) -> list[Entry]:
        # In one go: calls would be a tenth of what a message costs here.
        found = []
        shared = self._entries
        for row in rows:
            known = shared.get(row[SEQ])
            entry = None if known is None else known()
            if entry is None:
                entry = journal.entry_of(row)
                shared[entry.seq] = ref(entry)
            found.append(entry)
        if len(shared) > self._most:
            self._forget_gone()
        return found

    def load(self, tx: Transaction, queue: Queue) -> None:
        """Read a queue's next page into it, save what outlived its time: that is buried."""
        name, topic = queue.subscription.name, queue.subscription.topic
        limit = min(queue.limit, journal.LOADED)
        page = journal.page(tx, topic, queue.mask, after=queue.loaded, limit=limit)
        fitting = queue.fitting([row[SEQ] for row in page.rows])
        if fitting < len(page.rows):
            page = journal.Page(page.rows[:fitting], page.rows[fitting - 1][SEQ], more=True)
        rows = page.rows
        if queue.apart:
            rows = [row for row in rows if row[SEQ] not in queue.apart]
        entries = self._entries_of(rows)
        old = len(list(takewhile(lambda entry: queue.outlived(entry, tx.now), entries)))
        for entry in entries[:old]:
            self._settling.expire(tx, queue, entry)
        fresh = entries[old:]
        journal.write_loaded(tx, [(name, entry.seq) for entry in fresh[-1:]])
        tx.after_commit(lambda: queue.caught_up(fresh, page.upto, more=page.more))

    def look_through(self, tx: Transaction, queue: Queue) -> None:
        """Bury what outlived its time in the next page of a queue that nobody receives from."""
        topic, ttl = queue.subscription.topic, queue.subscription.ttl_ms
        page = journal.page(tx, topic, queue.mask, after=queue.loaded, limit=journal.PAGE)
        # Whatever is published from now on has all its time.
        upto, look_at = page.upto, tx.now if page.more else tx.now + ttl
        for row in page.rows:
            entry = self.entry(row)
            if not queue.outlived(entry, tx.now):
                upto, look_at = entry.seq - 1, entry.enqueued_at + ttl
                break
            self._settling.expire(tx, queue, entry)
        tx.after_commit(lambda: queue.looked_through(upto, look_at))
