"""What went wrong between us and a receiver, as an outcome."""

import errno
import os

import aiohttp
from yarl import URL

from notifications.channels.webhooks.answers import gone, readable
from notifications.connections import Exchange
from notifications.deliveries import Failed
from notifications.errors import Unavailable

_DETAIL = 500
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def timed_out(exchange: Exchange, limit: float) -> Failed:
    """The outcome where the time limit, in seconds, was reached."""
    if exchange.status is None:
        return Failed(reason="timeout", detail=f"no answer within {limit:g} s")
    if exchange.status == 410:
        return gone(b"")
    detail = f"answered {exchange.status}, but not to the end within {limit:g} s"
    return Failed(reason="timeout", status=exchange.status, detail=detail)


def invalid_url(error: ValueError) -> Failed:
    """A URL that `check_url` would not have let pass."""
    detail = readable(str(error).encode("utf-8", "replace"), _DETAIL)
    return Failed(reason="invalid-url", retryable=False, detail=detail)


def fault_of(error: Exception, exchange: Exchange, url: URL) -> Failed:
    """What went wrong between us and the receiver, as an outcome.

    Args:
        error: aiohttp's or the system's.
        exchange: How far the request came.
        url: Where it went.

    Raises:
        Unavailable: The fault is ours.
    """
    number = getattr(error, "errno", None)
    if number in _OURS:
        raise Unavailable(f"no socket for a webhook: {errno.errorcode[number]}") from error
    if exchange.refused is not None and not exchange.opened:
        return Failed(reason="address-not-allowed", retryable=False, detail=exchange.refused)
    reason, text = _explain(error, url)
    detail = readable(text.encode("utf-8", "replace"), _DETAIL)
    return Failed(reason=reason, status=exchange.status, detail=detail)


def _explain(error: Exception, url: URL) -> tuple[str, str]:
    """A reason for grouping and a sentence for people. The order matters: these are one family."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns", f"{url.host} was not found: {error.os_error.strerror or error.os_error}"
        case aiohttp.ClientConnectorCertificateError():
            return "tls", f"the certificate was not accepted: {error.certificate_error}"
        case aiohttp.ClientSSLError():
            return "tls", f"TLS failed: {error.strerror or error.os_error}"
        case aiohttp.ClientConnectorError():
            return "connection", f"no connection: {_system_text(error)}"
        case aiohttp.ClientResponseError():
            return "protocol", f"the answer is not HTTP: {_first_line(error.message)}"
        case aiohttp.ClientPayloadError():
            return "connection", "the answer's body broke off, or was malformed"
        case _:
            return "connection", "the connection broke before there was an answer"


def _first_line(text: str) -> str:
    # The parser draws a caret under the bytes on further lines.
    return text.partition("\n")[0].rstrip(": ")


def _system_text(error: aiohttp.ClientConnectorError) -> str:
    # The error's own text names the address that was tried, which a name's owner need not learn.
    number = error.os_error.errno
    return os.strerror(number) if number else "every address failed"
