"""SQLite as the hub uses it: how a file is opened, and which errors mean that it is away."""

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from notifications.errors import StoreUnavailable

OPENING_S = 5
"""How long opening a connection waits for somebody else's lock, and reading likewise."""

_AWAY = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""Errors that are the database's state, not the statement's fault."""


def engine(path: Path, *, pool: type[sa.Pool], **options: Any) -> sa.Engine:
    """An engine on a file; with a `StaticPool` its connection writes, else they only read.

    Who writes begins and ends transactions at the driver: see `sqlite_file`.
    """
    made = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=pool,
        hide_parameters=True,  # errors go to the log, what people entered does not
        connect_args={"check_same_thread": False, "timeout": OPENING_S, "isolation_level": None},
        **options,
    )
    writes = pool is sa.StaticPool

    @sa.event.listens_for(made, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        pragmas = [
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-32000",
            "journal_size_limit=67108864",
            # From here on `Database._begin` waits, not SQLite on the event loop's thread.
            "busy_timeout=0",
        ]
        for pragma in pragmas if writes else [*pragmas[3:5], "query_only=ON"]:
            connection.execute(f"PRAGMA {pragma}")

    if not writes:

        @sa.event.listens_for(made, "begin")
        def _begin(connection: sa.Connection) -> None:
            # The driver's own BEGIN comes too late for a consistent read.
            connection.exec_driver_sql("BEGIN")

    return made


def wrapped(error: sqlite3.Error, statement: str) -> DBAPIError:
    """The driver's error as SQLAlchemy gives it, so that nobody has to know who raised it."""
    made = DBAPIError.instance(statement, None, error, sqlite3.Error, hide_parameters=True)
    assert isinstance(made, DBAPIError)
    return made


def code(error: DBAPIError) -> int:
    """SQLite's code for what went wrong, without its details; 0 where it has none."""
    extended: int = getattr(error.orig, "sqlite_errorcode", 0)
    return extended & 0xFF


def is_away(error: Exception) -> bool:
    """Whether the file cannot answer at present, whatever it is asked."""
    return isinstance(error, DBAPIError) and code(error) in _AWAY


def translated(error: Exception) -> Exception:
    """The hub's own error where the file is away; else the error itself."""
    if isinstance(error, DBAPIError) and is_away(error):
        return StoreUnavailable(f"the database cannot answer: {error.orig}")
    return error
