"""Groups of connections within a tenant, and what a token's roles allow with them."""

from collections.abc import Collection, Iterator
from typing import Generic, TypeVar

Member = TypeVar("Member")

JOIN_LEAVE = "webpubsub.joinLeaveGroup"
"""The role of those who may join and leave groups; `.<group>` behind it for one group only."""

SEND = "webpubsub.sendToGroup"
"""The role of those who may send to groups; `.<group>` behind it for one group only."""


def allows(roles: Collection[str], role: str, group: str) -> bool:
    """Whether `roles` let their bearer do what `role` names, with this group."""
    return role in roles or f"{role}.{group}" in roles


class Groups(Generic[Member]):
    """Who is in which group. A group's name counts within its tenant: no two tenants share one."""

    def __init__(self) -> None:
        self._members: dict[tuple[str, str], dict[Member, None]] = {}
        self._tenants: dict[str, dict[str, None]] = {}

    def join(self, tenant_id: str, group: str, member: Member) -> None:
        """Have `member` in the group, once."""
        self._members.setdefault((tenant_id, group), {})[member] = None
        self._tenants.setdefault(group, {})[tenant_id] = None

    def leave(self, tenant_id: str, group: str, member: Member) -> None:
        """Have it there no longer; an empty group leaves nothing behind."""
        members = self._members.get((tenant_id, group), {})
        members.pop(member, None)
        if not members and self._members.pop((tenant_id, group), None) is not None:
            tenants = self._tenants[group]
            del tenants[tenant_id]
            if not tenants:
                del self._tenants[group]

    def members(self, tenant_id: str, group: str) -> Iterator[Member]:
        """Who is in it now, in the order they came."""
        return iter(tuple(self._members.get((tenant_id, group), ())))

    def everywhere(self, group: str) -> Iterator[Member]:
        """Who is in the groups of this name, of whatever tenant: what servers mean by it."""
        for tenant_id in tuple(self._tenants.get(group, ())):
            yield from self.members(tenant_id, group)

    def __len__(self) -> int:
        """How many groups have somebody in them."""
        return len(self._members)
