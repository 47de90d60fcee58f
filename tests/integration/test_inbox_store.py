"""Inboxes in SQL: the head always agrees with the rows."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from notifications.records import InboxItem
from notifications.retries import DAY
from notifications.stores import tables
from notifications.stores.leftovers import SqlLeftovers
from tests.ledger_world import LedgerWorld, ledger_world

ADA = ("acme", "ada")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    """A new ledger."""
    async with ledger_world(tmp_path) as world:
        yield world


async def everything(world: LedgerWorld, user: tuple[str, str] = ADA) -> list[InboxItem]:
    """A user's whole inbox, newest first."""
    return list(await world.inbox.page(*user, state=None, after=None, limit=1_000))


def ids(items: object) -> list[str]:
    """The ids of items."""
    return [item.entry.item_id for item in items]  # type: ignore[attr-defined]


async def test_pages_go_up_from_a_seq_and_down_from_the_newest(world: LedgerWorld) -> None:
    """With `after` the lowest seq comes first; without it the newest, going on below one."""
    for number in range(5):
        await world.notify(f"itm_{number}")

    up = await world.inbox.page(*ADA, state=None, after=2, limit=2)
    down = await world.inbox.page(*ADA, state=None, after=None, limit=2)
    further = await world.inbox.page(*ADA, state=None, after=None, below=down[-1].seq, limit=2)

    assert ids(up) == ["itm_2", "itm_3"]
    assert ids(down) == ["itm_4", "itm_3"]
    assert ids(further) == ["itm_2", "itm_1"]


async def test_a_page_of_a_state_holds_that_state_alone(world: LedgerWorld) -> None:
    """A state narrows a page down."""
    for number in range(3):
        await world.notify(f"itm_{number}")
    await world.inbox.mark(*ADA, "itm_1", "archived")

    archived = await world.inbox.page(*ADA, state="archived", after=None, limit=10)
    unread = await world.inbox.page(*ADA, state="unread", after=0, limit=10)

    assert ids(archived) == ["itm_1"]
    assert ids(unread) == ["itm_0", "itm_2"]


async def test_marking_gives_a_new_seq_and_the_new_count(world: LedgerWorld) -> None:
    """A change moves the item to the end, so that whoever has seen everything before sees it."""
    await world.notify("itm_0")
    await world.notify("itm_1")
    world.clock.at += 60_000

    placed = await world.inbox.mark(*ADA, "itm_0", "read")

    assert placed is not None
    assert placed.item is not None
    assert (placed.item.seq, placed.item.state, placed.unread) == (3, "read", 1)
    assert placed.item.updated_at == placed.item.entry.created_at + 60_000
    assert [placed.item] == await world.inbox.page(*ADA, state=None, after=2, limit=10)


async def test_an_item_has_the_time_of_what_it_says(world: LedgerWorld) -> None:
    """A later entry brings its time along, and being read changes it not: lists go by it."""
    await world.notify("itm_0", rank=0)
    world.clock.at += 60_000
    placed = await world.notify("itm_0", rank=1)
    later = world.clock.now()
    world.clock.at += 60_000
    await world.inbox.mark(*ADA, "itm_0", "read")

    (item,) = await everything(world)

    assert placed.item is not None
    assert placed.item.entry.created_at == item.entry.created_at == later


async def test_marking_again_changes_nothing(world: LedgerWorld) -> None:
    """A state that is there already is no change: the same seq, the same count."""
    await world.notify("itm_0")
    first = await world.inbox.mark(*ADA, "itm_0", "read")

    assert await world.inbox.mark(*ADA, "itm_0", "read") == first


@pytest.mark.parametrize(
    ("tenant_id", "user_id", "item_id"),
    [("acme", "ada", "itm_9"), ("acme", "bob", "itm_0"), ("other", "ada", "itm_0")],
)
async def test_nobody_marks_what_is_not_there_or_not_theirs(
    world: LedgerWorld, tenant_id: str, user_id: str, item_id: str
) -> None:
    """An absent item, another user's and another tenant's are all nothing."""
    await world.notify("itm_0")

    assert await world.inbox.mark(tenant_id, user_id, item_id, "read") is None
    assert await world.inbox.unread(*ADA) == 1


async def test_reading_all_gives_each_item_a_seq_of_its_own(world: LedgerWorld) -> None:
    """Unread items become read in their old order; a client can page through the change."""
    for number in range(5):
        await world.notify(f"itm_{number}")
    await world.inbox.mark(*ADA, "itm_2", "archived")

    count = await world.inbox.read_all(*ADA)

    changed = await world.inbox.page(*ADA, state=None, after=6, limit=10)
    assert count == 4
    assert ids(changed) == ["itm_0", "itm_1", "itm_3", "itm_4"]
    assert [item.seq for item in changed] == [7, 8, 9, 10]
    assert {item.state for item in changed} == {"read"}
    assert await world.inbox.unread(*ADA) == 0
    assert await world.inbox.read_all(*ADA) == 0


async def test_reading_all_leaves_other_inboxes_alone(world: LedgerWorld) -> None:
    """The same items of another user, and of the same user of another tenant, stay unread."""
    for user, tenant in (("ada", "acme"), ("bob", "acme"), ("ada", "other")):
        await world.notify("itm_0", user, tenant)

    await world.inbox.read_all(*ADA)

    assert await world.inbox.unread("acme", "bob") == 1
    assert await world.inbox.unread("other", "ada") == 1


async def test_changes_at_once_lose_none(world: LedgerWorld) -> None:
    """Marks, new items and reading all, handed in together, leave a head that agrees."""
    for number in range(20):
        await world.notify(f"itm_{number}")

    await asyncio.gather(
        *(world.inbox.mark(*ADA, f"itm_{number}", "archived") for number in range(10)),
        *(world.notify(f"new_{number}") for number in range(10)),
        world.inbox.read_all(*ADA),
        *(world.inbox.mark(*ADA, f"itm_{number}", "unread") for number in range(5, 15)),
    )

    await assert_head_agrees(world)


async def assert_head_agrees(world: LedgerWorld) -> None:
    """The unread count counts the unread rows; every seq is there once and none is above it."""
    items = await everything(world)
    seqs = [item.seq for item in items]
    head = await world.database.read(
        lambda connection: connection.execute(
            sa.select(tables.inbox_heads).where(tables.inbox_heads.c.user_id == "ada")
        ).first()
    )
    assert len(set(seqs)) == len(seqs)
    assert (head.seq if head else 0) >= max(seqs, default=0)
    assert (head.unread if head else 0) == sum(item.state == "unread" for item in items)


class InboxMachine(RuleBasedStateMachine):
    """Random changes to one inbox, against a plain dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self._runner = asyncio.Runner()
        self._folder = tempfile.TemporaryDirectory()
        self._context = ledger_world(Path(self._folder.name))
        self._world = self._runner.run(self._context.__aenter__())
        self._states: dict[str, str] = {}
        self._ranks: dict[str, int] = {}
        self._touched: dict[str, int] = {}
        self._tidying = SqlLeftovers(
            self._world.database, self._world.database, self._world.clock, keep=30 * DAY
        )

    items = st.sampled_from([f"itm_{number}" for number in range(6)])

    @rule(item=items, rank=st.integers(0, 3), progress=st.one_of(st.none(), st.integers(0, 100)))
    def arrive(self, item: str, rank: int, progress: int | None) -> None:
        """News of some rank comes: a job's progress, or what is worth a look; late, or twice."""
        self._runner.run(self._world.notify(item, rank=rank, progress=progress))
        if rank > self._ranks.get(item, -1):
            self._ranks[item] = rank
            if progress is None or item not in self._states:
                self._states[item] = "unread"
            self._touched[item] = self._world.clock.now()

    @rule(days=st.integers(1, 20))
    def forget(self, days: int) -> None:
        """Days pass, and what nobody touched for thirty of them goes."""
        self._world.clock.at += days * DAY
        oldest = self._world.clock.now() - 30 * DAY
        self._runner.run(self._tidying.tidy(limit=100))
        for item in [item for item, at in self._touched.items() if at < oldest]:
            for kept in (self._touched, self._states, self._ranks):
                del kept[item]

    @rule(item=items, state=st.sampled_from(["unread", "read", "archived"]))
    def mark(self, item: str, state: str) -> None:
        """The user marks an item."""
        placed = self._runner.run(self._world.inbox.mark(*ADA, item, state))
        assert (placed is not None) == (item in self._states)
        if placed is not None and self._states[item] != state:
            self._states[item] = state
            self._touched[item] = self._world.clock.now()

    @rule()
    def read_all(self) -> None:
        """The user reads everything."""
        count = self._runner.run(self._world.inbox.read_all(*ADA))
        assert count == sum(state == "unread" for state in self._states.values())
        for item, state in self._states.items():
            if state == "unread":
                self._states[item] = "read"
                self._touched[item] = self._world.clock.now()

    @invariant()
    def agrees(self) -> None:
        """States and count are what the dictionary says."""
        found = self._runner.run(everything(self._world))
        assert {item.entry.item_id: item.state for item in found} == self._states
        self._runner.run(assert_head_agrees(self._world))

    def teardown(self) -> None:
        """Close the ledger."""
        self._runner.run(self._context.__aexit__(None, None, None))
        self._runner.close()
        self._folder.cleanup()


def test_an_inbox_is_what_a_dictionary_would_be() -> None:
    """Unread counts never drift: whatever order news, a job's progress, marks, reading all and the
    retention come in, states and count are those of a plain model."""
    run_state_machine_as_test(
        InboxMachine,
        settings=settings(max_examples=12, stateful_step_count=25),
    )
