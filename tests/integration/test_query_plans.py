"""How the database finds what the API reads: by index, in order, on both databases."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from ai_workers.jobs import State
from ai_workers.store import SqlJobs
from notifications.directory import Endpoint
from notifications.replays import Kind, Selection
from notifications.retries import NOTIFICATIONS
from notifications.stores import replay_queries
from notifications.stores.replay_queries import Scope
from notifications.stores.replays import SqlReplays, SqlReplayWork
from tests.ledger_world import REFUSED, LedgerWorld, ledger_world

Call = Callable[[LedgerWorld], Awaitable[object]]

SORTS = "USE TEMP B-TREE FOR ORDER BY"
SUBQUERIES = (
    "SCAN unread_items",
    "SCAN waiting_items",
    "SCAN (subquery",
    "SCAN skip",
    "SCAN step",
    "SCAN some",
    "SCAN CONSTANT ROW",
)
"""Go through what was found by index before."""


@dataclass(slots=True)
class Seen:
    """The statements that were executed."""

    elements: list[sa.ClauseElement] = field(default_factory=list)
    texts: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def watching() -> Iterator[Seen]:
    """See every statement that any engine executes."""
    seen = Seen()

    def before_execute(_connection: object, element: sa.ClauseElement, *_rest: object) -> None:
        seen.elements.append(element)

    def before_cursor(
        _connection: object, _cursor: object, text: str, parameters: Any, *_rest: object
    ) -> None:
        seen.texts.append((text, parameters))

    sa.event.listen(sa.Engine, "before_execute", before_execute)
    sa.event.listen(sa.Engine, "before_cursor_execute", before_cursor)
    try:
        yield seen
    finally:
        sa.event.remove(sa.Engine, "before_execute", before_execute)
        sa.event.remove(sa.Engine, "before_cursor_execute", before_cursor)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    """A ledger with an event, a delivery with two attempts, and an inbox item."""
    async with ledger_world(tmp_path) as world:
        known = await world.accept("event-1")
        await world.deliver(known, [REFUSED, REFUSED])
        await world.notify("itm_0")
        yield world


SCOPE = Scope(
    endpoint=Endpoint(tenant_id="acme", id="ep_1", url="https://example.com/"),
    selection=Selection(
        since=0, until=1 << 41, event_types=("job.*", "message.received"), kinds=tuple(Kind)
    ),
)


def replay_work(world: LedgerWorld) -> SqlReplayWork:
    """What works replays off; its reading needs the database alone."""
    nothing: Any = None
    return SqlReplayWork(
        world.database, nothing, nothing, NOTIFICATIONS, clock=world.clock, numbers=nothing
    )


def jobs(world: LedgerWorld) -> SqlJobs:
    """The jobs; their lists need the database alone."""
    nothing: Any = None
    return SqlJobs(world.database, nothing, nothing, nothing, numbers=nothing, dice=nothing)


READS: dict[str, tuple[Call, str]] = {
    "jobs": (lambda w: jobs(w).page("acme", below=9, limit=5), "jobs_by_tenant (tenant_id=?"),
    "jobs by state": (
        lambda w: jobs(w).page("acme", state=State.FAILED, limit=5),
        "jobs_by_state (tenant_id=? AND state=?)",
    ),
    "jobs by type": (
        lambda w: jobs(w).page("acme", job_type="chat.suggest", below=9, limit=5),
        "jobs_by_type (tenant_id=? AND job_type=? AND number<?)",
    ),
    "jobs by user": (
        lambda w: jobs(w).page("acme", user_id="ada", limit=5),
        "jobs_by_user (tenant_id=? AND user_id=?)",
    ),
    "events of all": (lambda w: w.queries.events(None, limit=5), "INTEGER PRIMARY KEY (rowid<?)"),
    "events": (lambda w: w.queries.events("acme", limit=5), "events_by_tenant"),
    "events by type": (
        lambda w: w.queries.events("acme", event_type="job.failed", below=9, limit=5),
        "events_by_type (tenant_id=? AND type=? AND key<?)",
    ),
    "events by user": (
        lambda w: w.queries.events("acme", user_id="ada", limit=5),
        "events_by_user (tenant_id=? AND user_id=? AND key<?)",
    ),
    "event": (
        lambda w: w.queries.event("acme", "event-1"),
        "events USING INDEX sqlite_autoindex_events_1 (tenant_id=? AND id=?)",
    ),
    "deliveries": (
        lambda w: w.queries.deliveries("acme", limit=5),
        "deliveries USING PRIMARY KEY (tenant_id=? AND id<?)",
    ),
    "deliveries by channel": (
        lambda w: w.queries.deliveries("acme", channel="email", limit=5),
        "deliveries USING PRIMARY KEY (tenant_id=? AND id<?)",
    ),
    "deliveries by endpoint": (
        lambda w: w.queries.deliveries("acme", endpoint_id="ep_1", limit=5),
        "deliveries_by_endpoint (tenant_id=? AND target=? AND id<?)",
    ),
    "deliveries by endpoint and state": (
        lambda w: w.queries.deliveries("acme", endpoint_id="ep_1", state="parked", limit=5),
        "deliveries_held_by_target (tenant_id=? AND state=? AND channel=? AND target=? AND id<?)",
    ),
    "deliveries by channel and state": (
        lambda w: w.queries.deliveries("acme", channel="email", state="exhausted", limit=5),
        "deliveries_held_by_channel (tenant_id=? AND state=? AND channel=? AND id<?)",
    ),
    "deliveries held": (
        lambda w: w.queries.deliveries("acme", state="exhausted", limit=5),
        "deliveries_held (tenant_id=? AND state=? AND id<?)",
    ),
    "deliveries delivered": (
        lambda w: w.queries.deliveries("acme", state="delivered", limit=5),
        "deliveries USING PRIMARY KEY (tenant_id=? AND id<?)",
    ),
    "delivery": (
        lambda w: w.queries.delivery("acme", 1),
        "deliveries USING PRIMARY KEY (tenant_id=? AND id=?)",
    ),
    "health": (
        lambda w: w.queries.health("acme", ["ep_1"]),
        "deliveries_by_endpoint (tenant_id=? AND target=? AND id<?)",
    ),
    "inbox": (
        lambda w: w.inbox.page("acme", "ada", state=None, after=None, limit=5),
        "inbox_by_seq (tenant_id=? AND user_id=?)",
    ),
    "inbox below": (
        lambda w: w.inbox.page("acme", "ada", state=None, after=None, below=9, limit=5),
        "inbox_by_seq (tenant_id=? AND user_id=? AND seq<?)",
    ),
    "inbox by state": (
        lambda w: w.inbox.page("acme", "ada", state="unread", after=None, limit=5),
        "inbox_by_state (tenant_id=? AND user_id=? AND state=?)",
    ),
    "inbox by state, below": (
        lambda w: w.inbox.page("acme", "ada", state="archived", after=None, below=9, limit=5),
        "inbox_by_state (tenant_id=? AND user_id=? AND state=? AND seq<?)",
    ),
    "inbox by state, after": (
        lambda w: w.inbox.page("acme", "ada", state="read", after=1, limit=5),
        "inbox_by_state (tenant_id=? AND user_id=? AND state=? AND seq>?)",
    ),
    "inbox after": (
        lambda w: w.inbox.page("acme", "ada", state=None, after=1, limit=5),
        "inbox_by_seq (tenant_id=? AND user_id=? AND seq>?)",
    ),
    "tenants by their events": (
        lambda w: w.browsing.tenants(after="", limit=5),
        "events USING COVERING INDEX events_by_tenant (tenant_id>?)",
    ),
    "tenants by their users": (
        lambda w: w.browsing.tenants(after="", limit=5),
        "users USING COVERING INDEX users_by_role (tenant_id>?)",
    ),
    "users of a tenant": (
        lambda w: w.browsing.users("acme", after="", limit=5),
        "users USING INDEX sqlite_autoindex_users_1 (tenant_id=? AND id>?)",
    ),
    "held": (
        lambda w: w.browsing.held(["acme"], most=100),
        "(tenant_id=? AND state=?)",
    ),
    "tenants in need": (
        lambda w: w.browsing.needing(limit=5),
        "deliveries USING COVERING INDEX deliveries_held (tenant_id>?)",
    ),
    "what a tenant in need has": (
        lambda w: w.browsing.needing(limit=5),
        "deliveries USING COVERING INDEX deliveries_held (tenant_id=? AND state=?)",
    ),
    "recent": (lambda w: w.browsing.recent("acme", limit=5), "events_by_tenant"),
    "unread": (lambda w: w.inbox.unread("acme", "ada"), "inbox_heads USING PRIMARY KEY"),
    "replays": (
        lambda w: SqlReplays(w.database).page("acme", endpoint_id=None, below=9, limit=5),
        "replays USING PRIMARY KEY (tenant_id=? AND id<?)",
    ),
    "replays of an endpoint": (
        lambda w: SqlReplays(w.database).page("acme", endpoint_id="ep_1", below=None, limit=5),
        "replays USING PRIMARY KEY (tenant_id=?)",
    ),
    "replays running": (
        lambda w: replay_work(w).running(None, limit=5),
        "replays USING INDEX replays_running",
    ),
    "what a replay takes up": (
        lambda w: w.database.read(lambda c: replay_queries.look(c, SCOPE, 0, 5)),
        "events_by_tenant (tenant_id=? AND key>? AND key<?)",
    ),
    "what a replay takes up, counted": (
        lambda w: replay_work(w).count(SCOPE.endpoint, SCOPE.selection),
        "events_by_tenant (tenant_id=? AND key>? AND key<?)",
    ),
    "whether a lane is busy": (
        lambda w: replay_work(w)._busy("webhook/acme/ep_1", 5),
        "deliveries_due (lane=? AND due_at<?)",
    ),
}

SORTED_AFTERWARDS: dict[str, tuple[Call, str]] = {
    "deliveries by event": (
        lambda w: w.queries.deliveries("acme", event_id="event-1", limit=5),
        "deliveries USING INDEX sqlite_autoindex_deliveries_2 (event_key=?",
    ),
    "legs": (
        lambda w: w.browsing.legs([1, 2]),
        "deliveries USING INDEX sqlite_autoindex_deliveries_2 (event_key=?",
    ),
    "deliveries by event and endpoint": (
        lambda w: w.queries.deliveries("acme", event_id="event-1", endpoint_id="ep_1", limit=5),
        "deliveries USING INDEX sqlite_autoindex_deliveries_2 (event_key=?",
    ),
}
"""An event has few deliveries; they are found by index and then sorted."""

WRITES: dict[str, tuple[Call, str]] = {
    "mark": (lambda w: w.inbox.mark("acme", "ada", "itm_0", "read"), "inbox USING PRIMARY KEY"),
    "read all": (lambda w: w.inbox.read_all("acme", "ada"), "inbox USING PRIMARY KEY"),
}


def plans(path: Path, statements: Sequence[tuple[str, Any]]) -> list[str]:
    """What SQLite says about each statement, one line a step."""
    with sqlite3.connect(path) as connection:
        steps = [
            row[3]
            for text, parameters in statements
            if text.lstrip().startswith(("SELECT", "UPDATE", "WITH"))
            for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", parameters)
        ]
    connection.close()
    return steps


@pytest.mark.parametrize("name", [*READS, *SORTED_AFTERWARDS, *WRITES])
async def test_nothing_walks_a_table(world: LedgerWorld, name: str) -> None:
    """Every statement goes down the index meant for it; lists need no sorting."""
    call, index = {**READS, **SORTED_AFTERWARDS, **WRITES}[name]
    with watching() as seen:
        await call(world)

    steps = plans(world.database.path, seen.texts)

    assert any(index in step for step in steps), steps
    assert not [step for step in steps if "SCAN" in step and not step.startswith(SUBQUERIES)]
    if name in READS and name != "event":
        assert SORTS not in steps


@pytest.mark.parametrize("name", [*READS, *SORTED_AFTERWARDS, *WRITES])
async def test_every_statement_is_postgresqls_too(world: LedgerWorld, name: str) -> None:
    """Each statement compiles for PostgreSQL."""
    call, _ = {**READS, **SORTED_AFTERWARDS, **WRITES}[name]
    with watching() as seen:
        await call(world)

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    texts = [str(each.compile(dialect=dialect)) for each in seen.elements]

    assert texts
    assert all(text.lstrip().startswith(("SELECT", "UPDATE", "WITH")) for text in texts)
