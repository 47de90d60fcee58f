"""What a mail server's answers and failures mean: whose fault, and whether to try again. Pure.

A refusal of one mail or one addressee is that delivery's. What the server would say of every mail
(who we are, how we sign in, whether we may send at all) is ours to mend, and is `Trouble`.
"""

import base64
import re
import socket
import ssl
from dataclasses import dataclass
from enum import StrEnum

from aiosmtplib import (
    SMTPException,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from notifications.deliveries import Failed
from notifications.smtp_url import SETTING, Relay
from notifications.text import one_line, shorten

KEPT_OF_ANSWER = 500
"""Characters of a server's text that are kept."""

SERVICE_ENDS = 421
"""The server is about to close the connection."""


class Step(StrEnum):
    """How far an attempt came; each is said to people."""

    CONNECTION = "connection"
    GREETING = "greeting"
    STARTTLS = "STARTTLS"
    SIGN_IN = "sign-in"
    SENDER = "sender"
    RECIPIENT = "recipient"
    CONTENT = "content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """No mail goes out until somebody mends it: nobody's mail is to blame.

    Attributes:
        reason: Short and constant.
        detail: What happened.
        advice: What to do.
    """

    reason: str
    detail: str
    advice: str


Verdict = Failed | Trouble

_NOT_SIGNED_IN = frozenset({530, 534, 535, 538})
_TOO_LARGE = frozenset({523, 552})
_UNKNOWN_PARAMETER = 555
RELAY_DENIED = "smtp-relay-denied"
"""The reason where the server would take a mail for others, but not for this addressee."""

_MAY_NOT_RELAY = re.compile(
    r"relay(?:ing)?\b.{0,20}\b(?:denied|prohibited|not (?:permitted|allowed))"
    r"|(?:unable|not (?:permitted|allowed|authori[sz]ed)) to relay",
    re.IGNORECASE,
)

_ADVICE = {
    Step.CONNECTION: f"check host, port and certificates in {SETTING}",
    Step.GREETING: f"the server refuses this machine: check host and name= in {SETTING}",
    Step.STARTTLS: (
        f"use smtps:// in {SETTING} if the server speaks TLS from the start;"
        " or add starttls=never where the network between is to be trusted"
    ),
    Step.SIGN_IN: f"check user name and password in {SETTING}",
    Step.SENDER: "the server does not let us send as HUNTAZE_EMAIL_FROM (or bounces=): change that",
    Step.RECIPIENT: f"the server wants us to sign in: put user name and password into {SETTING}",
    Step.CONTENT: f"the server wants us to sign in: put user name and password into {SETTING}",
}


def refused(step: Step, code: int, text: str, *, relay: Relay, unusual: bool = False) -> Verdict:
    """What a refusal means.

    Args:
        step: What was refused.
        code: The answer's.
        text: The answer's.
        relay: Whose answer it is.
        unusual: The mail asked for what most do not (an address in another script), so that a
            refusal of its sender says nothing of other mails.
    """
    detail = readable(text, relay)
    if not 400 <= code <= 599:
        said = f"{code} {detail}".rstrip() if code >= 0 else detail
        return Failed(reason="smtp-protocol", detail=f"no SMTP, at the {step}: {said}")
    reason = f"smtp-{code}"
    if code < 500:
        return Failed(reason=reason, status=code, detail=detail)
    if _is_ours(step, code, unusual):
        what = f"the mail server refuses the {step}: {code} {detail}"
        return Trouble(reason=reason, detail=what, advice=_ADVICE[step])
    if step is Step.RECIPIENT and _MAY_NOT_RELAY.search(text):
        # Ours too, but perhaps for this domain alone: no reason to hold up every mail.
        return Failed(reason=RELAY_DENIED, status=code, detail=detail)
    return Failed(reason=reason, retryable=False, status=code, detail=detail)


def _is_ours(step: Step, code: int, unusual: bool) -> bool:
    if code in _NOT_SIGNED_IN:
        return True
    if step is Step.SENDER:
        return not unusual and code not in _TOO_LARGE and code != _UNKNOWN_PARAMETER
    return step not in (Step.RECIPIENT, Step.CONTENT)


def broken(step: Step, error: Exception, relay: Relay) -> Verdict:
    """What it means that something broke, rather than being refused.

    Args:
        step: How far it came.
        error: aiosmtplib's or the system's.
        relay: Who was spoken to.
    """
    cause = root(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Trouble(
            reason="smtp-certificate",
            detail=f"the certificate was not accepted: {cause.verify_message or cause.reason}",
            advice=f"check the host in {SETTING}; ca= names a file with your own authority",
        )
    if isinstance(cause, ssl.SSLError):
        return Failed(reason="smtp-tls", detail=f"TLS failed: {cause.reason or cause.strerror}")
    if isinstance(cause, socket.gaierror):
        return Failed(reason="dns", detail=f"{relay.host} was not found: {cause.strerror}")
    if step is Step.CONTENT:
        detail = "the connection broke while the mail was handed over; the server may have it"
        return Failed(reason="smtp-connection", detail=detail)
    if step is Step.CONNECTION:
        detail = _system_text(cause)
        return Failed(reason="smtp-connection", detail=f"no connection: {detail}")
    reason = "smtp-tls" if step is Step.STARTTLS else "smtp-connection"
    return Failed(reason=reason, detail=f"the connection broke at the {step}")


def lacking(step: Step, what: str, reason: str) -> Trouble:
    """The server does not offer what was asked for."""
    return Trouble(reason=reason, detail=f"the mail server offers no {what}", advice=_ADVICE[step])


def timed_out(step: Step | None, limit: float) -> Failed:
    """The outcome where the time limit, in seconds, was reached."""
    detail = f"no answer within {limit:g} s"
    if step is not None:
        detail += f", at the {step}"
    if step is Step.CONTENT:
        detail += "; the server may have the mail"
    return Failed(reason="timeout", detail=detail)


def is_refusal(error: Exception) -> bool:
    """Whether the server answered, rather than that something broke."""
    return isinstance(error, SMTPResponseException)


def readable(text: str, relay: Relay) -> str:
    """A server's text, fit to be stored and shown: one line, bounded, and not our password."""
    if relay.password is not None:
        text = text.replace(relay.password, "…")
        for secret in _as_sent(relay):
            text = text.replace(secret, "…")
    return shorten(one_line(text[: 4 * KEPT_OF_ANSWER]), KEPT_OF_ANSWER)


def _as_sent(relay: Relay) -> tuple[str, str]:
    password = (relay.password or "").encode()
    whole = b"\0".join((b"", (relay.username or "").encode(), password))
    return base64.b64encode(password).decode(), base64.b64encode(whole).decode()


def root(error: BaseException) -> BaseException:
    """What is behind an error of the library."""
    while isinstance(error, SMTPException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _system_text(error: BaseException) -> str:
    if isinstance(error, SMTPServerDisconnected):
        return "it was closed at once"
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        return "no answer"
    return one_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)
