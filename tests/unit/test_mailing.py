"""Mails at a managed service: their ids, the spelling of addresses, the account's pace, turns."""

from collections.abc import Mapping
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.email.turns import MISSED_AFTER, MOST, Turns
from notifications.mailing import Drawn, MailLimits, draw, mail_guid, read_mail_guid, spelled
from notifications.retries import HOUR, MINUTE

NUMBERS = st.integers(0, (1 << 63) - 1)


@given(NUMBERS, st.integers(1, 65_535))
def test_an_id_leads_back_to_delivery_and_round(number: int, round_number: int) -> None:
    """The id is a UUID, the same each time, and tells which delivery and round it is of."""
    guid = mail_guid(number, round_number)
    assert UUID(guid).version == 8
    assert UUID(guid).variant == "specified in RFC 4122"
    assert guid == mail_guid(number, round_number)
    assert read_mail_guid(guid.upper()) == (number, round_number)


@given(NUMBERS, st.integers(0, 121))
def test_an_id_with_another_bit_is_none_of_ours(number: int, bit: int) -> None:
    """No id that somebody else made leads to one of our deliveries."""
    place = bit if bit < 62 else bit + 2 if bit < 74 else bit + 6
    changed = UUID(int=UUID(mail_guid(number, 1)).int ^ (1 << place))
    assert read_mail_guid(str(changed)) is None


@pytest.mark.parametrize(
    "text", ["", "dlv_0000000015lk7", "94790f6b-051c-4dbb-a554-1115f90d27c7", "None", "0" * 400]
)
def test_what_is_no_id_of_ours_is_none(text: str) -> None:
    """Ids of other senders lead nowhere."""
    assert read_mail_guid(text) is None


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("Sam@Example.COM", "sam@example.com"),
        (" sam@example.com ", "sam@example.com"),
        ("zoé@exämple.com", "zoé@xn--exmple-cua.com"),
        ("zoé@xn--exmple-cua.com", "zoé@xn--exmple-cua.com"),
        ("nobody", "@nobody"),
    ],
)
def test_an_address_has_one_spelling(written: str, found: str) -> None:
    """However an address is written, its suppression is found."""
    assert spelled(written) == found


@given(
    st.lists(st.integers(0, 20_000), min_size=20, max_size=300),
    st.integers(1, 8),
    st.integers(1, 20),
)
def test_no_window_ever_holds_more_than_its_limit(
    pauses: list[int], per_minute: int, per_hour: int
) -> None:
    """Whenever it is asked, no minute and no hour that slides over it has more than allowed."""
    limits = MailLimits(per_minute=per_minute, per_hour=per_hour)
    drawn: Mapping[str, Drawn] = {}
    now, sent = 1_700_000_000_000, []
    for pause in pauses:
        now += pause
        drawn, wait = draw(drawn, limits, now)
        if not wait:
            sent.append(now)
        else:
            assert 0 < wait <= HOUR + HOUR // 20
    for window, most in ((MINUTE, per_minute), (HOUR, per_hour)):
        for at in sent:
            assert sum(at <= other < at + window for other in sent) <= most


def test_there_is_room_once_the_wait_is_over() -> None:
    """Who waits as long as was said is let through, and none of the budget is lost meanwhile."""
    limits = MailLimits(per_minute=3, per_hour=100)
    drawn: Mapping[str, Drawn] = {}
    now = 1_700_000_000_000
    for _ in range(3):
        drawn, wait = draw(drawn, limits, now)
        assert wait == 0
    drawn, wait = draw(drawn, limits, now)
    assert MINUTE <= wait <= MINUTE + MINUTE // 20
    for _ in range(3):
        drawn, again = draw(drawn, limits, now + wait)
        assert again == 0


def test_who_comes_later_does_not_overtake() -> None:
    """A mail that was refused goes before those that came after it, each at its own turn."""
    turns = Turns(1_000)
    assert turns.wait("a", "acme", 0) == 0
    assert turns.refused("a", "acme", 0, 5_000) == 5_000
    assert turns.wait("b", "acme", 0) == 6_000
    assert turns.wait("c", "acme", 0) == 7_000
    assert turns.wait("a", "acme", 5_000) == 0
    assert turns.wait("b", "acme", 0) == 6_000, "it keeps its turn"
    turns.gone("a")
    assert len(turns) == 2
    for mail in ("b", "c"):
        turns.gone(mail)
    assert turns.wait("d", "acme", 0) == 0, "nobody waits any more"


def test_a_long_line_of_one_tenant_does_not_hold_up_another() -> None:
    """Another tenant's first mail is due soon, not behind a thousand of somebody else's."""
    turns = Turns(1_000)
    turns.refused("a-0", "acme", 0, 1_000)
    for number in range(1, 1_000):
        turns.wait(f"a-{number}", "acme", 0)
    assert turns.wait("b-0", "other", 0) <= 1_000
    assert turns.wait("b-1", "other", 0) <= 3_000


def test_turns_that_are_missed_hold_up_nobody() -> None:
    """A mail that was given up meanwhile makes way, and what is remembered is bounded."""
    turns = Turns(1)
    turns.refused("gone", "acme", 0, 1_000)
    for number in range(MOST + 10):
        turns.wait(str(number), "acme", 0)
    assert len(turns) == MOST
    assert turns.wait("late", "acme", 2 * MOST + MISSED_AFTER) == 0
    assert len(turns) == 0
