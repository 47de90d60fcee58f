"""Public delivery ids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.ids import parse_public_id, public_id
from tests.event_samples import delivery

NUMBERS = st.integers(min_value=0, max_value=2**63 - 1)


@given(NUMBERS)
def test_a_public_id_gives_its_number_back(number):
    """Whatever number the ledger gave, its public id leads back to it."""
    text = public_id(delivery(number=number))
    assert parse_public_id(text) == number
    assert len(text) == 17
    assert text.startswith("dlv_")


@given(NUMBERS, NUMBERS)
def test_public_ids_sort_like_their_numbers(one, other):
    """The order of public ids is the order of the numbers."""
    texts = public_id(delivery(number=one)), public_id(delivery(number=other))
    assert (texts[0] < texts[1]) == (one < other)


@given(st.text(max_size=40) | st.from_regex(r"dlv_[0-9a-z]{12,14}", fullmatch=True))
def test_only_the_one_form_is_read(text):
    """A text that is read as an id is exactly the id that its number is written as."""
    number = parse_public_id(text)
    assert number is None or public_id(delivery(number=number)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "dlv_",
        "dlv_0000000000000\n",
        "dlv_000000000000W",
        "dlv_000000000000w",
        "dlv_8000000000000",
        "dlv_00000000000000",
        "DLV_0000000000000",
        "dlv_+000000000001",
        "dlv_0000_00000001",
        "dlv_٣000000000000",
    ],
)
def test_what_is_no_id_is_none(text):
    """Anything but 13 lower-case digits below 2^63 is no id, and is told from one without error."""
    assert parse_public_id(text) is None


def test_known_ids():
    """The form does not change: ids that are out there keep their meaning."""
    assert public_id(delivery(number=0)) == "dlv_0000000000000"
    assert public_id(delivery(number=2**63 - 1)) == "dlv_7vvvvvvvvvvvv"
    assert public_id(delivery(number=1_234_567)) == "dlv_0000000015lk7"


@pytest.mark.parametrize("number", [-1, 2**63])
def test_a_number_no_ledger_gives_out_has_no_id(number):
    """A number that a ledger cannot hold is refused rather than cut."""
    with pytest.raises(ValueError, match="no ledger gives out"):
        public_id(delivery(number=number))
