"""A mailer that hands mails to a mail server, over connections that are kept.

One attempt has one time limit over everything: connection, TLS, signing in, and the mail. A kept
connection that turns out to be dead is replaced once within it, as long as nothing of the mail can
be with the server; after that the attempt is not repeated, for the server may have the mail.
"""

import asyncio
import logging
import ssl
from types import TracebackType
from typing import Self

from notifications.channels.email import smtp_answers as answers
from notifications.channels.email.message import read_address, read_sender, to_bytes
from notifications.channels.email.smtp_answers import Verdict
from notifications.channels.email.smtp_gate import Gate
from notifications.channels.email.smtp_pool import Place, Pool
from notifications.channels.email.smtp_session import Envelope, Session, SessionError
from notifications.deliveries import Delivered, Failed, Outcome, Postponed
from notifications.errors import ConfigurationError, InvalidInput, Unavailable
from notifications.ports import Clock
from notifications.records import Mail
from notifications.smtp_url import SETTING, Relay

log = logging.getLogger("huntaze")

WAIT_S = 5.0
"""How long an attempt waits for a connection that is free; not part of its time limit."""

_SAMPLE = bytes(1024)  # its size is told, and nothing of it is sent

_MAY_RELAY = f"check user name and password in {SETTING}, or what the server lets them send to"

_PROMPT_S = 5.0
"""How long a kept connection may take to show that it lives, before another is opened."""


class SmtpMailer:
    """Hands mails to a mail server; implements `ports.Mailer`.

    Use as an async context manager, or call `start` and `close`.
    """

    def __init__(self, relay: Relay, sender: str, clock: Clock, *, wait: float = WAIT_S) -> None:
        """Configure; nothing is opened before the first mail.

        Args:
            relay: The mail server.
            sender: `notify@example.com` or `Name <notify@example.com>`.
            clock: For pauses and idle connections.
            wait: Seconds that an attempt waits for a connection that is free.

        Raises:
            InvalidInput: The sender's address is none.
            ConfigurationError: The CA file cannot be used.
        """
        _, address = read_sender(sender)
        self._relay = relay
        self._sender = sender
        self._wait = wait
        self._bounces = relay.bounces or address
        tls = ssl_context(relay)
        self._gate = Gate(clock)
        self._pool = Pool(lambda: Session(relay, tls), clock, size=relay.connections)

    async def start(self) -> None:
        """Begin to look after idle connections."""
        self._pool.start()

    async def close(self) -> None:
        """Close all connections; mails under way are postponed."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def open_connections(self) -> int:
        """How many there are, in use or idle."""
        return self._pool.open_connections

    def trouble(self) -> str | None:
        """See `ports.Mailer.trouble`."""
        return self._gate.trouble.reason if self._gate.trouble is not None else None

    async def send(self, mail: Mail) -> Outcome:
        """See `ports.Mailer.send`."""
        try:
            envelope = self._envelope(mail)
        except InvalidInput as error:
            return Failed(reason="invalid-address", retryable=False, detail=str(error))
        return await self._gate.through(lambda: self._attempt(envelope))

    def _envelope(self, mail: Mail) -> Envelope:
        content = to_bytes(mail, self._sender, international=True)
        recipient = read_address(mail.to, "/to", international=True)
        return Envelope(sender=self._bounces, recipient=recipient, content=content)

    async def _attempt(self, envelope: Envelope) -> Delivered | Postponed | Verdict:
        try:
            async with self._pool.place(self._wait) as place:
                verdict = await self._in_time(place, envelope)
        except Unavailable as error:
            return Postponed(reason=str(error))
        if self._pool.closed and not isinstance(verdict, Delivered):
            return Postponed(reason="the mailer was closed meanwhile")
        if isinstance(verdict, Failed) and verdict.reason == answers.RELAY_DENIED:
            log.error("mail.not_relayed", extra={"detail": verdict.detail, "advice": _MAY_RELAY})
        return verdict

    async def _in_time(self, place: Place, envelope: Envelope) -> Delivered | Verdict:
        """The outcome; in the place stays a connection only where it is fit for another mail."""
        try:
            async with asyncio.timeout(self._relay.timeout):
                return await self._hand_over(place, envelope)
        except TimeoutError:
            step = None if place.session is None else place.session.step
            place.drop()
            return answers.timed_out(step, self._relay.timeout)
        except SessionError as error:
            if not error.usable:
                place.drop()
            return error.verdict

    async def _hand_over(self, place: Place, envelope: Envelope) -> Delivered | Verdict:
        session = place.reuse()
        if session is not None and (unfit := _unfit(session, envelope)) is not None:
            return unfit
        if session is None or not await self._resumed(session, envelope):
            session = await place.open()
            if (unfit := _unfit(session, envelope)) is not None:
                return unfit
            await session.begin(envelope)
        answer = await session.finish(envelope)
        return Delivered(status=250, detail=answer or None)

    async def _resumed(self, session: Session, envelope: Envelope) -> bool:
        """Whether a kept connection still lives: the mail is begun on it, then."""
        try:
            async with asyncio.timeout(min(_PROMPT_S, self._relay.timeout / 2)):
                await session.begin(envelope)
        except TimeoutError:
            return False
        except SessionError as error:
            if error.usable:
                raise
            return False
        return True


def _unfit(session: Session, envelope: Envelope) -> Failed | None:
    """Why this server cannot take this mail at all, as it says itself."""
    limit = session.size_limit
    if limit is not None and len(envelope.content) > limit:
        detail = f"the mail has {len(envelope.content)} bytes; the server takes {limit} at most"
        return Failed(reason="smtp-too-large", retryable=False, detail=detail)
    if envelope.international and not session.takes_any_script:
        detail = (
            "the mail server takes only addresses in ASCII (no SMTPUTF8):"
            " give the user another address, or use another server"
        )
        return Failed(reason="smtp-no-smtputf8", retryable=False, detail=detail)
    return None


async def examine(relay: Relay, sender: str) -> str | Verdict:
    """All of a mail but its recipient and content, so that none is sent; what was found.

    Args:
        relay: The mail server.
        sender: Who mails come from.

    Raises:
        InvalidInput: The sender's address is none.
        ConfigurationError: The CA file cannot be used.
        Unavailable: There is no socket left.
    """
    bounces = relay.bounces or read_sender(sender)[1]
    session = Session(relay, ssl_context(relay))
    try:
        async with asyncio.timeout(relay.timeout):
            await session.open()
            found = [session.encryption]
            found.append("no sign-in asked for" if relay.username is None else "signed in")
            if (limit := session.size_limit) is not None:
                found.append(f"takes mails of up to {limit >> 10:,} KiB")
            await session.begin(Envelope(sender=bounces, recipient="", content=_SAMPLE))
    except TimeoutError:
        return answers.timed_out(session.step, relay.timeout)
    except SessionError as error:
        return error.verdict
    else:
        await session.leave()
        return ", ".join(found)
    finally:
        session.abort()


def ssl_context(relay: Relay) -> ssl.SSLContext:
    """What is trusted: the system's authorities, and the file's.

    Raises:
        ConfigurationError: The CA file cannot be used.
    """
    context = ssl.create_default_context()
    if relay.ca_file is not None:
        try:
            context.load_verify_locations(cafile=relay.ca_file)
        except OSError as error:  # ssl.SSLError is one: no PEM in it
            why = error.strerror or str(error)
            raise ConfigurationError(f"{SETTING}: cannot use {relay.ca_file}: {why}") from error
    return context
