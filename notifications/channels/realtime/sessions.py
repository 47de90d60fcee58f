"""What the socket service asks of a conversation with a client, whatever protocol it is in."""

from typing import Protocol

from notifications.channels.realtime.connection import Connection, Manners
from notifications.channels.realtime.frames import Message
from notifications.channels.realtime.tokens import ClientClaims


class Session(Protocol):
    """One client.

    Attributes:
        claims: Who it is.
        connection: What it is reached over; None before it is opened and while it is away.
    """

    claims: ClientClaims
    connection: Connection | None

    @property
    def manners(self) -> Manners:
        """How its connections behave."""
        ...

    def open(self, connection: Connection) -> None:
        """Begin over this connection; what is delivered from now on arrives."""
        ...

    def deliver(self, message: Message) -> bool:
        """Have the client told, without waiting; whether it is behind with what it was sent."""
        ...

    def take(self, text: str) -> None:
        """Answer what the client said."""
        ...

    def enter_group(self, group: str) -> bool:
        """Be in this group; False where it is in as many as it may be."""
        ...

    def leave_group(self, group: str) -> None:
        """Be in it no longer."""
        ...

    def leave(self) -> None:
        """Be in no group any more."""
        ...
