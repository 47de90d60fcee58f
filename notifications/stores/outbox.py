"""The outbox: messages of a transaction for a bus that does not share its commit.

Whoever commits them sends them at once. What is left behind, because the process died or the bus
was away, is the sweep's: any number of instances may relay, each leases what it takes. A message
that is sent twice is harmless, since the ledger is the truth and a message only a wake-up.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson
import sqlalchemy as sa

from notifications.crashpoints import Point, between, passing
from notifications.database import Batch, Database, Transaction
from notifications.errors import FieldError, InvalidInput, Unavailable
from notifications.messages import Message, Received
from notifications.retries import SECOND
from notifications.stores import codes, tables
from notifications.timing import Numbers

log = logging.getLogger("huntaze")

LEASE_MS = 30 * SECOND
"""How long whoever took messages has for sending them, before another may."""

TOGETHER = 500
"""Messages handed to the bus at once."""

SENDERS = 4
"""How many such lots are under way at once."""

Send = Callable[[Sequence[Message]], Awaitable[None]]
"""Puts messages on a topic, all or none."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A message, its row, and the topic it goes to; None is the events topic."""

    id: int
    message: Message
    topic: str | None


class SqlOutbox:
    """Implements `ledger.Outbox`, and `relay` for the sweep.

    Args:
        database: Where the ledger is.
        numbers: Number the rows.
        send: Puts messages on the events topic; raises `Unavailable` while the bus is away, and
            `InvalidInput` for what it will never take.
        others: The same for other topics, by their names.
    """

    def __init__(
        self,
        database: Database,
        numbers: Numbers,
        send: Send,
        others: Mapping[str, Send] | None = None,
    ) -> None:
        self._database = database
        self._numbers = numbers
        self._sends: dict[str | None, Send] = {None: send}
        self._sends.update(others or {})
        self._in_hand: list[_Letter] = []
        self._came = asyncio.Event()
        self._senders: list[asyncio.Task[None]] = []
        self._forgetting: Batch[int, None] = Batch(_forget)

    def start(self) -> None:
        """Begin to send what is put."""
        self._senders = [
            asyncio.create_task(self._send_what_comes(), name=f"outbox-{number}")
            for number in range(SENDERS)
        ]

    async def close(self) -> None:
        """Stop; what is still in hand is sent by another process, or at the next start."""
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)

    # ---------------------------------------------------------------- ledger.Outbox

    def put(
        self, tx: Transaction, messages: Sequence[Message], *, topic: str | None = None
    ) -> None:
        """Leave messages in the outbox with `tx`; they are sent once it is committed.

        They go to the events topic where no other is named, which has to be one of `others`.
        """
        assert topic in self._sends, topic
        letters = [_Letter(self._numbers.next(), message, topic) for message in messages]
        rows = [_row(letter, tx.now + LEASE_MS) for letter in letters]
        tx.connection.execute(sa.insert(tables.outbox), rows)
        tx.after_commit(lambda: self._hand_over(letters))

    def complete(self, tx: Transaction, received: Sequence[Received]) -> None:
        """The bus does not share the commit: whoever received a message settles it afterwards."""

    def _hand_over(self, letters: Sequence[_Letter]) -> None:
        self._in_hand.extend(letters)
        self._came.set()

    # ---------------------------------------------------------------- sending

    async def relay(self, *, limit: int) -> int:
        """Send up to `limit` messages that were left behind; how many those were."""

        def lease(tx: Transaction) -> list[_Letter]:
            query = {"now": tx.now, "limit": limit}
            rows = tx.connection.execute(_LEFT, query).mappings().all()
            if rows:
                until = tx.now + LEASE_MS
                leases = [{"b_id": row["id"], "b_until": until} for row in rows]
                tx.connection.execute(_LEASE, leases)
            return [_letter(row) for row in rows]

        letters = await self._database.write(lease)
        if letters:
            await self._send_lot(letters)
        return len(letters)

    async def _send_what_comes(self) -> None:
        while True:
            await self._came.wait()
            lot, self._in_hand = self._in_hand[:TOGETHER], self._in_hand[TOGETHER:]
            if not self._in_hand:
                self._came.clear()
            if not lot:
                continue
            try:
                await self._send_lot(lot)
            except Unavailable as error:
                # Their leases run out, and the sweep sends them.
                log.warning("outbox.left", extra={"messages": len(lot), "detail": str(error)})
            except Exception:
                log.exception("outbox.failed")

    async def _send_lot(self, letters: Sequence[_Letter]) -> None:
        by_topic: dict[str | None, list[_Letter]] = {}
        for letter in letters:
            by_topic.setdefault(letter.topic, []).append(letter)
        for topic, same in by_topic.items():
            await self._send_to(topic, same)

    async def _send_to(self, topic: str | None, letters: Sequence[_Letter]) -> None:
        """Send and forget; what the bus refuses for good is set aside and holds up nothing."""
        send = self._sends.get(topic) or partial(_no_topic, topic)
        try:
            sending = send([letter.message for letter in letters])
            await between(Point.RELAY_BEGINS, sending, Point.RELAY_SENT)
        except InvalidInput as error:
            if len(letters) == 1:
                await self._set_aside(letters[0], error)
                return
            for letter in letters:
                await self._send_to(topic, [letter])
            return
        await self._database.submit(self._forgetting, [letter.id for letter in letters])
        passing(Point.RELAY_FORGOTTEN)

    async def _set_aside(self, letter: _Letter, error: InvalidInput) -> None:
        log.error("outbox.rejected", extra={"messageId": letter.message.id, "detail": str(error)})
        row = {"b_id": letter.id, "b_why": codes.text(str(error))}
        await self._database.write(lambda tx: tx.connection.execute(_REJECT, row))


async def _no_topic(topic: str | None, _messages: Sequence[Message]) -> None:
    """Where another release left a message."""
    raise InvalidInput([FieldError("", f"there is no topic {topic!r}")])


def _forget(tx: Transaction, ids: Sequence[int]) -> list[None]:
    for page in codes.pages(sorted(ids)):
        tx.connection.execute(_FORGET, {"ids": page})
    return [None] * len(ids)


def _row(letter: _Letter, leased_until: int) -> dict[str, Any]:
    message = letter.message
    return {
        "id": letter.id,
        "due_at": message.due_at,
        "leased_until": leased_until,
        "rejected": None,
        "topic": letter.topic,
        "message_id": message.id,
        "properties": orjson.dumps(dict(message.properties)),
        "subject": message.subject,
        "content_type": message.content_type,
        "body": message.body,
    }


def _letter(row: sa.RowMapping) -> _Letter:
    return _Letter(
        row["id"],
        Message(
            id=row["message_id"],
            body=row["body"],
            properties=orjson.loads(row["properties"]),
            subject=row["subject"],
            content_type=row["content_type"],
            due_at=row["due_at"],
        ),
        row["topic"],
    )


_o = tables.outbox.c
_b = sa.bindparam
_LEFT = (
    sa.select(tables.outbox)
    .where(_o.rejected.is_(None), _o.leased_until < _b("now"))
    .order_by(_o.leased_until)
    .limit(_b("limit"))
    .with_for_update(skip_locked=True)
)
_LEASE = sa.update(tables.outbox).where(_o.id == _b("b_id")).values(leased_until=_b("b_until"))
_FORGET = sa.delete(tables.outbox).where(_o.id.in_(_b("ids", expanding=True)))
_REJECT = sa.update(tables.outbox).where(_o.id == _b("b_id")).values(rejected=_b("b_why"))
