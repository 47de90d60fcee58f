"""One connection to a mail server, from its greeting to its end, on aiosmtplib."""

import asyncio
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM, errorcode
from typing import cast

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPHeloError,
    SMTPResponseException,
    SMTPServerDisconnected,
)

from notifications.channels.email import smtp_answers as answers
from notifications.channels.email.smtp_answers import Step, Verdict
from notifications.errors import Unavailable
from notifications.smtp_url import Relay, Tls

_OURS = (EMFILE, ENFILE, ENOBUFS, ENOMEM)
_UNKNOWN_COMMAND = (500, 502)
_UNKNOWN_METHOD = (500, 501, 502, 503, 504)
_QUIT_S = 2.0
_NO_NAME = "[127.0.0.1]"
_SIZE = re.compile(r"[0-9]{1,15}")


class SessionError(Exception):
    """A step did not succeed.

    Attributes:
        step: Which.
        verdict: What that means.
        usable: Whether the connection may be used for another mail.
    """

    def __init__(self, step: Step, verdict: Verdict, *, usable: bool) -> None:
        self.step = step
        self.verdict = verdict
        self.usable = usable
        super().__init__(verdict.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A mail as it is handed over.

    Attributes:
        sender: Where bounces go.
        recipient: Whom it is for.
        content: The message, lines ended by CRLF.
    """

    sender: str
    recipient: str
    content: bytes

    @property
    def international(self) -> bool:
        """Whether the server must take what is not ASCII."""
        return not self.recipient.isascii()


class Session:
    """A connection that is signed in. Not for two at once.

    Attributes:
        step: How far it is with what it does now.
        mails: How many it has begun.
    """

    def __init__(self, relay: Relay, tls: ssl.SSLContext) -> None:
        """Nothing is opened yet.

        Args:
            relay: Whom to speak to.
            tls: What is trusted.
        """
        self._relay = relay
        self._client = SMTP(
            hostname=relay.host,
            port=relay.port,
            use_tls=relay.tls is Tls.IMPLICIT,
            start_tls=False,
            tls_context=tls,
            local_hostname=relay.name or own_name(),
            timeout=None,  # the attempt has one limit over everything
        )
        self._unclean = False
        self.step = Step.CONNECTION
        self.mails = 0

    @property
    def alive(self) -> bool:
        """Whether it is open, as far as this side knows."""
        return self._client.is_connected

    @property
    def size_limit(self) -> int | None:
        """Bytes that a mail may have, where the server says so."""
        said = self._client.esmtp_extensions.get("size", "").strip()
        return int(said) or None if _SIZE.fullmatch(said) else None

    @property
    def encryption(self) -> str:
        """`TLSv1.3` or the like, or `unencrypted`."""
        tls = self._client.get_transport_info("ssl_object")
        return str(tls.version()) if tls is not None else "unencrypted"

    @property
    def takes_any_script(self) -> bool:
        """Whether addresses may be other than ASCII."""
        return self._client.supports_extension("smtputf8")

    async def open(self) -> None:
        """Connect, encrypt and sign in, as the relay asks for.

        Raises:
            SessionError: The server is away, or will not have us.
            Unavailable: We have no socket left.
        """
        with self._at(Step.CONNECTION):
            await self._client.connect()
        await self._greet()
        if self._relay.tls is Tls.STARTTLS:
            await self._encrypt()
            await self._greet()
        if self._relay.username is not None:
            await self._sign_in(self._relay.username, self._relay.password or "")

    async def begin(self, envelope: Envelope) -> None:
        """Name the sender. Until this has succeeded nothing of the mail is with the server.

        Raises:
            SessionError: It was refused, or the connection broke.
        """
        self.mails += 1
        with self._at(Step.SENDER, unusual=envelope.international):
            if self._unclean:
                await self._clean()
            await self._client.mail(envelope.sender, options=self._options(envelope))

    async def finish(self, envelope: Envelope) -> str:
        """Name the recipient and hand the mail over; the server's answer.

        Raises:
            SessionError: It was refused, or the connection broke.
        """
        encoding = "utf-8" if envelope.international else "ascii"
        with self._at(Step.RECIPIENT):
            await self._client.rcpt(envelope.recipient, encoding=encoding)
        with self._at(Step.CONTENT):
            answer = await self._client.data(envelope.content)
        return answers.readable(answer.message, self._relay)

    async def leave(self) -> None:
        """Say goodbye, for at most two seconds, and close."""
        with suppress(TimeoutError, SMTPException, OSError):
            async with asyncio.timeout(_QUIT_S):
                await self._client.quit()
        self.abort()

    def abort(self) -> None:
        """Close at once, whatever the server is doing."""
        transport = cast("asyncio.WriteTransport | None", self._client.transport)
        if transport is not None:
            transport.abort()
        self._client.close()

    # ---------------------------------------------------------------- steps

    async def _greet(self) -> None:
        with self._at(Step.GREETING):
            try:
                await self._client.ehlo()
            except SMTPHeloError as error:
                if error.code not in _UNKNOWN_COMMAND:
                    raise
                await self._client.helo()

    async def _encrypt(self) -> None:
        if not self._client.supports_extension("starttls"):
            verdict = answers.lacking(Step.STARTTLS, "STARTTLS", "smtp-no-starttls")
            raise SessionError(Step.STARTTLS, verdict, usable=False)
        with self._at(Step.STARTTLS):
            await self._client.starttls()

    async def _sign_in(self, username: str, password: str) -> None:
        methods = [each for each in self._methods() if each in self._client.server_auth_methods]
        if not methods:
            what = "way to sign in that we know (AUTH PLAIN, LOGIN or CRAM-MD5)"
            verdict = answers.lacking(Step.SIGN_IN, what, "smtp-no-auth")
            raise SessionError(Step.SIGN_IN, verdict, usable=False)
        with self._at(Step.SIGN_IN):
            for left, method in reversed(list(enumerate(reversed(methods)))):
                sign_in = getattr(self._client, f"auth_{method.replace('-', '')}")
                try:
                    await sign_in(username, password)
                except SMTPAuthenticationError as error:
                    # A password that is refused is not shown again: that locks accounts. But a
                    # server that keeps only its hash refuses CRAM-MD5, and takes it in the others.
                    if not left or not (
                        error.code in _UNKNOWN_METHOD
                        or (method == "cram-md5" and self._client.is_connected)
                    ):
                        raise
                else:
                    return

    async def _clean(self) -> None:
        """Forget the mail before, which was refused."""
        try:
            await self._client.rset()
        except SMTPResponseException as error:  # says nothing of the next mail's sender
            raise SMTPServerDisconnected("the server cannot begin anew") from error
        self._unclean = False

    def _methods(self) -> tuple[str, ...]:
        """Where the connection is encrypted, what hides the password has no use."""
        if self._relay.tls is Tls.NONE:
            return ("cram-md5", "plain", "login")
        return ("plain", "login", "cram-md5")

    def _options(self, envelope: Envelope) -> list[str]:
        options = []
        if self._client.supports_extension("size"):
            options.append(f"SIZE={len(envelope.content)}")
        if envelope.international:
            if self._client.supports_extension("8bitmime"):
                options.append("BODY=8BITMIME")
            options.append("SMTPUTF8")
        return options

    @contextmanager
    def _at(self, step: Step, *, unusual: bool = False) -> Iterator[None]:
        """Turn whatever goes wrong in a step into what it means."""
        self.step = step
        try:
            yield
        except SMTPResponseException as error:
            if step is Step.CONNECTION:
                step = Step.GREETING  # what is answered with a refusal was connected
            verdict = answers.refused(
                step, error.code, error.message, relay=self._relay, unusual=unusual
            )
            usable = step in (Step.SENDER, Step.RECIPIENT, Step.CONTENT)
            usable &= 400 <= error.code <= 599 and error.code != answers.SERVICE_ENDS
            self._unclean = True
            raise SessionError(step, verdict, usable=usable) from error
        except (SMTPException, OSError) as error:
            number = getattr(answers.root(error), "errno", None)
            if number in _OURS:
                raise Unavailable(f"no socket for a mail: {errorcode[number]}") from error
            verdict = answers.broken(step, error, self._relay)
            raise SessionError(step, verdict, usable=False) from error


def own_name() -> str:
    """What to call this machine where nobody said: its name, where that is a whole one."""
    name = socket.gethostname()
    return name if "." in name and name.isascii() and name.isprintable() else _NO_NAME
