"""The database that several processes share: groups, snapshots, failures, the server's clock."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, ProgrammingError

from notifications.database import GROUP_LIMIT, Batch, Transaction
from notifications.errors import ConfigurationError, StoreUnavailable
from notifications.postgres import PostgresDatabase, ServerTime
from notifications.stores.migrate import migrate_server
from notifications.testing import ManualClock
from tests.postgres_server import new_database

NOTES = "CREATE TABLE notes (id BIGSERIAL PRIMARY KEY, text TEXT UNIQUE)"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[PostgresDatabase]:
    """A database at work."""
    database = PostgresDatabase(url, ManualClock())
    await database.start()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
def url() -> str:
    """A database with a table of notes."""
    url = new_database()
    with psycopg.connect(url) as connection:
        connection.execute(NOTES)
    return url


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    """The same, at work."""
    async with opened(url) as database:
        yield database


def execute(tx: Transaction, statement: str, *parameters: object) -> sa.CursorResult[object]:
    """Run a statement."""
    return tx.connection.exec_driver_sql(statement, parameters)


def note(text: str) -> Callable[[Transaction], str]:
    """A unit of work that writes a note."""

    def unit(tx: Transaction) -> str:
        execute(tx, "INSERT INTO notes (text) VALUES (%s)", text)
        return text

    return unit


def texts(url: str) -> set[str]:
    """The notes that another connection finds."""
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT text FROM notes").fetchall()}


def cut_everybody(url: str) -> None:
    """End every connection to the database from the server's side, as a restart of it does."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


class TestGroups:
    """Units that are waiting together."""

    async def test_share_transactions(self, url: str, database: PostgresDatabase) -> None:
        """A batch's items that wait take few transactions, and each gets its own answer."""
        seen: set[int] = set()

        def run(tx: Transaction, items: Sequence[int]) -> Sequence[int]:
            seen.add(id(tx))
            for number in items:
                note(str(number))(tx)
            return items

        batch = Batch(run)
        answers = await asyncio.gather(*(database.submit(batch, [n]) for n in range(100)))
        assert answers == [[number] for number in range(100)]
        assert len(texts(url)) == 100
        assert len(seen) <= 8

    async def test_are_bounded(self, database: PostgresDatabase) -> None:
        """A group takes no more items than its limit, so that the loop gets its turn."""
        sizes: list[int] = []

        def run(_tx: Transaction, items: object) -> object:
            assert isinstance(items, list)
            sizes.append(len(items))
            return items

        batch = Batch(run)  # type: ignore[arg-type]
        await asyncio.gather(*(database.submit(batch, [number]) for number in range(2_000)))
        assert sum(sizes) == 2_000
        assert max(sizes) <= GROUP_LIMIT

    async def test_fail_alone(self, url: str, database: PostgresDatabase) -> None:
        """A unit that breaks a rule of the database is told; its neighbours are written."""
        await database.write(note("taken"))
        ended = await asyncio.gather(
            *(database.write(note(text)) for text in ("a", "taken", "b")), return_exceptions=True
        )
        assert [type(each) for each in ended] == [str, IntegrityError, str]
        assert texts(url) == {"taken", "a", "b"}

    async def test_are_answered_after_the_commit(
        self, url: str, database: PostgresDatabase
    ) -> None:
        """Whoever has an answer finds what was written through another connection."""

        async def write(number: int) -> bool:
            await database.write(note(str(number)))
            return str(number) in await asyncio.to_thread(texts, url)

        assert all(await asyncio.gather(*(write(number) for number in range(30))))

    async def test_call_back_once_they_are_durable(
        self, url: str, database: PostgresDatabase
    ) -> None:
        """What a unit wants done after the commit is done then, and not at all without one."""
        called: list[str] = []

        def unit(text: str) -> Callable[[Transaction], None]:
            def run(tx: Transaction) -> None:
                note(text)(tx)
                tx.after_commit(lambda: called.append(text))

            return run

        await database.write(unit("a"))
        with pytest.raises(IntegrityError):
            await database.write(unit("a"))
        assert called == ["a"]


class TestOthers:
    """Transactions beside each other."""

    async def test_a_deadlock_is_run_again(self, url: str, database: PostgresDatabase) -> None:
        """Of two that wait for each other the server ends one; it is written all the same."""
        await database.write(note("a"))
        await database.write(note("b"))
        async with opened(url) as other:

            def lock(first: str, second: str) -> Callable[[Transaction], None]:
                def run(tx: Transaction) -> None:
                    for text in (first, second):
                        execute(tx, "UPDATE notes SET text = text WHERE text = %s", text)
                        execute(tx, "SELECT pg_sleep(0.2)")

                return run

            await asyncio.gather(database.write(lock("a", "b")), other.write(lock("b", "a")))
        assert texts(url) == {"a", "b"}
        # A statement more, since the server tells its statistics with the next one.
        await database.write(note("c"))
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        give_up = time.monotonic() + 10
        while not await database.look(lambda c: c.execute(sa.text(query)).scalar()):
            assert time.monotonic() < give_up, "they did not wait for each other"
            await asyncio.sleep(0.05)

    async def test_batches_of_different_kinds_never_wait_in_a_circle(
        self, url: str, database: PostgresDatabase, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What comes in one order here and in the other there shares no transaction: the server
        never has to end one for the other's sake, which takes it a second each time."""
        caplog.set_level("INFO", "huntaze")
        for text in ("a", "b"):
            await database.write(note(text))

        def touching(text: str) -> Batch[None, None]:
            def run(tx: Transaction, items: Sequence[None]) -> Sequence[None]:
                execute(tx, "UPDATE notes SET text = text WHERE text = %s", text)
                execute(tx, "SELECT pg_sleep(0.005)")
                return items

            return Batch(run)

        async with opened(url) as other:
            a, b = touching("a"), touching("b")
            for _ in range(20):
                here = [database.submit(batch, [None]) for batch in (a, b)]
                there = [other.submit(batch, [None]) for batch in (b, a)]
                await asyncio.gather(*here, *there)
        assert "database.again" not in [each.getMessage() for each in caplog.records]

    async def test_a_read_sees_one_moment(self, url: str, database: PostgresDatabase) -> None:
        """Two statements of a read agree, whatever is written between them."""
        await database.write(note("before"))

        def query(connection: sa.Connection) -> list[int]:
            counts = []
            for _ in range(2):
                counts.append(
                    connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one()
                )
                with psycopg.connect(url) as beside:
                    beside.execute(f"INSERT INTO notes (text) VALUES ('{len(counts)}')".encode())
            return counts

        assert await database.read(query) == [1, 1]
        assert len(texts(url)) == 3

    async def test_reads_write_nothing(self, database: PostgresDatabase) -> None:
        """A query that would write is refused by the server."""
        with pytest.raises(StoreUnavailable, match="read-only"):
            await database.read(lambda connection: connection.execute(sa.text("DELETE FROM notes")))

    async def test_whoever_is_cancelled_leaves_the_connection_whole(
        self, database: PostgresDatabase
    ) -> None:
        """Readers that give up mid-statement cost no connection, however many they are."""
        for _ in range(30):
            reading = asyncio.create_task(
                database.look(lambda c: c.execute(sa.text("SELECT pg_sleep(0.02)")).all())
            )
            await asyncio.sleep(0.001)
            reading.cancel()
            await asyncio.wait([reading])
        assert await database.look(lambda c: c.execute(sa.text("SELECT 1")).scalar()) == 1


class TestOutages:
    """A server that goes away and comes back."""

    async def test_kept_connections_that_were_cut_are_replaced(
        self, url: str, database: PostgresDatabase
    ) -> None:
        """After a restart of the server the next read and the next write just succeed."""
        await database.write(note("before"))
        cut_everybody(url)
        assert await database.look(lambda c: c.execute(sa.text("SELECT 1")).scalar()) == 1
        cut_everybody(url)
        await database.write(note("after"))
        assert texts(url) == {"before", "after"}

    async def test_a_server_that_is_not_there(self) -> None:
        """What nobody answers for is an outage, said in one line, not a mistake of the caller."""
        database = PostgresDatabase("postgresql://hub@127.0.0.1:9/none", ManualClock())
        await database.start()
        with pytest.raises(StoreUnavailable, match="cannot answer"):
            await database.write(note("never"))
        with pytest.raises(StoreUnavailable, match="cannot answer"):
            await database.read(lambda c: c.execute(sa.text("SELECT 1")).all())
        await database.close()

    async def test_mistakes_are_no_outage(self, database: PostgresDatabase) -> None:
        """A statement that is wrong is told as such."""
        with pytest.raises(ProgrammingError):
            await database.write(lambda tx: execute(tx, "SELECT * FROM nowhere"))

    async def test_a_full_disk_is_an_outage(self, database: PostgresDatabase) -> None:
        """`53100 disk_full`, as the server says it, is not the fault of what was to be written."""
        raise_full = "DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'disk full'; END $$"
        with pytest.raises(StoreUnavailable, match="disk full"):
            await database.write(lambda tx: execute(tx, raise_full))

    async def test_a_closed_database_refuses(self, url: str) -> None:
        """What comes after the end is refused; what came before is written."""
        async with opened(url) as database:
            writing = [asyncio.ensure_future(database.write(note(str(n)))) for n in range(20)]
            await asyncio.sleep(0)
        await asyncio.gather(*writing)
        assert len(texts(url)) == 20
        with pytest.raises(StoreUnavailable, match="stopping"):
            await database.write(note("late"))


class TestTheServersClock:
    """Due times and leases are by one clock, whichever machine asks."""

    async def test_is_the_clock(self, url: str) -> None:
        """Without another clock, a transaction's time is the server's."""
        database = PostgresDatabase(url)
        await database.start()
        now, told = await database.write(
            lambda tx: (
                tx.now,
                execute(tx, "SELECT extract(epoch FROM clock_timestamp()) * 1000").scalar(),
            )
        )
        await database.close()
        assert abs(now - float(str(told))) < 1_000

    def test_the_quickest_answer_is_believed(self) -> None:
        """Of several questions that one counts whose answer was the least long under way."""
        server = ServerTime()
        server.learn(1_000.0 + 60, asked=999.0, answered=1_001.0)
        server.learn(1_000.0 + 3_600, asked=1_000.0, answered=1_000.01)
        server.learn(1_000.0 + 90, asked=998.0, answered=1_002.0)
        server.settle()
        assert 3_599 < server() - time.time() < 3_601


class TestMigrating:
    """Bringing a server's database to this release."""

    async def test_many_at_once(self) -> None:
        """Hubs that start together migrate once; the others wait for it."""
        url = new_database()
        await asyncio.gather(*(asyncio.to_thread(migrate_server, url) for _ in range(4)))
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)

    def test_a_server_that_is_not_there(self) -> None:
        """The message names the setting and keeps the password to itself."""
        with pytest.raises(ConfigurationError) as raised:
            migrate_server("postgresql://hub:s3cret@127.0.0.1:9/none")
        assert "HUNTAZE_DATABASE_URL" in str(raised.value)
        assert "s3cret" not in str(raised.value)
