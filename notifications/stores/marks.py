"""Marks: numbers that are kept by name, within a transaction."""

from collections.abc import Mapping

from notifications.database import Transaction
from notifications.stores import codes, tables


def write_marks(tx: Transaction, marks: Mapping[str, int]) -> None:
    """Set each mark, whether it was there or not; the rows stay locked until the commit."""
    statement = codes.upsert(tx.connection, tables.marks)
    tx.connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"value": statement.excluded["value"]}
        ),
        # In one order everywhere, so that no two transactions wait for each other.
        [{"name": name, "value": value} for name, value in sorted(marks.items())],
    )
