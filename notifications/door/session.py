"""One session of a connection: its links, and what is done with what the client says of them."""

from collections.abc import Sequence
from typing import Any

from notifications.broker import End, Release
from notifications.door import encoding as put
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.attaching import attach
from notifications.door.channel import HANDLE_MAX, Channel, Lent
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


class Session:
    """A session."""

    def __init__(self, client: Client, number: int, begin: kind.Begin) -> None:
        self._client = client
        self._limits = client.world.limits
        self._channel = Channel(client, number, begin)
        self._links: dict[int, Link] = {}

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
                self._client.world.spawn(self._settle(number, lent, end or Release(), said))
            elif not said.settled:
                self._channel.answer(number, say.rejected(Fault(LOCK_LOST, LOCK_IS_LOST)))

    async def _settle(self, number: int, lent: Lent, end: End, said: kind.Disposition) -> None:
        try:
            if await lent.outlet.settle(lent.token, end):
                state = echo(said.state)
            else:
                state = say.rejected(Fault(LOCK_LOST, LOCK_IS_LOST))
        except Exception as error:  # noqa: BLE001 - `of` logs what nobody foresaw
            state = say.rejected(of(error))
        if not said.settled:
            self._channel.answer(number, state)
