"""One session of a connection: its windows, its links, and what is under lock through them."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from notifications.broker import End, Outlet, Release
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.attaching import attach
from notifications.door.faults import (
    HANDLE_IN_USE,
    LOCK_IS_LOST,
    LOCK_LOST,
    NOT_ALLOWED,
    NOT_IMPLEMENTED,
    RESOURCE_LIMIT,
    UNATTACHED_HANDLE,
    Fault,
    LinkFault,
    SessionFault,
    of,
)
from notifications.door.links import Link
from notifications.door.outcomes import echo, end_of, is_transactional

if TYPE_CHECKING:
    from notifications.door.connection import Connection

_NUMBERS = 2**32
_OUTGOING_WINDOW = 2**31 - 1
HANDLE_MAX = 255


@dataclass(frozen=True, slots=True)
class _Lent:
    """A message that the client has under lock."""

    handle: int
    outlet: Outlet
    token: UUID
    until: int


class Session:
    """A session, on one channel both ways."""

    def __init__(self, connection: "Connection", channel: int, begin: kind.Begin) -> None:
        self.connection = connection
        self.world = connection.world
        self.channel = channel
        self.links: dict[int, Link] = {}
        self._lent: dict[int, _Lent] = {}
        self._next_incoming = begin.next_outgoing_id
        self._next_outgoing = 0
        self._window = begin.incoming_window
        self._unsent: deque[bytes] = deque()
        self._unseen = 0
        self._delivery_ids = 0
        self._is_over = False
        connection.send(
            say.begun(
                channel,
                incoming=self.world.limits.incoming_frames,
                outgoing=_OUTGOING_WINDOW,
                handle_max=HANDLE_MAX,
            )
        )

    # ----------------------------------------------------------------- for links

    @property
    def blocked(self) -> bool:
        """Whether the client cannot take more messages at present."""
        return (
            bool(self._unsent)
            or self._window <= 0
            or self.connection.paused
            or (len(self._lent) >= self.world.limits.unsettled and not self._forget())
        )

    def hand_out(
        self,
        link: Link,
        tag: bytes,
        payload: bytes,
        lock: tuple[Outlet, UUID, int] | None = None,
    ) -> None:
        """Send a message on a link, under lock where there is one, as the window allows."""
        number = self._delivery_ids
        self._delivery_ids = (number + 1) % _NUMBERS
        if lock is not None:
            self._lent[number] = _Lent(link.handle, *lock)
        for frame in say.transfers(
            self.channel,
            link.handle,
            number,
            tag,
            payload,
            settled=lock is None,
            max_frame=self.connection.max_frame,
        ):
            if self._window > 0 and not self._unsent:
                self._send_counted(frame)
            else:
                self._unsent.append(frame)

    def flow(
        self, link: Link | None = None, *, count: int = 0, credit: int = 0, drain: bool = False
    ) -> None:
        """Tell the client our windows, and a link's credit."""
        self._unseen = 0
        self.connection.send(
            say.flow(
                self.channel,
                next_incoming=self._next_incoming,
                incoming=self.world.limits.incoming_frames,
                next_outgoing=self._next_outgoing,
                outgoing=_OUTGOING_WINDOW,
                handle=None if link is None else link.handle,
                delivery_count=count,
                credit=credit,
                drain=drain,
            )
        )

    def settle(self, first: int, last: int, state: bytes) -> None:
        """Tell the client that what it sent has come to an end."""
        self.connection.send(
            say.disposition(self.channel, receiver=True, first=first, last=last, state=state)
        )

    def detach(self, link: Link, fault: Fault) -> None:
        """End a link from our side; its handle stays the client's until it says so, too."""
        if not link.is_over:
            link.close()
            self._take_back(link.handle)
            self.connection.send(say.detached(self.channel, link.handle, fault))

    # ----------------------------------------------------------------- for the connection

    def take(self, descriptor: int, fields: Sequence[Any], body: bytes, end: int) -> None:
        """Deal with a performative; `end` is where its list ends in `body`, or an attach's begins.

        Raises:
            Fault: It ends the connection.
        """
        if self._is_over:
            return
        try:
            if descriptor == kind.TRANSFER:
                self._transfer(kind.read_transfer(fields), body[end:])
            elif descriptor == kind.DISPOSITION:
                self._disposition(kind.read_disposition(fields))
            elif descriptor == kind.FLOW:
                self._flow(kind.read_flow(fields))
            elif descriptor == kind.ATTACH:
                self._attach(kind.read_attach(body, end))
            else:
                self._detach(kind.read_detach(fields))
        except SessionFault as fault:
            self.close()
            self.connection.send(say.ended(self.channel, fault))

    def kick(self) -> None:
        """The client may be able to take more."""
        while self._unsent and self._window > 0:
            self._send_counted(self._unsent.popleft())
        if not self.blocked:
            for link in list(self.links.values()):
                link.kick()

    def recheck(self, fault: Fault) -> None:
        """Tokens expired: end the links that no other token allows."""
        for link in list(self.links.values()):
            if link.needs is not None and not self.connection.allows(link.needs):
                self.detach(link, fault)

    def close(self) -> None:
        """It is over; what is under lock stays there until the locks run out."""
        self._is_over = True
        for link in list(self.links.values()):
            link.close()
        self.connection.links -= len(self.links)
        self.links.clear()
        self._lent.clear()
        self._unsent.clear()

    # ----------------------------------------------------------------- what is received

    def _attach(self, asked: kind.Attach) -> None:
        if asked.handle > HANDLE_MAX or asked.handle in self.links:
            raise SessionFault(HANDLE_IN_USE, f"Handle {asked.handle} is taken, or too high.")
        try:
            link = self._attached(asked)
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            self._refuse(asked, of(error))
            return
        self.links[asked.handle] = link
        self.connection.links += 1
        assert asked.source
        assert asked.target
        self.connection.send(
            say.attached(
                self.channel,
                asked,
                source=asked.source.encoded,
                target=asked.target.encoded,
                max_message=self.world.limits.message_bytes,
            )
        )
        link.begin()

    def _attached(self, asked: kind.Attach) -> Link:
        if self.connection.links >= self.world.limits.links:
            most = self.world.limits.links
            raise Fault(RESOURCE_LIMIT, f"A connection has at most {most} links.")
        return attach(self, asked)

    def _refuse(self, asked: kind.Attach, fault: Fault) -> None:
        """Refuse a link: without the end that would be ours, or clients count it as there."""
        null = b"\x40"
        source = asked.source.encoded if asked.source and not asked.receiver else null
        target = asked.target.encoded if asked.target and asked.receiver else null
        send = self.connection.send
        send(say.attached(self.channel, asked, source=source, target=target, max_message=0))
        send(say.detached(self.channel, asked.handle, fault))
        self.links[asked.handle] = Link(self, asked, None, is_over=True)
        self.connection.links += 1

    def _detach(self, detach: kind.Detach) -> None:
        link = self.links.pop(detach.handle, None)
        if link is None:
            return
        self.connection.links -= 1
        if not link.is_over:
            link.close()
            self._take_back(detach.handle)
            self.connection.send(say.detached(self.channel, detach.handle))

    def _flow(self, flow: kind.Flow) -> None:
        begun = 0 if flow.next_incoming_id is None else flow.next_incoming_id
        self._window = _apart(begun + flow.incoming_window, self._next_outgoing)
        link = None if flow.handle is None else self.links.get(flow.handle)
        if flow.handle is not None and link is None:
            raise SessionFault(UNATTACHED_HANDLE, f"There is no link at handle {flow.handle}.")
        if link is not None and not link.is_over:
            link.flowed(flow)
        elif flow.echo:
            self.flow()
        self.kick()

    def _transfer(self, transfer: kind.Transfer, payload: bytes) -> None:
        self._next_incoming = (self._next_incoming + 1) % _NUMBERS
        self._unseen += 1
        link = self.links.get(transfer.handle)
        if link is None:
            raise SessionFault(UNATTACHED_HANDLE, f"There is no link at handle {transfer.handle}.")
        if not link.is_over:
            try:
                link.transferred(transfer, payload)
            except LinkFault as fault:
                self.detach(link, fault)
        if self._unseen * 2 >= self.world.limits.incoming_frames:
            self.flow()

    def _disposition(self, said: kind.Disposition) -> None:
        if not said.receiver:
            return  # what we sent settled, or replies; there is nothing to be told of
        for number in self._between(said.first, said.last):
            lent = self._lent.get(number)
            if is_transactional(said.state):
                if lent is not None and (link := self.links.get(lent.handle)):
                    self.detach(link, Fault(NOT_IMPLEMENTED, "Transactions are not supported."))
                continue
            end = end_of(said.state)
            if end is None and not said.settled:
                continue  # only received, so far
            if lent is not None:
                del self._lent[number]
                self.world.spawn(self._settle(number, lent, end or Release(), said))
            elif not said.settled:
                self._answer(number, say.rejected(Fault(LOCK_LOST, LOCK_IS_LOST)))

    async def _settle(self, number: int, lent: _Lent, end: End, said: kind.Disposition) -> None:
        try:
            if await lent.outlet.settle(lent.token, end):
                state = echo(said.state)
            else:
                state = say.rejected(Fault(LOCK_LOST, LOCK_IS_LOST))
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            state = say.rejected(of(error))
        if not said.settled and not self._is_over:
            self._answer(number, state)

    # ----------------------------------------------------------------- small things

    def _answer(self, number: int, state: bytes) -> None:
        """Settle a message that we sent: one frame for each, as each wakes one waiting client."""
        self.connection.send(
            say.disposition(self.channel, receiver=False, first=number, last=number, state=state)
        )

    def _between(self, first: int, last: int) -> Iterable[int]:
        count = ((last - first) % _NUMBERS) + 1
        if count == 1:
            return (first,)
        if count <= self.world.limits.unsettled:
            return [(first + step) % _NUMBERS for step in range(count)]
        raise SessionFault(NOT_ALLOWED, "A disposition is about more deliveries than there are.")

    def _send_counted(self, frame: bytes) -> None:
        self._window -= 1
        self._next_outgoing = (self._next_outgoing + 1) % _NUMBERS
        self.connection.send(frame)

    def _take_back(self, handle: int) -> None:
        """The link is gone: what it had under lock can be settled through management alone."""
        self._lent = {n: lent for n, lent in self._lent.items() if lent.handle != handle}

    def _forget(self) -> bool:
        """Forget what is not under lock any more; whether there is room then."""
        now = self.world.clock.now()
        self._lent = {n: lent for n, lent in self._lent.items() if lent.until > now}
        return len(self._lent) < self.world.limits.unsettled


def _apart(to: int, begun: int) -> int:
    """How far it is from one number to another in a ring of 2**32; 0 where it lies behind."""
    found = (to - begun) % _NUMBERS
    return found if found < _NUMBERS // 2 else 0
