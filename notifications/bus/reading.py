"""Bringing messages from the database into memory, within a transaction, a page at a time."""

from collections.abc import Iterable
from itertools import takewhile
from weakref import WeakValueDictionary

from notifications.bus import journal
from notifications.bus.journal import SEQ, MessageRow
from notifications.bus.queues import Entry, Queue
from notifications.bus.settling import Settling
from notifications.database import Transaction


class Reading:
    """Reads pages. A message that is in memory already, for another queue, is shared.

    Args:
        settling: Buries what outlived its time.
    """

    def __init__(self, settling: Settling) -> None:
        self._settling = settling
        self._entries: WeakValueDictionary[int, Entry] = WeakValueDictionary()

    def __len__(self) -> int:
        """How many messages are in memory."""
        return len(self._entries)

    def among(self, seqs: Iterable[int]) -> list[Entry]:
        """Those of these numbers that are in memory."""
        found = (self._entries.get(seq) for seq in seqs)
        return [entry for entry in found if entry is not None]

    def forget(self, entries: Iterable[Entry], mask: int) -> None:
        """A subscription is gone: these messages do not wait on its behalf any more."""
        for entry in entries:
            entry.pending &= ~mask

    def remember(self, entry: Entry) -> None:
        """Share a message that did not come from the database."""
        self._entries[entry.seq] = entry

    def entry(self, row: MessageRow) -> Entry:
        """The message of a row."""
        entry = self._entries.get(row[SEQ])
        if entry is None:
            entry = journal.entry_of(row)
            self._entries[entry.seq] = entry
        return entry

    def load(self, tx: Transaction, queue: Queue) -> None:
        """Read a queue's next page into it, save what outlived its time: that is buried."""
        name, topic = queue.subscription.name, queue.subscription.topic
        limit = min(queue.limit, journal.LOADED)
        page = journal.page(tx, topic, queue.mask, after=queue.loaded, limit=limit)
        fitting = queue.fitting([row[SEQ] for row in page.rows])
        if fitting < len(page.rows):
            page = journal.Page(page.rows[:fitting], page.rows[fitting - 1][SEQ], more=True)
        entries = [self.entry(row) for row in page.rows if row[SEQ] not in queue.apart]
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
