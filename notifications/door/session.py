"""One session of a connection: its links, and what is done with what the client says of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from notifications.broker import End, Outlet, Release
from notifications.door import encoding as put
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.attaching import attach
from notifications.door.channel import HANDLE_MAX, Channel
from notifications.door.client import Client
from notifications.door.faults import (
    HANDLE_IN_USE,
    LOCK_IS_LOST,
    LOCK_LOST,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ending:
    """What a client makes of a message that it has under lock."""

    number: int
    token: UUID
    end: End
    said: kind.Disposition


class Session:
    """A session."""

    def __init__(self, client: Client, number: int, begin: kind.Begin) -> None:
        self._client = client
        self._limits = client.world.limits
        self._channel = Channel(client, number, begin)
        self._links: dict[int, Link] = {}
        self._ending: dict[tuple[Outlet, type[End]], list[_Ending]] = {}

    # ----------------------------------------------------------------- for the connection

    @property
    def is_over(self) -> bool:
        """Whether we ended it."""
        return self._channel.is_over

    def take(self, descriptor: int, fields: Sequence[Any], body: bytes, end: int) -> None:
        """Deal with a performative; `end` is where its list ends in `body`, or an attach's begins.

        Raises:
            Fault: It ends the connection.
        """
        if self._channel.is_over:
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
            self.close(fault)

    def kick(self) -> None:
        """The client may be able to take more."""
        if not self._channel.blocked:
            for link in list(self._links.values()):
                link.kick()

    def pause(self) -> None:
        """The client does not keep up: take nothing more from the broker for it."""
        for link in self._links.values():
            link.pause()

    def recheck(self, fault: Fault) -> None:
        """Tokens expired: end the links that no other token allows."""
        for link in list(self._links.values()):
            if link.needs is not None and not self._client.allows(link.needs):
                link.detach(fault)

    def close(self, fault: Fault | None = None) -> None:
        """It is over, for a fault of the client's where one is given."""
        for link in list(self._links.values()):
            link.close()
        self._client.links -= len(self._links)
        self._links.clear()
        self._channel.close(fault)

    # ----------------------------------------------------------------- links

    def _attach(self, asked: kind.Attach) -> None:
        if asked.handle > HANDLE_MAX or asked.handle in self._links:
            raise SessionFault(HANDLE_IN_USE, f"Handle {asked.handle} is taken, or too high.")
        if self._client.links >= 2 * self._limits.links:
            raise SessionFault(RESOURCE_LIMIT, "Too many links were asked for.")
        try:
            link = self._attached(asked)
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            self._refuse(asked, of(error))
            return
        self._add(asked.handle, link)
        self._channel.attached(
            asked,
            source=asked.source.encoded if asked.source else put.NULL,
            target=asked.target.encoded if asked.target else put.NULL,
            most=self._limits.message_bytes,
        )
        link.begin()

    def _attached(self, asked: kind.Attach) -> Link:
        if self._client.links >= self._limits.links:
            raise Fault(RESOURCE_LIMIT, f"A connection has at most {self._limits.links} links.")
        return attach(self._channel, asked, self._links)

    def _refuse(self, asked: kind.Attach, fault: Fault) -> None:
        """Refuse a link: without the end that would be ours, or clients count it as there."""
        source = asked.source.encoded if asked.source and not asked.receiver else put.NULL
        target = asked.target.encoded if asked.target and asked.receiver else put.NULL
        self._channel.attached(asked, source=source, target=target, most=0)
        refused = Link(self._channel, asked, None)
        self._add(asked.handle, refused)
        refused.detach(fault)

    def _add(self, handle: int, link: Link) -> None:
        # A link that we ended counts, too, until its client has said that it is gone.
        self._links[handle] = link
        self._client.links += 1

    def _detach(self, detach: kind.Detach) -> None:
        link = self._links.pop(detach.handle, None)
        if link is not None:
            self._client.links -= 1
            link.detach()

    # ----------------------------------------------------------------- what is said on them

    def _flow(self, flow: kind.Flow) -> None:
        was_blocked = self._channel.blocked
        self._channel.opened(flow)
        if flow.handle is not None:
            link = self._link(flow.handle)
            if not link.is_over:
                link.flowed(flow)
        elif flow.echo:
            self._channel.flow()
        if was_blocked:
            self.kick()

    def _transfer(self, transfer: kind.Transfer, payload: bytes) -> None:
        self._channel.count()
        link = self._link(transfer.handle)
        if not link.is_over:  # what was sent before the client heard that it is
            try:
                link.transferred(transfer, payload)
            except LinkFault as fault:
                link.detach(fault)

    def _link(self, handle: int) -> Link:
        link = self._links.get(handle)
        if link is None:
            raise SessionFault(UNATTACHED_HANDLE, f"There is no link at handle {handle}.")
        return link

    def _disposition(self, said: kind.Disposition) -> None:
        if not said.receiver:
            return  # about what the client sent: it has no say in what became of it
        end = end_of(said.state)
        is_transactional_ = is_transactional(said.state)
        if end is None and not said.settled and not is_transactional_:
            return  # only received, so far
        for number, lent in self._channel.taken_back(said.first, said.last):
            if is_transactional_:
                fault = Fault(NOT_IMPLEMENTED, "Transactions are not supported.")
                self._channel.answer(number, say.rejected(fault))
            elif lent is not None:
                ending = _Ending(number=number, token=lent.token, end=end or Release(), said=said)
                self._end(ending, lent.outlet)
            elif not said.settled:
                self._channel.answer(number, say.rejected(Fault(LOCK_LOST, LOCK_IS_LOST)))

    def _end(self, ending: _Ending, outlet: Outlet) -> None:
        """Settle it with what else is asked for in this turn of the loop and is alike."""
        alike = outlet, type(ending.end)
        waiting = self._ending.get(alike)
        if waiting is not None:
            waiting.append(ending)
            return
        self._ending[alike] = [ending]
        self._client.world.spawn(self._settle(alike))

    async def _settle(self, alike: tuple[Outlet, type[End]]) -> None:
        some = self._ending.pop(alike)
        try:
            settled = await alike[0].settle([(one.token, one.end) for one in some])
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            refused = say.rejected(of(error))
            states = [refused] * len(some)
        else:
            lost = say.rejected(Fault(LOCK_LOST, LOCK_IS_LOST))
            states = [
                echo(one.said.state) if was_held else lost
                for one, was_held in zip(some, settled, strict=True)
            ]
        for one, state in zip(some, states, strict=True):
            if not one.said.settled:
                self._channel.answer(one.number, state)
