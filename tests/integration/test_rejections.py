"""Why messages were given back for good: kept once, on both databases, as long as letters are."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from notifications.database import Database
from notifications.messages import DeadLetter
from notifications.postgres import PostgresDatabase
from notifications.retries import DAY
from notifications.sqlite_file import SqliteDatabase
from notifications.stores import tables
from notifications.stores.rejections import LONGEST, SqlRejections
from notifications.testing import ManualClock
from tests.heart_world import SQLITE, STORES
from tests.new_file import new_file
from tests.postgres_server import migrated_database

HERE, THERE = "notify-email", "notify-webhook"
GARBLED = DeadLetter("not-json", "line 1, column 1")
STRANGE = DeadLetter("unknown-type", "no type no.such")
KEEP = 30 * DAY


@pytest.fixture
def clock() -> ManualClock:
    """The ledger's time."""
    return ManualClock()


@pytest.fixture(params=STORES)
async def database(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Database]:
    """A database of this release with nothing in it."""
    opened: SqliteDatabase | PostgresDatabase
    if request.param == SQLITE:
        new_file(tmp_path / "hub.db")
        opened = SqliteDatabase(tmp_path / "hub.db", clock)
        opened.start()
    else:
        opened = PostgresDatabase(migrated_database(), clock)
        await opened.start()
    yield opened
    await opened.close()


@pytest.fixture
def rejections(database: Database) -> SqlRejections:
    """What is tried."""
    return SqlRejections(database, keep=KEEP)


async def count(database: Database) -> int:
    """How many rows there are."""
    query = sa.select(sa.func.count()).select_from(tables.rejections)
    return await database.read(lambda seen: int(seen.execute(query).scalar_one()))


async def test_however_often_it_comes_it_is_one_row_with_the_last_reason(
    database: Database, rejections: SqlRejections
) -> None:
    """Each delivery says why anew, and a newer release may know better."""
    for why in (GARBLED, GARBLED, STRANGE):
        await rejections.note(HERE, "a", why)

    assert await count(database) == 1
    assert await rejections.of(HERE, ["a", "never came"]) == {"a": STRANGE}


async def test_each_subscription_has_its_own(database: Database, rejections: SqlRejections) -> None:
    """What one consumer says of a message is nothing to the others, nor is what it forgets."""
    await rejections.note(HERE, "a", GARBLED)
    await rejections.note(THERE, "a", STRANGE)
    await rejections.note(THERE, "b", STRANGE)

    assert await rejections.of(HERE, ["a", "b"]) == {"a": GARBLED}
    await rejections.forget(THERE, ["a", "never came"])
    await rejections.forget(THERE, [])
    assert await rejections.of(HERE, ["a"]) == {"a": GARBLED}
    assert await rejections.of(THERE, ["a", "b"]) == {"b": STRANGE}
    assert await rejections.of(THERE, []) == {}


async def test_whatever_others_call_their_messages_it_is_found(
    database: Database, rejections: SqlRejections
) -> None:
    """Ids and texts that no database holds as they are, and more ids than a statement takes."""
    odd = "a\0b" + "é" * 300
    await rejections.note(HERE, odd, DeadLetter("r" * 5_000, "\0" + "d" * 5_000))
    many = [odd, *(str(number) for number in range(1_000))]
    found = await rejections.of(HERE, many)

    assert found == {odd: DeadLetter("r" * LONGEST, "\ufffd" + "d" * (LONGEST - 1))}
    await rejections.forget(HERE, many)
    assert await count(database) == 0


async def test_old_ones_leave_in_pages_and_renewed_ones_stay(
    database: Database, rejections: SqlRejections, clock: ManualClock
) -> None:
    """A call removes so many; what was said again meanwhile is as old as its last word."""
    for number in range(7):
        await rejections.note(HERE, str(number), GARBLED)
    await clock.advance(KEEP)
    await rejections.note(HERE, "3", GARBLED)
    assert await rejections.tidy(limit=4) == 0
    await clock.advance(1)

    assert [await rejections.tidy(limit=4) for _ in range(3)] == [4, 2, 0]
    assert await rejections.of(HERE, [str(number) for number in range(7)]) == {"3": GARBLED}
