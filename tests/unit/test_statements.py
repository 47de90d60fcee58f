"""Statements that SQLite's driver runs: what SQLAlchemy says of them holds there, too."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError

from notifications import sqlite, statements

things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("told", sa.JSON, nullable=False),
    sa.Column("maybe", sa.JSON(none_as_null=True)),
    sa.Column("raw", sa.LargeBinary),
    sa.Column("count", sa.Integer, nullable=False, server_default="7"),
)
NEW = insert(things).on_conflict_do_nothing()
RAISE = (
    sa.update(things)
    .where(things.c.name == sa.bindparam("b_name"), things.c.count < 100)
    .values(count=things.c.count + sa.bindparam("b_more"))
)
ONE = sa.select(things).where(things.c.name == sa.bindparam("name"))


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sa.Connection]:
    """A transaction of the writer's."""
    engine = sqlite.engine(tmp_path / "some.db", pool=sa.StaticPool)
    with engine.begin() as connection:
        things.create(connection)
        yield connection
    engine.dispose()


def row(name: str, **values: Any) -> dict[str, Any]:
    """A thing."""
    return {"name": name, "told": {"é": [1, None]}, "maybe": None, "raw": b"\0\xff", **values}


@pytest.mark.parametrize("told", [{"é": [1, None]}, None, "half a pair: \ud800", 1 << 62])
def test_what_is_written_is_read_by_either_way(connection: sa.Connection, told: object) -> None:
    """JSON, bytes and nothing come back as they were, from the driver and from SQLAlchemy."""
    statements.run(connection, NEW, [row("a", told=told), row("b", maybe=[1])])
    for name, maybe in (("a", None), ("b", [1])):
        found = statements.first(connection, ONE, {"name": name})
        assert tuple(connection.execute(ONE, {"name": name}).one()) == tuple(found)
        assert (found.maybe, found.raw, found.count) == (maybe, b"\0\xff", 7)
    assert statements.first(connection, ONE, {"name": "a"}).told == told
    assert statements.first(connection, ONE, {"name": "c"}) is None


def test_only_what_was_not_there_is_new(connection: sa.Connection) -> None:
    """The row that is there stays as it is."""
    rows = [row("a"), row("a", raw=b"other"), row("b")]
    assert statements.new_of(connection, NEW, rows) == [True, False, True]
    assert statements.new_of(connection, NEW, []) == []
    assert [statements.is_new(connection, NEW, row(name)) for name in ("b", "c")] == [False, True]
    assert statements.first(connection, ONE, {"name": "a"}).raw == b"\0\xff"


def test_values_of_the_statements_own_are_in_it(connection: sa.Connection) -> None:
    """What a statement compares with goes along, for one row and for several."""
    statements.run(connection, NEW, [row("a"), row("b")])
    statements.run(connection, RAISE, {"b_name": "a", "b_more": 90})
    statements.run(connection, RAISE, [{"b_name": name, "b_more": 5} for name in ("a", "a", "b")])
    counts = [statements.first(connection, ONE, {"name": name}).count for name in ("a", "b")]
    assert counts == [102, 12]


def test_it_is_undone_with_the_transaction(connection: sa.Connection) -> None:
    """The driver writes in the connection's own transaction."""
    savepoint = connection.begin_nested()
    statements.run(connection, NEW, row("a"))
    savepoint.rollback()
    assert statements.first(connection, ONE, {"name": "a"}) is None


def test_a_failure_says_nothing_of_the_values(connection: sa.Connection) -> None:
    """It is SQLAlchemy's error with the driver's in it, so that whoever asks for its code finds
    it; what people entered is left out."""
    for values in (row("secret", told=None, count=None), [row("secret", count=None)]):
        with pytest.raises(DBAPIError) as failed:
            statements.run(connection, NEW, values)
        assert sqlite.code(failed.value) == sqlite3.SQLITE_CONSTRAINT
        assert "secret" not in str(failed.value)
