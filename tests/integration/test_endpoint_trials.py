"""How long `test` of an endpoint waits for its attempt."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from notifications.api import EndpointChecks, EndpointSigning
from notifications.endpoints import TEST_MARGIN, Endpoints, Wishes
from notifications.errors import Unavailable
from notifications.hub import Hub
from notifications.retries import MINUTE, SECOND
from notifications.stores.directory import SqlDirectory
from notifications.timing import SystemDice
from notifications.vault import Vault
from tests.ledger_world import CATALOGUE, LedgerWorld, ledger_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[LedgerWorld]:
    """A ledger with nobody at work: no test event is ever tried."""
    async with ledger_world(tmp_path) as world:
        yield world


@pytest.mark.parametrize("attempt_limit", [100, 15 * SECOND, MINUTE])
async def test_a_test_waits_for_as_long_as_an_attempt_may_take(
    world: LedgerWorld, attempt_limit: int
) -> None:
    """A slow endpoint's test is not given up while its attempt is still allowed to succeed."""
    dice = SystemDice()
    directory = SqlDirectory(world.database, Vault([bytes(32)], dice), world.clock)
    endpoints = Endpoints(
        directory,
        directory,
        hub=Hub(world.ledger, CATALOGUE, world.clock),
        queries=world.queries,
        checks=EndpointChecks((), CATALOGUE),
        signing=EndpointSigning(dice),
        clock=world.clock,
        dice=dice,
        nudge=lambda: None,
        attempt_limit=attempt_limit,
        most=10,
    )
    made = await endpoints.create("acme", Wishes(url="https://example.com/hook"))
    began = world.clock.now()

    with pytest.raises(Unavailable, match="was not tried yet"):
        await endpoints.test("acme", made.id)

    assert attempt_limit < world.clock.now() - began <= attempt_limit + TEST_MARGIN + 100
