"""A data folder of the first release opens with today's code, and nothing in it is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from notifications.deliveries import Failed, Parked, Skipped
from notifications.events import Channel
from notifications.messages import Message
from notifications.retries import DAY
from notifications.stores import migrate as migrating
from tests.heart_world import TAKEN, HeartWorld, heart_world, read_rows, sample_event

FIRST = "0001"
REFUSED = Failed(reason="http-500", status=500)
ALL = frozenset(Channel)


def config(connection: sa.Connection) -> Config:
    """Alembic's, on a connection."""
    made = Config()
    made.set_main_option("script_location", str(migrating.MIGRATIONS))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def table_columns(path: Path) -> dict[str, list[str]]:
    """Every table and its columns."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            name
            for (name,) in connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for name in names
            if name != "alembic_version"
        }


def first_release(path: Path) -> None:
    """An empty database as the first release made it."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    with engine.begin() as connection:
        command.upgrade(config(connection), FIRST)


def as_the_first_release_left_it(now: Path, before: Path) -> dict[str, int]:
    """Write what is in a database of today into one of the first release; rows by table."""
    first_release(before)
    known, today = table_columns(before), table_columns(now)
    counts = {}
    with closing(sqlite3.connect(before)) as connection, connection:
        connection.execute("ATTACH ? AS today", (str(now),))
        for table, columns in known.items():
            names = ", ".join(f'"{name}"' for name in columns)
            assert set(columns) <= set(today[table]), f"{table} lost a column"
            done = connection.execute(
                f'INSERT INTO main."{table}" ({names}) SELECT {names} FROM today."{table}"'
            )
            counts[table] = done.rowcount
    return counts


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A folder of today's release, and one of the first."""
    for name in ("today", "before"):
        (tmp_path / name).mkdir()
    return tmp_path / "today", tmp_path / "before"


async def rows_in_every_state(world: HeartWorld) -> None:
    """Delivered, skipped, parked, exhausted, pending, claimed, on the bus, dead."""
    world.webhooks.targets = ("ep_1",)
    world.webhooks.script("delivered", TAKEN)
    world.webhooks.script("retried", REFUSED, TAKEN)
    world.webhooks.script("skipped", Skipped(reason="endpoint-deleted"))
    world.webhooks.script("parked", Parked(reason="endpoint-paused"))
    world.webhooks.script("refused", Failed(reason="address-not-allowed", retryable=False))
    names = ("delivered", "retried", "skipped", "parked", "refused")
    await world.publish(*[sample_event(name) for name in names])
    await world.put(Message(id="junk", body=b"{", properties={"hubConsumer": "webhook"}))
    await world.live_until(lambda: world.states().get("delivered") == 12)
    world.webhooks.script("pending", REFUSED)
    await world.publish(sample_event("pending"))
    await world.until(lambda: world.states().get("pending") == 1)
    await world.until_quiet()
    world.webhooks.hold("ep_1")
    await world.publish(sample_event("claimed"))
    await world.until(lambda: world.states().get("pending") == 2)
    await world.write(
        "INSERT INTO endpoints VALUES ('acme', 'ep_1', 'https://x.example', '[]', '', '', '[]',"
        " '', 'paused', NULL, 0, NULL, 0)"
    )


async def test_a_folder_of_the_first_release_opens_and_loses_nothing(
    folders: tuple[Path, Path],
) -> None:
    """Deliveries in every state, attempts, inboxes, dead letters and what was under way are there
    after the upgrade, go on where they stood, and the audit agrees."""
    today, before = folders
    async with heart_world(today, channels=ALL) as world:
        await rows_in_every_state(world)
        now = world.clock
    counts = as_the_first_release_left_it(today / "hub.db", before / "hub.db")
    for table in ("events", "deliveries", "attempts", "inbox", "bus_dead_letters", "endpoints"):
        assert counts[table], f"nothing in {table} to lose"

    migrating.migrate(before / "hub.db")

    for table, count in counts.items():
        assert read_rows(before / "hub.db", f"SELECT count(*) FROM {table}") == [(count,)], table
    states = dict(
        read_rows(before / "hub.db", "SELECT state, count(*) FROM deliveries GROUP BY state")
    )
    async with heart_world(before, channels=ALL, clock=now) as world:
        assert world.audit().clean
        await world.sweep.sweep()
        await world.live_until(lambda: "pending" not in world.states())
        await world.until_quiet()
        ended = {**states, "delivered": states["delivered"] + states.pop("pending")}
        ended.pop("pending", None)
        assert world.states() == ended
        (again,) = await world.publish(sample_event("delivered"))
        assert again.duplicate
        assert world.audit().clean
        await world.pass_time(DAY)


def test_every_upgrade_leads_on_from_the_one_before() -> None:
    """There is one line of migrations, from the first release to today: no folder is stranded."""
    made = Config()
    made.set_main_option("script_location", str(migrating.MIGRATIONS))
    made.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(made)
    assert len(scripts.get_heads()) == 1
    line = [script.revision for script in scripts.walk_revisions()]
    assert line[-1] == FIRST
    assert line == sorted(line, reverse=True)


def test_upgrading_twice_changes_nothing(tmp_path: Path) -> None:
    """A start after an upgrade finds nothing to do."""
    path = tmp_path / "hub.db"
    first_release(path)
    migrating.migrate(path)
    tables = table_columns(path)
    migrating.migrate(path)
    assert table_columns(path) == tables
