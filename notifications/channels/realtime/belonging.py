"""The groups that one client is in: alike in every protocol."""

from notifications.channels.realtime.connection import Connection
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.tokens import ClientClaims


class Belonging(Session):
    """What a `Session` does about groups; the rest is its protocol's."""

    def __init__(self, claims: ClientClaims, groups: Groups[Session], *, max_groups: int) -> None:
        """In no group yet, and never in more than `max_groups`."""
        self.claims = claims
        self.connection: Connection | None = None
        self._groups = groups
        self._max_groups = max_groups
        self._joined: set[str] = set()

    def has_room(self, group: str) -> bool:
        """Whether it is in this group or may be."""
        return len(self._joined | {group}) <= self._max_groups

    def join_own_groups(self) -> None:
        """Be in the groups that the client's token names."""
        for group in self.claims.groups[: self._max_groups]:
            self.enter_group(group)

    def enter_group(self, group: str) -> bool:
        """See `Session.enter_group`."""
        if not self.has_room(group):
            return False
        self._joined.add(group)
        self._groups.join(self.claims.tenant_id, group, self)
        return True

    def leave_group(self, group: str) -> None:
        """See `Session.leave_group`."""
        self._joined.discard(group)
        self._groups.leave(self.claims.tenant_id, group, self)

    def leave(self) -> None:
        """See `Session.leave`."""
        for group in tuple(self._joined):
            self.leave_group(group)
