"""The conversation with a client that speaks `json.webpubsub.azure.v1`.

What the client did not take before its connection ended is gone from here; it asks the inbox.
"""

from notifications.channels.realtime.belonging import Belonging
from notifications.channels.realtime.connection import Connection, Manners
from notifications.channels.realtime.frames import (
    PONG,
    AckError,
    CancelInvocation,
    CloseCode,
    Frame,
    Invoke,
    JoinGroup,
    LeaveGroup,
    Malformed,
    Message,
    Ping,
    SendEvent,
    SendToGroup,
    SequenceAck,
    ack,
    ack_error,
    connected,
    group_message,
    invoke_error,
    read_frame,
)
from notifications.channels.realtime.groups import JOIN_LEAVE, SEND, Groups, allows
from notifications.channels.realtime.sessions import Session
from notifications.channels.realtime.tokens import ClientClaims

SUBPROTOCOL = "json.webpubsub.azure.v1"

Request = JoinGroup | LeaveGroup | SendToGroup | SendEvent
"""What is answered with an ack, where the client asks for one."""

_REMEMBERED_ACKS = 512
"""How many of a client's requests are known again when it sends them twice."""


class PlainSession(Belonging):
    """One client, for as long as its connection lasts. A `Session`."""

    def __init__(self, claims: ClientClaims, groups: Groups[Session], *, max_groups: int) -> None:
        super().__init__(claims, groups, max_groups=max_groups)
        # As a set and in the order they came.
        self._done: dict[int, None] = {}

    @property
    def manners(self) -> Manners:
        """Those of JSON protocols."""
        return Manners()

    def open(self, connection: Connection) -> None:
        """Greet the client; what is delivered from now on comes after."""
        self.connection = connection
        self._write(connected(self.claims.subject, connection.id))
        self.join_own_groups()

    def deliver(self, message: Message) -> bool:
        """Send a message; whether the client is behind with what it was sent."""
        connection = self.connection
        if connection is None:
            return False
        connection.write(message)
        return connection.behind

    def take(self, text: str) -> None:
        """Answer what the client said."""
        frame = read_frame(text)
        match frame:
            case Ping():
                self._write(PONG)
            case JoinGroup() | LeaveGroup() | SendToGroup() | SendEvent():
                self._answer(frame)
            case Invoke(invocation_id=invocation_id):
                detail = "nobody answers calls here"
                self._write(invoke_error(invocation_id, AckError.NOT_FOUND, detail))
            case CancelInvocation():
                pass
            case SequenceAck(sequence_id=sequence_id):
                self._acknowledge(sequence_id)
            case Malformed(ack_id=None):
                self._end(frame.code, frame.detail)
            case Malformed(ack_id=int(ack_id)):
                self._write(ack_error(ack_id, AckError.BAD_REQUEST, frame.detail))

    def _acknowledge(self, sequence_id: int) -> None:
        detail = f"{SUBPROTOCOL} numbers no messages: there is no {sequence_id} to acknowledge"
        self._end(CloseCode.POLICY, detail)

    def _write(self, frame: Frame) -> None:
        if self.connection is not None:
            self.connection.write(frame)

    def _end(self, code: CloseCode, reason: str) -> None:
        if self.connection is not None:
            self.connection.end(code, reason)

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
            self._done[ack_id] = None
            if len(self._done) > _REMEMBERED_ACKS:
                del self._done[next(iter(self._done))]
            self._write(ack(ack_id))

    def _refuse(self, ack_id: int | None, name: AckError, message: str) -> None:
        if ack_id is not None:  # whoever gives no id wants no answer
            self._write(ack_error(ack_id, name, message))

    def _refusal(self, frame: Request) -> str | None:
        """Why the client may not do this, or None where it may."""
        if isinstance(frame, SendEvent):
            return "this hub takes no events from clients"
        role = SEND if isinstance(frame, SendToGroup) else JOIN_LEAVE
        if not allows(self.claims.roles, role, frame.group):
            return f"this token lacks the role {role} for this group"
        if isinstance(frame, JoinGroup) and not self.has_room(frame.group):
            return f"in {self._max_groups} groups already"
        return None

    def _carry_out(self, frame: Request) -> None:
        match frame:
            case JoinGroup(group=group):
                self.enter_group(group)
            case LeaveGroup(group=group):
                self.leave_group(group)
            case SendToGroup(group=group):
                message = group_message(group, self.claims.subject, frame)
                for member in self._groups.members(self.claims.tenant_id, group):
                    if not (frame.no_echo and member is self):
                        member.deliver(message)
