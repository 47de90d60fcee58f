"""Putting messages on the bus, within a transaction: rules, numbers, who keeps what in memory."""

import logging
from collections.abc import Mapping, Sequence

from notifications.bus import journal
from notifications.bus.filters import FilterError, MessageView
from notifications.bus.queues import Entry, Queue
from notifications.bus.reading import Reading
from notifications.bus.settling import Settling
from notifications.crashpoints import Point, passing
from notifications.database import Transaction
from notifications.messages import DeadLetter, Message

log = logging.getLogger("huntaze")

AHEAD = 10_000
"""Numbers that a commit sets apart for those that follow: after a crash so many may be missing."""


class Publishing:
    """Puts messages on topics.

    Attributes:
        next_seq: The next sequence number.
    """

    def __init__(
        self,
        queues: Mapping[str, Sequence[Queue]],
        settling: Settling,
        reading: Reading,
        *,
        wary: bool,
    ) -> None:
        """Put it together.

        Args:
            queues: Each topic's.
            settling: Buries what a rule cannot be asked about.
            reading: Is told of messages that are in memory.
            wary: Whether it is written down with every commit what is in memory. Where not, a
                message that came and went would take its number with it at a crash, to come
                again: numbers are then set apart in advance.
        """
        self._queues = queues
        self._settling = settling
        self._reading = reading
        self._wary = wary
        self._apart = 0  # numbers below it are set apart, durably
        self.next_seq = 1

    def enqueue(self, tx: Transaction, topic: str, messages: Sequence[Message]) -> range:
        """Make messages visible to the subscriptions whose rules take them; their numbers."""
        first = self.next_seq
        entries = [self._entry(tx, message) for message in messages]
        for entry in entries:
            self._match(tx, topic, entry)
        self._arrive(tx, topic, [entry for entry in entries if entry.pending])
        self._set_apart(tx)
        return range(first, self.next_seq)

    def enqueue_for(self, tx: Transaction, queue: Queue, messages: Sequence[Message]) -> None:
        """Make messages visible to one subscription alone, past the rules."""
        entries = [self._entry(tx, message) for message in messages]
        for entry in entries:
            entry.pending = queue.mask
        self._arrive(tx, queue.subscription.topic, entries)
        self._set_apart(tx)

    def schedule(self, tx: Transaction, topic: str, messages: Sequence[Message]) -> range:
        """Keep messages that become visible later; their numbers."""
        first = self.next_seq
        journal.schedule(tx, topic, first, messages)
        self.next_seq += len(messages)
        self._set_apart(tx)
        return range(first, self.next_seq)

    def activate_due(self, tx: Transaction) -> int | None:
        """Make what is due visible, as if it were published now; say when the next is due."""
        for topic, messages in journal.take_due(tx).items():
            passing(Point.SCHEDULE_DUE)
            if topic in self._queues:
                self.enqueue(tx, topic, messages)
            else:
                # An earlier release scheduled them; its subscriptions' messages went likewise.
                log.warning("bus.topic_gone", extra={"topic": topic, "messages": len(messages)})
        return journal.next_due(tx)

    def _entry(self, tx: Transaction, message: Message) -> Entry:
        entry = Entry(self.next_seq, message, tx.now, 0)
        self.next_seq += 1
        return entry

    def _set_apart(self, tx: Transaction) -> None:
        if self._wary or self.next_seq <= self._apart:
            return
        apart = self.next_seq + AHEAD
        journal.set_apart(tx, apart)

        def committed() -> None:
            self._apart = apart

        tx.after_commit(committed)

    def _match(self, tx: Transaction, topic: str, entry: Entry) -> None:
        """Find out which subscriptions take a message."""
        view = MessageView(properties=entry.message.properties, system=_system(entry.message))
        # The hub's own event says which channels carry it: the others have no use for it.
        known = entry.message.decoded
        for queue in self._queues[topic]:
            if known is not None and queue.channel and queue.channel not in known.channels:
                continue
            try:
                if queue.rule.matches(view):
                    entry.pending |= queue.mask
            except FilterError as error:
                # As in Service Bus, whose reason is the name of its own exception.
                why = DeadLetter("FilterException", str(error))
                self._settling.refuse(tx, queue, entry, why)

    def _arrive(self, tx: Transaction, topic: str, entries: list[Entry]) -> None:
        if entries:
            for entry in entries:
                self._reading.remember(entry)
            journal.insert(tx, topic, entries)
            tx.collect(self._write_arrived, (topic, entries))

    def _write_arrived(self, tx: Transaction, items: list[tuple[str, list[Entry]]]) -> None:
        """Decide who keeps what in memory, and write down how far that goes, where it matters."""
        by_topic: dict[str, list[Entry]] = {}
        for topic, entries in items:
            by_topic.setdefault(topic, []).extend(entries)
        arrivals = []
        loaded = []
        for topic, published in by_topic.items():
            for queue in self._queues.get(topic, ()):
                mask = queue.mask
                entries = [entry for entry in published if entry.pending & mask]
                if entries:
                    kept = entries[: queue.room(entries)]
                    arrivals.append((queue, kept, len(kept) < len(entries)))
                    loaded += [(queue.subscription.name, entry.seq) for entry in kept[-1:]]
        if self._wary:
            journal.write_loaded(tx, loaded)

        def arrived() -> None:
            for queue, kept, more in arrivals:
                queue.arrived(kept, more=more)

        tx.after_commit(arrived)


def _system(message: Message) -> dict[str, object]:
    return {
        "MessageId": message.id,
        "Label": message.subject,
        "ContentType": message.content_type,
        **(message.system or {}),
    }
