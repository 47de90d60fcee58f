"""The ledger's states under changes in any order. See `tests.ledger_machine`."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.ledger_machine import LedgerMachine
from tests.ledger_world import ledger_world


class OnSqlite(LedgerMachine):
    """On the file of one machine."""

    open_world = staticmethod(ledger_world)


def test_whatever_happens_in_whatever_order_the_ledger_tells_the_truth() -> None:
    """After each of thousands of steps in any order nothing is lost, nothing that ended moves, no
    attempt is made beyond the table, and the audit finds no row that says what is not so."""
    run_state_machine_as_test(OnSqlite, settings=settings(max_examples=20, stateful_step_count=40))
