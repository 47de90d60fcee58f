"""Groups: tenants apart, roles to the letter, nothing left behind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from notifications.channels.realtime.groups import JOIN_LEAVE, SEND, Groups, allows


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ([], False),
        (["webpubsub.joinLeaveGroup"], True),
        (["webpubsub.joinLeaveGroup.g"], True),
        (["webpubsub.joinLeaveGroup.other"], False),
        (["webpubsub.joinLeaveGroup."], False),
        (["webpubsub.sendToGroup", "webpubsub.sendToGroup.g"], False),
        (["webpubsub"], False),
    ],
)
def test_a_role_allows_what_it_names(roles: list[str], allowed: bool) -> None:
    """The role for all groups, or for exactly this one; sending is another matter."""
    assert allows(roles, JOIN_LEAVE, "g") is allowed
    assert not allows(["webpubsub.joinLeaveGroup"], SEND, "g")


def test_the_same_name_is_another_group_elsewhere() -> None:
    """Tenants may use the same names and see nothing of each other."""
    groups: Groups[str] = Groups()
    groups.join("acme", "g", "lea")
    groups.join("other", "g", "max")
    assert list(groups.members("acme", "g")) == ["lea"]
    assert list(groups.members("other", "g")) == ["max"]


STEPS = st.tuples(st.booleans(), st.sampled_from("ab"), st.sampled_from("gh"), st.integers(1, 3))


@given(st.lists(STEPS))
def test_groups_are_sets(steps: list[tuple[bool, str, str, int]]) -> None:
    """However members come and go, a group has who joined last, once, and empty ones are gone."""
    groups: Groups[int] = Groups()
    expected: set[tuple[str, str, int]] = set()
    for joins, tenant, group, member in steps:
        if joins:
            groups.join(tenant, group, member)
            expected.add((tenant, group, member))
        else:
            groups.leave(tenant, group, member)
            expected.discard((tenant, group, member))
    names = {(tenant, group) for tenant, group, _ in expected}
    assert len(groups) == len(names)
    for tenant, group in names:
        members = list(groups.members(tenant, group))
        assert len(members) == len(set(members))
        assert {(tenant, group, member) for member in members} <= expected
    assert sum(len(list(groups.members(*name))) for name in names) == len(expected)
