"""Values that are quick to make are the values they would be otherwise."""

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, field, replace
from typing import Any

import pytest

from notifications.values import quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """One of every kind of field."""

    name: str
    count: int = 3
    told: dict[str, int] = field(default_factory=dict)
    note: str | None = field(default=None, compare=False, repr=False)


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """The same."""

    name: str
    count: int = 3
    told: dict[str, int] = field(default_factory=dict)
    note: str | None = field(default=None, compare=False, repr=False)


@pytest.mark.parametrize(
    "given",
    [{"name": "a"}, {"name": "a", "count": 0, "told": {"b": 1}, "note": "c"}, {}, {"other": 1}],
)
def test_it_takes_what_the_dataclass_takes(given: dict[str, Any]) -> None:
    """Fields, defaults and complaints are those of the constructor in whose place it stands."""
    made = []
    for kind in (Slow, Quick):
        try:
            value = kind(**given)
            made.append((repr(value), value.note))
        except TypeError as error:
            made.append((str(error), None))
    slow, fast = made
    assert (slow[0].replace("Slow", "Quick"), slow[1]) == fast


def test_it_is_as_frozen_and_as_equal() -> None:
    """Nothing can be set or added, and equality goes by the fields that are compared."""
    value = Quick(name="a", told={"b": 1}, note="one")
    for name in ("name", "other"):
        with pytest.raises((FrozenInstanceError, TypeError)):
            setattr(value, name, "b")
    assert type(value) is Quick
    assert value == Quick(name="a", told={"b": 1}, note="two")
    assert value != replace(value, name="c")
    assert [copy.copy(value), pickle.loads(pickle.dumps(value))] == [value, value]


def test_each_gets_a_default_of_its_own() -> None:
    """What a factory makes is made for each value."""
    assert Quick(name="a").told is not Quick(name="a").told
