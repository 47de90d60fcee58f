"""What is kept for reliable clients: in order, without a gap, within its bounds."""

from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from notifications.channels.realtime.connection import Limits
from notifications.channels.realtime.frames import Frame, server_message
from notifications.channels.realtime.reliable import ReconnectionTokens
from notifications.channels.realtime.unacknowledged import Holdings, Owner, Unacknowledged

LEA = ("acme", "lea")
SIZE = len(server_message(b"1").numbered(1).content)


def nobody_away(owner: Owner | None) -> bool:
    return False


def kept(
    limits: Limits | None = None, relieve: Callable[[Owner | None], bool] = nobody_away
) -> tuple[Unacknowledged, Holdings]:
    limits = limits or Limits()
    holdings = Holdings(limits, relieve)
    return Unacknowledged(LEA, limits, holdings), holdings


def number(frame: Frame | None) -> int | None:
    return None if frame is None else int(orjson.loads(frame.content)["sequenceId"])


class Client(RuleBasedStateMachine):
    """A client that reads, acknowledges, loses its connection and comes back, in any order."""

    @initialize()
    def begin(self) -> None:
        self.it, self.holdings = kept(Limits(unacknowledged_messages=8))
        self.pushed = 0
        self.largest = 0
        self.acknowledged = 0

    @rule()
    def push(self) -> None:
        fits = self.pushed - self.acknowledged < 8
        assert self.it.keep(server_message(b"1")) is fits
        self.pushed += fits

    @rule()
    def read(self) -> None:
        found = number(self.it.next())
        if found is None:
            assert self.largest == self.pushed
            return
        assert found <= self.largest + 1, "a gap: the client would never hear of what is in it"
        self.largest = max(self.largest, found)

    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        upto = data.draw(st.integers(0, self.largest))
        assert self.it.acknowledge(upto)
        self.acknowledged = max(self.acknowledged, upto)

    @rule()
    def lose(self) -> None:
        self.it.rewind()

    @invariant()
    def nothing_else_is_kept(self) -> None:
        assert len(self.it) == self.pushed - self.acknowledged
        assert self.holdings.size == sum(each.size for each in self.it._frames.values())
        assert len(self.holdings) == (len(self.it) > 0)


TestAnyClient = Client.TestCase


def test_the_future_cannot_be_acknowledged() -> None:
    """Only what was kept once; nothing changes."""
    it, _ = kept()
    assert it.keep(server_message(b"1"))
    assert not it.acknowledge(2)
    assert len(it) == 1


def test_what_is_over_takes_and_holds_nothing() -> None:
    """After `drop` nothing is kept, handed out or counted."""
    it, holdings = kept()
    it.keep(server_message(b"1"))
    it.drop()
    assert not it.keep(server_message(b"1"))
    assert (len(it), it.next(), holdings.size, len(holdings)) == (0, None, 0, 0)


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        (Limits(unacknowledged_bytes_per_user=2 * SIZE), LEA),
        (Limits(unacknowledged_bytes_in_all=2 * SIZE), None),
    ],
    ids=["of user", "in all"],
)
def test_room_is_made_before_anything_is_refused(limits: Limits, asked: Owner | None) -> None:
    """Who is away goes first, one after the other, and no more of them than need be."""
    away: list[Unacknowledged] = []
    asked_for: list[Owner | None] = []

    def relieve(owner: Owner | None) -> bool:
        asked_for.append(owner)
        if not away:
            return False
        away.pop(0).drop()
        return True

    it, holdings = kept(limits, relieve)
    away.extend(Unacknowledged(LEA, limits, holdings) for _ in range(3))
    for each in away[:2]:
        assert each.keep(server_message(b"1"))
    assert it.keep(server_message(b"1"))
    assert (len(away), holdings.size) == (2, 2 * SIZE)
    assert it.keep(server_message(b"1"))
    assert not it.keep(server_message(b"1"))
    assert set(asked_for) == {asked}
    assert away == []


def test_room_is_made_by_giving_up_oneself_at_last() -> None:
    """The one that grows may be the one that is longest away: it is over then, and not counted."""
    limits = Limits(unacknowledged_bytes_in_all=2 * SIZE)
    own: list[Unacknowledged] = []

    def relieve(_: Owner | None) -> bool:
        own[0].drop()
        return True

    it, holdings = kept(limits, relieve)
    own.append(it)
    assert [it.keep(server_message(b"1")) for _ in range(4)] == [True, True, False, False]
    assert (holdings.size, len(holdings)) == (0, 0)


# --------------------------------------------------------------------------- tokens


@given(st.lists(st.integers(0, 9), max_size=12))
def test_a_token_is_good_until_a_newer_one_was_used(uses: list[int]) -> None:
    """Whatever order tokens come back in, none before the last that was used is taken."""
    tokens = ReconnectionTokens(b"k" * 32)
    issued = [tokens.issue()]
    oldest = 0
    for use in uses:
        if use < len(issued):
            good = use >= oldest
            assert tokens.redeem(issued[use]) is good
            oldest = max(oldest, use)
            issued.append(tokens.issue())
    assert len(set(issued)) == len(issued)


@given(st.text())
def test_no_text_is_a_token_by_chance(text: str) -> None:
    """Nor does any raise."""
    tokens = ReconnectionTokens(b"k" * 32)
    assert not tokens.redeem(text) or text == tokens.issue()
    assert not tokens.redeem(ReconnectionTokens(b"l" * 32).issue())
