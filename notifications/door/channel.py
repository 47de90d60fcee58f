"""One session's way to its client: windows, deliveries, and what is under lock through them."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

from notifications.broker import Outlet
from notifications.door import frames as say
from notifications.door import performatives as kind
from notifications.door.client import Client
from notifications.door.faults import NOT_ALLOWED, Fault, SessionFault

NUMBERS = 2**32
"""Deliveries, transfers and credit are counted in a ring of so many."""

HANDLE_MAX = 255

_OUTGOING_WINDOW = 2**31 - 1
_LONGEST_LOCK_MS = 5 * 60 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """A message that the client has under lock.

    Attributes:
        handle: The link's.
        outlet: Where it is from.
        token: Names the lock.
        until: When it runs out, ms.
    """

    handle: int
    outlet: Outlet
    token: UUID
    until: int


class Channel:
    """What a session and its links say to their client, on one channel both ways."""

    def __init__(self, client: Client, number: int, begin: kind.Begin) -> None:
        self.client = client
        self.world = client.world
        self.is_over = False
        self._number = number
        self._lent: dict[int, Lent] = {}
        self._next_incoming = begin.next_outgoing_id
        self._next_outgoing = 0
        self._window = begin.incoming_window
        self._unsent: deque[bytes] = deque()
        self._unseen = 0
        self._deliveries = 0
        client.send(
            say.begun(
                number,
                incoming=self.world.limits.incoming_frames,
                outgoing=_OUTGOING_WINDOW,
                handle_max=HANDLE_MAX,
            )
        )

    # ----------------------------------------------------------------- messages to the client

    @property
    def blocked(self) -> bool:
        """Whether the client cannot take more messages at present."""
        return (
            bool(self._unsent)
            or self._window <= 0
            or self.client.paused
            or (len(self._lent) >= self.world.limits.unsettled and not self._forget())
        )

    @property
    def is_full(self) -> bool:
        """Whether what is handed out now would only wait here."""
        return bool(self._unsent) or self._window <= 0 or self.client.is_full

    def hand_out(self, handle: int, tag: bytes, payload: bytes, lent: Lent | None = None) -> None:
        """Send a message on a link, under lock where there is one, as the window allows."""
        number = self._deliveries
        self._deliveries = (number + 1) % NUMBERS
        if lent is not None:
            self._lent[number] = lent
        for frame in say.transfers(
            self._number,
            handle,
            number,
            tag,
            payload,
            settled=lent is None,
            max_frame=self.client.max_frame,
        ):
            if self._window > 0 and not self._unsent:
                self._send_counted(frame)
            else:
                self._unsent.append(frame)

    def opened(self, flow: kind.Flow) -> None:
        """The client told its window: send what waited for it."""
        begun = flow.next_incoming_id or 0
        room = (begun + flow.incoming_window - self._next_outgoing) % NUMBERS
        self._window = room if room < NUMBERS // 2 else 0
        while self._unsent and self._window > 0:
            self._send_counted(self._unsent.popleft())

    # ----------------------------------------------------------------- messages from the client

    def count(self) -> None:
        """A transfer came; tell the client our window when half of it is used up."""
        self._next_incoming = (self._next_incoming + 1) % NUMBERS
        self._unseen += 1
        if self._unseen * 2 >= self.world.limits.incoming_frames:
            self.flow()

    def settle(self, first: int, last: int, state: bytes) -> None:
        """Tell the client that what it sent has come to an end."""
        self.client.send(
            say.disposition(self._number, receiver=True, first=first, last=last, state=state)
        )

    def flow(
        self, handle: int | None = None, *, count: int = 0, credit: int = 0, drain: bool = False
    ) -> None:
        """Tell the client our windows, and a link's credit."""
        self._unseen = 0
        self.client.send(
            say.flow(
                self._number,
                next_incoming=self._next_incoming,
                incoming=self.world.limits.incoming_frames,
                next_outgoing=self._next_outgoing,
                outgoing=_OUTGOING_WINDOW,
                handle=handle,
                delivery_count=count,
                credit=credit,
                drain=drain,
            )
        )

    # ----------------------------------------------------------------- locks

    def taken_back(self, first: int, last: int) -> Iterator[tuple[int, Lent | None]]:
        """The deliveries that a client's disposition is about, no longer lent.

        Raises:
            SessionFault: It is about more than there can be.
        """
        count = ((last - first) % NUMBERS) + 1
        if count > self.world.limits.unsettled:
            raise SessionFault(NOT_ALLOWED, "A disposition is about more than was handed out.")
        for step in range(count):
            number = (first + step) % NUMBERS
            yield number, self._lent.pop(number, None)

    def answer(self, number: int, state: bytes) -> None:
        """Settle a message that we sent: one frame for each, as each wakes one waiting client."""
        if not self.is_over:
            self.client.send(
                say.disposition(
                    self._number, receiver=False, first=number, last=number, state=state
                )
            )

    def _forget(self) -> bool:
        """Forget what cannot be under lock any more; whether there is room then."""
        # A lock may have been renewed since: one that is long gone alone is not.
        before = self.world.clock.now() - _LONGEST_LOCK_MS
        self._lent = {n: lent for n, lent in self._lent.items() if lent.until > before}
        return len(self._lent) < self.world.limits.unsettled

    # ----------------------------------------------------------------- links and the end

    def attached(self, asked: kind.Attach, *, source: bytes, target: bytes, most: int) -> None:
        """Tell the client about our side of a link."""
        self.client.send(
            say.attached(self._number, asked, source=source, target=target, max_message=most)
        )

    def detached(self, handle: int, fault: Fault | None = None) -> None:
        """Tell the client that a link is gone.

        What it has under lock through it can be settled through management alone.
        """
        self._lent = {n: lent for n, lent in self._lent.items() if lent.handle != handle}
        self.client.send(say.detached(self._number, handle, fault))

    def close(self, fault: Fault | None = None) -> None:
        """It is over; what is under lock stays there until the locks run out."""
        self.is_over = True
        self._lent.clear()
        self._unsent.clear()
        if fault is not None:
            self.client.send(say.ended(self._number, fault))

    def _send_counted(self, frame: bytes) -> None:
        self._window -= 1
        self._next_outgoing = (self._next_outgoing + 1) % NUMBERS
        self.client.send(frame)
