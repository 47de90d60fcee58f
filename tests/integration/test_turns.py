"""A tenant's limits hold to the one, however many processes add at once, on either database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sa

from notifications.database import Database
from notifications.postgres import PostgresDatabase
from notifications.records import ApiKey
from notifications.sqlite_file import SqliteDatabase
from notifications.stores import tables
from notifications.stores.directory import SqlKeys
from notifications.stores.migrate import migrate
from notifications.stores.writable import WriteProbe
from notifications.testing import ManualClock
from tests.postgres_server import migrated_database

MOST = 5


@pytest.fixture(params=["sqlite", "postgresql"])
async def databases(
    tmp_path: Path, request: pytest.FixtureRequest
) -> AsyncIterator[list[Database]]:
    """What processes of a hub hold: three on one PostgreSQL, one on a file."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            migrate(tmp_path / "hub.db")
            file = SqliteDatabase(tmp_path / "hub.db", clock)
            file.start()
            stack.push_async_callback(file.close)
            yield [file]
            return
        url = migrated_database()
        shared = [PostgresDatabase(url, clock) for _ in range(3)]
        for each in shared:
            await each.start()
            stack.push_async_callback(each.close)
        yield list(shared)


async def test_no_tenant_gets_more_than_it_may(databases: list[Database]) -> None:
    """Sixty additions at once for two tenants: each ends with exactly as many as it may have."""
    stores = [SqlKeys(database, ManualClock()) for database in databases]

    async def add(tenant: str, number: int) -> bool:
        name = f"{tenant}-{number}"
        key = ApiKey(tenant_id=tenant, id=name, name=name, created_at=number)
        keys = stores[number % len(stores)]
        return await keys.add(key, sha256(name.encode()).digest(), most=MOST)

    added = await asyncio.gather(
        *(add(tenant, number) for number in range(30) for tenant in ("acme", "other"))
    )

    assert sum(added) == 2 * MOST
    for tenant in ("acme", "other"):
        assert len(await stores[0].page(tenant)) == MOST


async def test_asking_whether_it_can_be_written_leaves_nothing(databases: list[Database]) -> None:
    """However many processes ask at once, none is refused, and no row stays."""
    probes = [WriteProbe(database, ManualClock()) for database in databases]

    await asyncio.gather(*(probe() for probe in probes))

    count = sa.select(sa.func.count()).select_from(tables.marks)
    assert await databases[0].read(lambda c: c.execute(count).scalar_one()) == 0
