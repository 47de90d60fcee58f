"""The conversation with a client that speaks no subprotocol: it listens.

It is sent the bare data of what its user and its groups are told, without frames around it: JSON
and text as text messages, binary data as binary ones. What it says itself would be an event for
the application, and the hub has none that listens.
"""

from notifications.channels.realtime.connection import Connection, Manners
from notifications.channels.realtime.frames import Message
from notifications.channels.realtime.groups import Groups
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.tokens import ClientClaims


class SimpleSession:
    """One client, for as long as its connection lasts. A `Session`."""

    def __init__(self, claims: ClientClaims, groups: Groups[Session], *, max_groups: int) -> None:
        self.claims = claims
        self.connection: Connection | None = None
        self._groups = groups
        self._max_groups = max_groups
        self._joined = set(claims.groups[:max_groups])

    @property
    def manners(self) -> Manners:
        """No frame is the hub's own, and any message may come."""
        return Manners(farewell=None, takes_binary=True)

    def open(self, connection: Connection) -> None:
        """Be in the groups that the token names: the client cannot ask for others."""
        self.connection = connection
        for group in self._joined:
            self._groups.join(self.claims.tenant_id, group, self)

    def deliver(self, message: Message) -> bool:
        """Send the data; whether the client is behind with what it was sent."""
        connection = self.connection
        if connection is None:
            return False
        connection.write(message.bare())
        return connection.behind

    def take(self, text: str) -> None:
        """Nobody listens."""

    def enter_group(self, group: str) -> bool:
        """See `Session.enter_group`."""
        if len(self._joined | {group}) > self._max_groups:
            return False
        self._joined.add(group)
        self._groups.join(self.claims.tenant_id, group, self)
        return True

    def leave_group(self, group: str) -> None:
        """See `Session.leave_group`."""
        self._joined.discard(group)
        self._groups.leave(self.claims.tenant_id, group, self)

    def leave(self) -> None:
        """Be in no group any more."""
        for group in tuple(self._joined):
            self.leave_group(group)
