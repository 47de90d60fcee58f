"""The conversation with a client that speaks `json.webpubsub.azure.v1`.

What the client did not take before its connection ended is gone from here; it asks the inbox.
"""

from collections import deque

from notifications.channels.realtime.connection import Connection
from notifications.channels.realtime.frames import (
    PONG,
    AckError,
    CancelInvocation,
    Frame,
    Invoke,
    JoinGroup,
    LeaveGroup,
    Malformed,
    Ping,
    SendEvent,
    SendToGroup,
    ack,
    ack_error,
    connected,
    group_message,
    invoke_error,
    read_frame,
)
from notifications.channels.realtime.groups import JOIN_LEAVE, SEND, Groups, allows
from notifications.channels.realtime.tokens import ClientClaims

SUBPROTOCOL = "json.webpubsub.azure.v1"

Request = JoinGroup | LeaveGroup | SendToGroup | SendEvent
"""What is answered with an ack, where the client asks for one."""

_REMEMBERED_ACKS = 256
"""How many of a client's requests are known again when it sends them twice."""


class PlainSession:
    """One client, for as long as its connection lasts."""

    def __init__(
        self,
        connection: Connection,
        claims: ClientClaims,
        groups: Groups["PlainSession"],
        *,
        max_groups: int,
    ) -> None:
        self.claims = claims
        self.connection = connection
        self._groups = groups
        self._max_groups = max_groups
        self._joined: set[str] = set()
        self._done: deque[int] = deque(maxlen=_REMEMBERED_ACKS)

    def open(self) -> None:
        """Greet the client; what is delivered from now on comes after."""
        self.connection.write(connected(self.claims.subject, self.connection.id))
        for group in self.claims.groups[: self._max_groups]:
            self._join(group)

    def deliver(self, frame: Frame) -> bool:
        """Send a message frame; whether the client is behind with what it was sent."""
        self.connection.write(frame)
        return self.connection.behind

    def take(self, text: str) -> None:
        """Answer what the client said."""
        frame = read_frame(text)
        match frame:
            case Ping():
                self.connection.write(PONG)
            case JoinGroup() | LeaveGroup() | SendToGroup() | SendEvent():
                self._answer(frame)
            case Invoke(invocation_id=invocation_id):
                detail = "nobody answers calls here"
                self.connection.write(invoke_error(invocation_id, AckError.NOT_FOUND, detail))
            case CancelInvocation():
                pass
            case Malformed(ack_id=None):
                self.connection.end(frame.code, frame.detail)
            case Malformed(ack_id=int(ack_id)):
                self.connection.write(ack_error(ack_id, AckError.BAD_REQUEST, frame.detail))

    def leave(self) -> None:
        """Be in no group any more."""
        for group in self._joined:
            self._groups.leave(self.claims.tenant_id, group, self)
        self._joined.clear()

    def _answer(self, frame: Request) -> None:
        ack_id = frame.ack_id
        if ack_id in self._done:
            self._refuse(ack_id, AckError.DUPLICATE, "this was done already")
            return
        refusal = self._refusal(frame)
        if refusal is not None:
            self._refuse(ack_id, AckError.FORBIDDEN, refusal)
            return
        self._carry_out(frame)
        if ack_id is not None:
            self._done.append(ack_id)
            self.connection.write(ack(ack_id))

    def _refuse(self, ack_id: int | None, name: AckError, message: str) -> None:
        if ack_id is not None:  # whoever gives no id wants no answer
            self.connection.write(ack_error(ack_id, name, message))

    def _refusal(self, frame: Request) -> str | None:
        """Why the client may not do this, or None where it may."""
        if isinstance(frame, SendEvent):
            return "this hub takes no events from clients"
        role = SEND if isinstance(frame, SendToGroup) else JOIN_LEAVE
        if not allows(self.claims.roles, role, frame.group):
            return f"this token lacks the role {role} for this group"
        joined = self._joined
        if isinstance(frame, JoinGroup) and len(joined | {frame.group}) > self._max_groups:
            return f"in {self._max_groups} groups already"
        return None

    def _carry_out(self, frame: Request) -> None:
        match frame:
            case JoinGroup(group=group):
                self._join(group)
            case LeaveGroup(group=group):
                self._joined.discard(group)
                self._groups.leave(self.claims.tenant_id, group, self)
            case SendToGroup(group=group):
                message = group_message(group, self.claims.subject, frame)
                for member in self._groups.members(self.claims.tenant_id, group):
                    if not (frame.no_echo and member is self):
                        member.deliver(message)

    def _join(self, group: str) -> None:
        self._joined.add(group)
        self._groups.join(self.claims.tenant_id, group, self)
