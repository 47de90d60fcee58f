"""The conversation with a client that speaks no subprotocol: it listens.

It is sent the bare data of what its user and its groups are told, without frames around it: JSON
and text as text messages, binary data as binary ones. What it says itself would be an event for
the application, and the hub has none that listens.
"""

from notifications.channels.realtime.belonging import Belonging
from notifications.channels.realtime.connection import Connection, Manners
from notifications.channels.realtime.frames import Message


class SimpleSession(Belonging):
    """One client, for as long as its connection lasts. A `Session`."""

    @property
    def manners(self) -> Manners:
        """No frame is the hub's own, and any message may come."""
        return Manners(farewell=None, takes_binary=True)

    def open(self, connection: Connection) -> None:
        """Be in the groups that the token names: the client cannot ask for others."""
        self.connection = connection
        self.join_own_groups()

    def deliver(self, message: Message) -> bool:
        """Send the data; whether the client is behind with what it was sent."""
        connection = self.connection
        if connection is None:
            return False
        connection.write(message.bare())
        return connection.behind

    def take(self, text: str) -> None:
        """Nobody listens."""
