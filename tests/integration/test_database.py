"""The one writer of a machine's database: groups, durability, failures."""

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from notifications.database import GROUP_LIMIT, Batch, Transaction
from notifications.errors import StoreUnavailable
from notifications.sqlite_file import SqliteDatabase
from notifications.testing import ManualClock
from tests.bus_worlds import held
from tests.loop_gaps import STALL_S, watched

NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT UNIQUE, body BLOB)"
CHILDREN = (
    "CREATE TABLE children (note INTEGER REFERENCES notes (id) DEFERRABLE INITIALLY DEFERRED)"
)


@asynccontextmanager
async def opened(path: Path, patience_s: float = 5.0) -> AsyncIterator[SqliteDatabase]:
    """A database on a file, at work."""
    database = SqliteDatabase(path, ManualClock(), patience_s=patience_s)
    database.start()
    try:
        yield database
    finally:
        await database.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """A database with a table of notes, and one whose rows are checked at the commit."""
    async with opened(tmp_path / "hub.db") as database:
        for table in (NOTES, CHILDREN):
            await database.write(lambda tx, table=table: execute(tx, table))  # type: ignore[misc]
        yield database


def execute(tx: Transaction, statement: str, *parameters: object) -> None:
    """Run a statement of SQLite's."""
    tx.connection.exec_driver_sql(statement, parameters)


def note(text: str, size: int = 0) -> Callable[[Transaction], str]:
    """A unit of work that writes a note."""

    def unit(tx: Transaction) -> str:
        execute(tx, "INSERT INTO notes (text, body) VALUES (?, ?)", text, b"x" * size)
        return text

    return unit


def spoil(tx: Transaction) -> None:
    """A unit of work that writes something and then fails."""
    note("spoilt")(tx)
    raise ZeroDivisionError


def texts(path: Path) -> list[str]:
    """The notes that another connection finds in the file."""
    connection = sqlite3.connect(path)
    found = [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY id")]
    connection.close()
    return found


async def commits(database: SqliteDatabase) -> list[str]:
    """A list that each commit from now on is added to."""
    seen: list[str] = []

    def trace(statement: str) -> None:
        if statement == "COMMIT":
            seen.append(statement)

    def unit(tx: Transaction) -> None:
        driver = tx.connection.connection.driver_connection
        assert driver is not None
        driver.set_trace_callback(trace)

    await database.write(unit)
    seen.clear()
    return seen


class TestGroups:
    """Units that are waiting together."""

    async def test_share_a_commit(self, database: SqliteDatabase) -> None:
        """A hundred concurrent units take a commit or two between them."""
        seen = await commits(database)
        answers = await asyncio.gather(*(database.write(note(str(n))) for n in range(100)))

        assert answers == [str(number) for number in range(100)]
        assert len(texts(database.path)) == 100
        assert 1 <= len(seen) <= 2

    async def test_are_bounded(self, database: SqliteDatabase) -> None:
        """A group takes no more items than its limit, so that the loop gets its turn."""
        sizes: list[int] = []

        def run(_tx: Transaction, items: Sequence[int]) -> Sequence[int]:
            sizes.append(len(items))
            return items

        batch = Batch(run)
        await asyncio.gather(*(database.submit(batch, [number]) for number in range(2_000)))

        assert sum(sizes) == 2_000
        assert max(sizes) == GROUP_LIMIT

    async def test_a_batch_gets_everything_at_once(self, database: SqliteDatabase) -> None:
        """A batch is handed all waiting items in one call, and each caller gets its own answers."""
        calls: list[list[str]] = []

        def run(_tx: Transaction, items: Sequence[str]) -> list[str]:
            calls.append(list(items))
            return [item.upper() for item in items]

        batch = Batch(run)
        asked = [["a", "b"], ["c"], [], ["d", "e"]]
        answers = await asyncio.gather(*(database.submit(batch, items) for items in asked))

        assert calls == [["a", "b", "c", "d", "e"]]
        assert [list(answer) for answer in answers] == [["A", "B"], ["C"], [], ["D", "E"]]

    async def test_what_is_collected_is_written_once(self, database: SqliteDatabase) -> None:
        """What units leave to a writer is handed to it in one call, before the commit."""
        calls: list[list[str]] = []

        def write(tx: Transaction, items: list[str]) -> None:
            calls.append(items)
            for item in items:
                note(item)(tx)

        await asyncio.gather(
            *(database.write(lambda tx, t=t: tx.collect(write, t)) for t in "abc")  # type: ignore[misc]
        )

        assert calls == [["a", "b", "c"]]
        assert texts(database.path) == ["a", "b", "c"]

    async def test_units_know_the_time(self, database: SqliteDatabase) -> None:
        """The time in a transaction is the ledger's."""
        assert await database.write(lambda tx: tx.now) == ManualClock().now()


class TestDurability:
    """What an answer means."""

    async def test_answers_after_the_commit(self, database: SqliteDatabase) -> None:
        """Whoever has an answer finds it in the file, each time."""
        for number in range(20):
            await database.write(note(str(number)))
            assert texts(database.path)[-1] == str(number)

    async def test_regression_a_commit_waits_for_the_disk(self, database: SqliteDatabase) -> None:
        """What was committed is there after the power fails: the connection that writes has a log,
        and SQLite waits for the disk at each commit (2 is FULL)."""

        def unit(tx: Transaction) -> list[object]:
            asked = ("synchronous", "journal_mode")
            return [tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked]

        assert await database.write(unit) == [2, "wal"]

    async def test_callbacks_after_the_commit(self, database: SqliteDatabase) -> None:
        """What is to happen after the commit happens when others can see it, and once."""
        seen: list[list[str]] = []

        def unit(tx: Transaction) -> None:
            note("a")(tx)
            tx.after_commit(lambda: seen.append(texts(database.path)))

        await asyncio.gather(database.write(unit), failing(database.write(spoil)))

        assert seen == [["a"]]

    async def test_a_failing_callback(self, database: SqliteDatabase) -> None:
        """What goes wrong after the commit neither takes it back nor repeats it."""
        seen: list[str] = []

        def unit(tx: Transaction) -> str:
            note("a")(tx)
            tx.after_commit(lambda: 1 // 0)
            tx.after_commit(lambda: seen.append("called"))
            return "done"

        answers = await asyncio.gather(database.write(unit), database.write(note("b")))

        assert answers == ["done", "b"]
        assert texts(database.path) == ["a", "b"]
        assert seen == ["called"]

    async def test_a_cancelled_waiter(self, database: SqliteDatabase) -> None:
        """A unit whose caller went away before its turn is not run."""
        first = asyncio.create_task(database.write(note("first")))
        gone = asyncio.create_task(database.write(note("gone")))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone, first})

        assert texts(database.path) == ["first"]

    async def test_reads_see_what_was_committed(self, database: SqliteDatabase) -> None:
        """A reader finds what was answered, and goes on seeing that while others write."""
        await database.write(note("a"))

        def query(connection: sa.Connection) -> list[int]:
            count = "SELECT count(*) FROM notes"
            before = connection.exec_driver_sql(count).scalar_one()
            other = sqlite3.connect(database.path)
            other.execute("INSERT INTO notes (text) VALUES ('b')")
            other.commit()
            other.close()
            return [before, connection.exec_driver_sql(count).scalar_one()]

        assert await database.read(query) == [1, 1]
        count = await database.read(
            lambda connection: connection.exec_driver_sql("SELECT count(*) FROM notes").scalar()
        )
        assert count == 2

    async def test_reads_write_nothing(self, database: SqliteDatabase) -> None:
        """A reader cannot write past the writer."""
        with pytest.raises(StoreUnavailable):
            await database.read(lambda connection: connection.exec_driver_sql("DELETE FROM notes"))


class TestFailures:
    """Units that fail, and a file that is away."""

    async def test_fail_alone(self, database: SqliteDatabase) -> None:
        """Of units that are waiting together those that fail are told, the others are committed."""
        answers = await asyncio.gather(
            database.write(note("a")),
            database.write(spoil),
            database.write(note("b")),
            database.write(note("a")),
            database.write(note("c")),
            return_exceptions=True,
        )

        assert [type(one) for one in answers] == [str, ZeroDivisionError, str, IntegrityError, str]
        assert texts(database.path) == ["a", "b", "c"]

    async def test_fail_alone_at_the_commit(self, database: SqliteDatabase) -> None:
        """A unit that only the commit finds wrong fails alone, too."""
        orphan = "INSERT INTO children (note) VALUES (99)"
        answers = await asyncio.gather(
            database.write(note("a")),
            database.write(lambda tx: execute(tx, orphan)),
            database.write(note("b")),
            return_exceptions=True,
        )

        assert [type(one) for one in answers] == [str, IntegrityError, str]
        assert texts(database.path) == ["a", "b"]

    async def test_fail_alone_when_collected(self, database: SqliteDatabase) -> None:
        """Who leaves something that cannot be written fails alone."""

        def write(_tx: Transaction, items: list[int]) -> None:
            for item in items:
                assert 1 // item

        answers = await asyncio.gather(
            *(database.write(lambda tx, n=n: tx.collect(write, n)) for n in (1, 0, 1)),  # type: ignore[misc]
            return_exceptions=True,
        )

        assert [type(one) for one in answers] == [type(None), ZeroDivisionError, type(None)]

    async def test_a_batch_fails_by_caller(self, database: SqliteDatabase) -> None:
        """Of a batch only the caller whose items spoil it fails."""

        def run(tx: Transaction, items: Sequence[str]) -> list[str]:
            return [note(item)(tx) for item in items]

        batch = Batch(run)
        answers = await asyncio.gather(
            *(database.submit(batch, items) for items in (["a", "b"], ["c", "c"], ["d"])),
            return_exceptions=True,
        )

        assert isinstance(answers[1], IntegrityError)
        assert texts(database.path) == ["a", "b", "d"]

    async def test_full(self, database: SqliteDatabase) -> None:
        """Where there is no room for a unit it is told so; what fits is written, and all later."""
        await database.write(note("before"))
        pages = "PRAGMA max_page_count = "
        used = await database.read(
            lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        )
        await database.write(lambda tx: execute(tx, f"{pages}{used + 2}"))
        big, small = await asyncio.gather(
            database.write(note("big", 100_000)),
            database.write(note("small")),
            return_exceptions=True,
        )
        assert isinstance(big, StoreUnavailable)
        assert small == "small"
        await database.write(lambda tx: execute(tx, f"{pages}{used + 1_000}"))

        assert await database.write(note("big", 100_000)) == "big"
        assert texts(database.path) == ["before", "small", "big"]

    async def test_the_disk_takes_no_more(self, database: SqliteDatabase) -> None:
        """Where the commit finds no room all are told, nothing is written, and later it is."""
        await database.write(note("before", 2_000_000))
        with largest_file(size_of(f"{database.path}-wal") + 4_096):
            answers = await asyncio.gather(
                *(database.write(note(f"{n}", 50_000)) for n in range(5)), return_exceptions=True
            )
        assert [type(one) for one in answers] == [StoreUnavailable] * 5
        assert texts(database.path) == ["before"]
        await database.write(note("after", 50_000))

        assert texts(database.path) == ["before", "after"]

    async def test_locked(self, tmp_path: Path) -> None:
        """Who waits for a file that somebody else holds is told so, and the loop goes on."""
        async with opened(tmp_path / "hub.db", patience_s=0.3) as database:
            await database.write(lambda tx: execute(tx, NOTES))
            with held(database.path):
                async with watched() as gaps:
                    answers = await asyncio.gather(
                        *(database.write(note(str(number))) for number in range(3)),
                        return_exceptions=True,
                    )
            assert [type(one) for one in answers] == [StoreUnavailable] * 3
            assert max(gaps) < STALL_S
            await database.write(note("after"))

            assert texts(database.path) == ["after"]

    async def test_locked_for_a_moment(self, database: SqliteDatabase) -> None:
        """A file that somebody else holds for a moment is waited for."""
        with held(database.path):
            writing = asyncio.create_task(database.write(note("a")))
            for _ in range(3):
                await database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))
            assert not writing.done()

        assert await writing == "a"

    async def test_mistakes_are_no_outage(self, database: SqliteDatabase) -> None:
        """A statement that is wrong is not taken for a database that is away."""
        with pytest.raises(sa.exc.OperationalError):
            await database.write(lambda tx: execute(tx, "SELECT * FROM nothing"))
        with pytest.raises(sa.exc.OperationalError):
            await database.read(lambda connection: connection.exec_driver_sql("SELECT nothing"))


class TestClosing:
    """The end."""

    async def test_writes_what_waits(self, tmp_path: Path) -> None:
        """What was handed in before the end is written, in as many commits as it takes."""
        database = SqliteDatabase(tmp_path / "hub.db", ManualClock())
        database.start()
        await database.write(lambda tx: execute(tx, NOTES))
        number = 2 * GROUP_LIMIT + 1
        writing = [asyncio.create_task(database.write(note(str(n)))) for n in range(number)]
        await asyncio.sleep(0)
        await database.close()
        await asyncio.gather(*writing)

        assert len(texts(database.path)) == number

    async def test_then_refuses(self, tmp_path: Path) -> None:
        """After the end nothing is taken, and nothing hangs."""
        database = SqliteDatabase(tmp_path / "hub.db", ManualClock())
        database.start()
        await database.close()
        await database.close()

        with pytest.raises(StoreUnavailable):
            await database.write(note("late"))
        with pytest.raises(StoreUnavailable):
            await database.read(lambda connection: connection.exec_driver_sql("SELECT 1"))


async def test_the_loop_goes_on(database: SqliteDatabase) -> None:
    """However much is waiting, the event loop never stands still for long."""

    def run(tx: Transaction, items: Sequence[str]) -> Sequence[str]:
        rows = [{"text": item, "body": b"x" * 500} for item in items]
        tx.connection.execute(sa.text("INSERT INTO notes (text, body) VALUES (:text, :body)"), rows)
        return items

    batch = Batch(run)
    async with watched() as gaps:
        await asyncio.gather(
            *(database.submit(batch, [f"{n}-{m}" for m in range(100)]) for n in range(200)),
            *(database.write(note(f"alone-{n}")) for n in range(1_000)),
            *(failing(database.write(spoil)) for _ in range(3)),
        )

    assert len(texts(database.path)) == 21_000
    assert max(gaps) < STALL_S


async def failing(unit: object) -> None:
    """It fails, as it should."""
    with pytest.raises(ZeroDivisionError):
        await unit  # type: ignore[misc]


def size_of(path: str) -> int:
    """A file's size in bytes."""
    return Path(path).stat().st_size


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: the disk is full there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
