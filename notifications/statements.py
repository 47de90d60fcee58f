"""Statements that run many times a second: SQLAlchemy writes them, SQLite's driver runs them.

SQLAlchemy takes 50 µs for each run of a statement of which SQLite itself needs ten, and 10 µs more
for each row of a list. So what is run for each event and each job is written once, by the names of
its values, and handed to the driver, within the connection's own transaction. On PostgreSQL, where
the way to the server is what costs, the same statements go the usual way.

Statements are kept by identity: they belong to modules, or to functions that keep them. None may
have a list that expands (`IN`).
"""

import json
import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import pysqlite

from notifications.sqlite import wrapped

Values = Mapping[str, Any]
_Processor = Callable[[Any], Any]
_Taking = Callable[[Values], Sequence[Any]]


_MOST = 1_000
"""Statements that are kept: a hub has dozens, and whoever makes them anew each time has too many.
"""


def _to_json(value: object) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate pair, which a model may say
        return json.dumps(value)


def _of_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)


# By place: the driver asks for every name of every row again, a quarter of an insert's time.
_SQLITE = pysqlite.dialect(paramstyle="qmark", json_serializer=_to_json, json_deserializer=_of_json)


def run(connection: sa.Connection, statement: Any, values: Values | Sequence[Values]) -> None:
    """Run a statement, or run it for each of several, or of none: what they name is the same."""
    several = not isinstance(values, Mapping)
    if several and not values:
        return
    if connection.dialect.name != "sqlite":
        connection.execute(statement, values)
    elif isinstance(values, Mapping):
        _kept(statement, tuple(values)).run(connection, values)
    else:
        _kept(statement, tuple(values[0])).run_each(connection, values)


def first(connection: sa.Connection, statement: Any, values: Values) -> Any:
    """The first row that a query finds, its columns by name; None where there is none."""
    if connection.dialect.name != "sqlite":
        return connection.execute(statement, values).first()
    return _kept(statement, tuple(values)).first(connection, values)


def is_new(connection: sa.Connection, statement: Any, values: Values) -> bool:
    """Insert a row, unless it is there already; whether it is new."""
    return new_of(connection, statement, (values,))[0]


def new_of(connection: sa.Connection, statement: Any, rows: Sequence[Values]) -> list[bool]:
    """Insert rows, save those that are there already; of each whether it is new."""
    if not rows:
        return []
    if connection.dialect.name != "sqlite":
        counted = {"preserve_rowcount": True}
        return [
            connection.execute(statement, row, execution_options=counted).rowcount == 1
            for row in rows
        ]
    return _kept(statement, tuple(rows[0])).new_of(connection, rows)


class _Kept:
    """A statement as SQLite's driver takes it."""

    __slots__ = ("_bound", "_fixed", "_made", "_placed", "_read", "_sql", "_taken", "statement")

    def __init__(self, statement: Any, names: tuple[str, ...]) -> None:
        compiled = statement.compile(dialect=_SQLITE, column_keys=list(names))
        self.statement = statement  # kept, so that nothing else gets its identity
        self._sql = str(compiled)
        binds = {name: bind for bind, name in compiled.bind_names.items()}
        own = {name: bind for name, bind in binds.items() if name not in names}
        missing = [name for name, bind in own.items() if bind.required]
        assert not missing, f"no value for {', '.join(missing)}"
        self._fixed = {name: bind.value for name, bind in own.items()}
        self._bound = _processors(
            (name, bind.type.dialect_impl(_SQLITE).bind_processor(_SQLITE))
            for name, bind in binds.items()
        )
        self._taken = _taking(compiled.positiontup)
        self._placed = self._filled if self._bound or self._fixed else self._taken
        columns = list(statement.selected_columns) if statement.is_select else []
        self._made = _maker([column.key for column in columns])
        self._read = _processors(
            (place, column.type.dialect_impl(_SQLITE).result_processor(_SQLITE, None))
            for place, column in enumerate(columns)
        )

    def run(self, connection: sa.Connection, values: Values) -> None:
        self._execute(_driver(connection), values)

    def run_each(self, connection: sa.Connection, rows: Sequence[Values]) -> None:
        try:
            _driver(connection).executemany(self._sql, map(self._placed, rows))
        except sqlite3.Error as error:
            raise wrapped(error, self._sql) from error

    def new_of(self, connection: sa.Connection, rows: Sequence[Values]) -> list[bool]:
        driver = _driver(connection)
        return [self._execute(driver, values).rowcount == 1 for values in rows]

    def first(self, connection: sa.Connection, values: Values) -> Any:
        found = self._execute(_driver(connection), values).fetchone()
        if found is None:
            return None
        if self._read:
            found = list(found)
            for place, process in self._read:
                found[place] = process(found[place])
        return self._made(found)

    def _execute(self, driver: sqlite3.Connection, values: Values) -> sqlite3.Cursor:
        try:
            return driver.execute(self._sql, self._placed(values))
        except sqlite3.Error as error:
            raise wrapped(error, self._sql) from error

    def _filled(self, values: Values) -> Sequence[Any]:
        """Values where the statement has them, with its own, as the driver takes them."""
        whole = {**self._fixed, **values}
        for name, process in self._bound:
            whole[name] = process(whole[name])
        return self._taken(whole)


_KEPT: dict[tuple[int, tuple[str, ...]], _Kept] = {}


def _kept(statement: Any, names: tuple[str, ...]) -> _Kept:
    key = (id(statement), names)
    found = _KEPT.get(key)
    if found is None:
        assert len(_KEPT) < _MOST, "a statement that is made anew each time is not kept"
        found = _KEPT[key] = _Kept(statement, names)
    return found


def _taking(names: Sequence[str]) -> _Taking:
    """Takes these out of a row's values, in this order."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: [values[name] for name in names]


def _maker(names: Sequence[str]) -> Callable[[Sequence[Any]], Any]:
    """Makes rows with these names of the driver's."""
    row: Any = namedtuple("row", names)  # type: ignore[misc]  # noqa: PYI024
    make: Callable[[Sequence[Any]], Any] = row._make
    return make


def _processors(found: Any) -> list[tuple[Any, _Processor]]:
    return [(at, process) for at, process in found if process is not None]


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver: Any = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
