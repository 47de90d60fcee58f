"""Why messages were given back for good: what a bus that cannot be told says of them is too little.

One row a message, however often it came. It leaves with its letter, or once it is older than dead
letters are kept.
"""

from collections.abc import Collection, Mapping

import sqlalchemy as sa

from notifications.database import Database, Transaction
from notifications.messages import DeadLetter
from notifications.stores import codes, tables

LONGEST = 4_096
"""Characters of a reason, and of a description: what Service Bus keeps of each."""

_LONGEST_ID = 128
"""Characters: no id is longer on Service Bus."""


class SqlRejections:
    """Implements `dead_letters.Rejections`; `tidy` is a step of the sweep."""

    def __init__(self, database: Database, *, keep: int) -> None:
        """Put it together; rows older than `keep`, ms, are removed by `tidy`."""
        self._database = database
        self._keep = keep

    # ---------------------------------------------------------------- dead_letters.Rejections

    async def note(self, subscription: str, message_id: str, why: DeadLetter) -> None:
        """See `dead_letters.Rejections.note`."""
        row = {
            "subscription": subscription,
            "message_id": _key(message_id),
            "reason": _cut(why.reason),
            "description": _cut(why.description),
        }

        def write(tx: Transaction) -> None:
            statement = codes.upsert(tx.connection, tables.rejections)
            anew = {each: statement.excluded[each] for each in ("reason", "description", "at")}
            tx.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["subscription", "message_id"], set_=anew
                ),
                {**row, "at": tx.now},
            )

        await self._database.write(write)

    async def of(self, subscription: str, ids: Collection[str]) -> Mapping[str, DeadLetter]:
        """See `dead_letters.Rejections.of`."""
        if not ids:
            return {}
        keys = {each: _key(each) for each in ids}

        def read(connection: sa.Connection) -> dict[str, DeadLetter]:
            return {
                row.message_id: DeadLetter(row.reason, row.description)
                for page in codes.pages(sorted(set(keys.values())))
                for row in connection.execute(_FIND, {"of": subscription, "ids": page})
            }

        found = await self._database.read(read)
        return {each: found[key] for each, key in keys.items() if key in found}

    async def forget(self, subscription: str, ids: Collection[str]) -> None:
        """See `dead_letters.Rejections.forget`."""
        keys = sorted({_key(each) for each in ids})

        def write(tx: Transaction) -> None:
            for page in codes.pages(keys):
                tx.connection.execute(_FORGET, {"of": subscription, "ids": page})

        if keys:
            await self._database.write(write)

    # ---------------------------------------------------------------- sweep

    async def tidy(self, *, limit: int) -> int:
        """Remove up to `limit` rows that are older than is kept; how many it was."""

        def write(tx: Transaction) -> int:
            old = {"oldest": tx.now - self._keep, "limit": limit}
            return tx.connection.execute(_TIDY, old).rowcount

        return await self._database.write(write)


def _key(message_id: str) -> str:
    return _cut(message_id, _LONGEST_ID)


def _cut(text: str, longest: int = LONGEST) -> str:
    return codes.text(text[:longest]) or ""


_r = tables.rejections.c
_b = sa.bindparam

_these = (_r.subscription == _b("of"), _r.message_id.in_(_b("ids", expanding=True)))
_FIND = sa.select(_r.message_id, _r.reason, _r.description).where(*_these)
_FORGET = sa.delete(tables.rejections).where(*_these)

_old = _r.at < _b("oldest")
_TIDY = sa.delete(tables.rejections).where(
    _old,  # here, too: whoever is rejected anew meanwhile is old no more
    sa.tuple_(_r.subscription, _r.message_id).in_(
        sa.select(_r.subscription, _r.message_id).where(_old).order_by(_r.at).limit(_b("limit"))
    ),
)
