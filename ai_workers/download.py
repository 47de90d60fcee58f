"""Fetches a video from wherever somebody says it is, into a file that is gone once it is closed.

The address is a stranger's: it goes past the guard that webhooks go past, again at each redirect,
and once more for the very address of each connection. So does what comes from there: it is bounded
in size and time, and what is plainly no video is refused before it is here. Complaints never say
the URL: it may be the only secret there is.
"""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from ai_workers.ports import JobFailed
from notifications.addresses import Errand, Network, check_url, read_url
from notifications.connections import (
    CheckedSockets,
    Exchange,
    ThreadedLookups,
    current_exchange,
    tls_context,
)

USER_AGENT = "Huntaze-Videos/1.0"
VIDEOS = Errand(not_there="where videos are not fetched from")

_REDIRECTS = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429)
_BUFFER = 1024 * 1024
_SNIFFED = 512
_LONGEST_FIELD = 32 * 1024
_MOVING_PICTURES = ("image/gif", "image/webp", "image/avif", "image/apng")
_NO_VIDEOS = ("text/", "image/", "font/", "multipart/", "message/")
_NO_VIDEO = ("application/json", "application/xhtml+xml", "application/xml", "application/pdf")
_MARKUP = (b"<!doctype", b"<html", b"<head", b"<body", b"<script", b"<?xml", b"<!--", b"<title")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """What fetching one video may take, and where it may lead.

    Attributes:
        size: Bytes.
        within_s: Seconds for all of it: lookups, redirects, connections, the last byte.
        silence_s: Seconds without a byte.
        redirects: How many are followed.
        allowed: Networks that the guard lets through; http goes to these alone.
        ca_file: Certificates to trust beside the system's, PEM.
        folder: Where the file is while it is open; the system's place for such files by default.
    """

    size: int = 512 * 1024 * 1024
    within_s: float = 300.0
    silence_s: float = 20.0
    redirects: int = 5
    allowed: Sequence[Network] = ()
    ca_file: Path | None = None
    folder: Path | None = None


class Downloader:
    """Fetches videos, each over connections of its own."""

    def __init__(
        self, limits: DownloadLimits | None = None, *, resolver: AbstractResolver | None = None
    ) -> None:
        """Configure; nothing is opened.

        Args:
            limits: What one video may take.
            resolver: Looks names up; `getaddrinfo` by default.
        """
        self._limits = limits or DownloadLimits()
        self._resolver = resolver

    @asynccontextmanager
    async def fetch(self, url: str) -> AsyncIterator[BinaryIO]:
        """The video at an address, as an open file at its beginning. It has no name, so that not
        even a process that is killed leaves it behind.

        Raises:
            JobFailed: `url-refused`, `too-large`, `not-a-video`, or `download-failed`, which may
                be tried again where another try may bring something else.
        """
        limits = self._limits
        with _new_file(limits.folder) as file:
            try:
                async with asyncio.timeout(limits.within_s):
                    await self._follow(url, _Spool(file=file, most=limits.size))
            except TimeoutError as error:
                said = f"The video did not arrive within {limits.within_s:g} seconds."
                raise _failed(said, retryable=True) from error
            file.seek(0)
            yield file

    async def _follow(self, url: str, spool: "_Spool") -> None:
        target = _checked(url, self._limits, 0)
        tls = await asyncio.to_thread(tls_context, self._limits.ca_file)  # reads a large file
        async with self._session(tls) as session:
            for hop in range(self._limits.redirects + 1):
                follow_up = await self._visit(session, target, hop, spool)
                if follow_up is None:
                    return
                target = _checked(follow_up, self._limits, hop + 1)
        most = self._limits.redirects
        raise _failed(f"The video's address redirects more than {most} times.", retryable=False)

    def _session(self, tls: ssl.SSLContext) -> aiohttp.ClientSession:
        silence = self._limits.silence_s
        connector = aiohttp.TCPConnector(
            ssl=tls,
            resolver=self._resolver or ThreadedLookups(),
            socket_factory=CheckedSockets(self._limits.allowed, VIDEOS).open,
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=silence, sock_read=silence),
            auto_decompress=False,
            trust_env=False,
            max_field_size=_LONGEST_FIELD,
        )

    async def _visit(
        self, session: aiohttp.ClientSession, url: URL, hop: int, spool: "_Spool"
    ) -> str | None:
        """Go to one address: None once the video is here, else where it says to go."""
        exchange = Exchange(plain=url.scheme != "https")
        token = current_exchange.set(exchange)
        try:
            async with session.get(url, allow_redirects=False) as response:
                if response.status in _REDIRECTS:
                    return _next_url(url, response)
                _check_answer(response, self._limits.size)
                async for part in response.content.iter_any():
                    await spool.add(part)
                await spool.finish()
                return None
        except aiohttp.ServerTimeoutError as error:
            said = "The server of the video stopped answering."
            raise _failed(said, retryable=True) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            if exchange.refused is not None and not exchange.opened:
                raise _refused(exchange.refused, hop) from error
            raise _explain(error) from error
        finally:
            current_exchange.reset(token)


# --------------------------------------------------------------------------- addresses


def _checked(url: str, limits: DownloadLimits, hop: int) -> URL:
    """An address that may be gone to, as far as it says itself."""
    errors = check_url(url, limits.allowed, VIDEOS)
    if errors:
        raise _refused(errors[0].detail, hop)
    try:
        return read_url(url)
    except ValueError as error:
        raise _refused("is not a valid URL", hop) from error


def _next_url(url: URL, response: aiohttp.ClientResponse) -> str:
    location = response.headers.get("Location", "")
    try:
        if location:
            return str(url.join(URL(location)).with_fragment(None))
    except ValueError:
        pass
    raise _failed("The video's address redirects to nowhere.", retryable=False)


def _refused(complaint: str, hop: int) -> JobFailed:
    subject = "The video's address" if hop == 0 else "The video's address redirects to one that"
    return JobFailed("url-refused", f"{subject} {complaint}.")


# --------------------------------------------------------------------------- answers


def _check_answer(response: aiohttp.ClientResponse, most: int) -> None:
    status = response.status
    if status != 200:
        later = status >= 500 or status in _LATER
        raise _failed(f"The server of the video answered {status}.", retryable=later)
    kind = response.content_type.lower()
    refused = kind in _NO_VIDEO or kind.startswith(_NO_VIDEOS)
    if refused and kind not in (*_MOVING_PICTURES, "text/plain"):
        raise _no_video("a web page" if "html" in kind else f"{kind[:64]}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        said = "The server of the video sends it compressed, which was not asked for."
        raise _failed(said, retryable=False)
    if response.content_length is not None and response.content_length > most:
        raise _too_large(most)


@dataclass(slots=True)
class _Spool:
    """Puts what arrives into a file, off the event loop, and looks at how it begins.

    Attributes:
        file: Where it goes.
        most: Bytes that there may be.
    """

    file: BinaryIO
    most: int
    _size: int = 0
    _looked: bool = False
    _waiting: bytearray = field(default_factory=bytearray)

    async def add(self, part: bytes) -> None:
        """Take in what came."""
        self._size += len(part)
        if self._size > self.most:
            raise _too_large(self.most)
        self._waiting += part
        if not self._looked and len(self._waiting) >= _SNIFFED:
            self._look()
        if len(self._waiting) >= _BUFFER:
            await self._write()

    async def finish(self) -> None:
        """Write what is left; there has to be something."""
        if not self._size:
            raise JobFailed("not-a-video", "The video's address leads to an empty file.")
        if not self._looked:
            self._look()
        await self._write()

    def _look(self) -> None:
        self._looked = True
        begins = bytes(self._waiting[:_SNIFFED]).lstrip(b"\xef\xbb\xbf \t\r\n\x00").lower()
        if begins.startswith(_MARKUP):
            raise _no_video("a web page")
        if begins.startswith(b"#extm3u"):
            raise _no_video("a playlist")

    async def _write(self) -> None:
        waiting, self._waiting = self._waiting, bytearray()
        try:
            await asyncio.to_thread(self.file.write, waiting)
        except OSError as error:
            raise _failed("There is no room for the video for now.", retryable=True) from error


def _explain(error: Exception) -> JobFailed:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return _failed("The server of the video was not found.", retryable=True)
        case aiohttp.ClientConnectorCertificateError():
            said = "The server of the video could not prove who it is: its certificate is not good."
            return _failed(said, retryable=False)
        case aiohttp.ClientPayloadError():
            return _failed("The video broke off while it was fetched.", retryable=True)
        case aiohttp.ClientResponseError():
            return _failed("The server of the video does not speak HTTP.", retryable=True)
        case aiohttp.InvalidURL() | ValueError():
            return _refused("is not a valid URL", 0)
        case _:
            said = "There is no connection to the server of the video, or it broke."
            return _failed(said, retryable=True)


def _failed(message: str, *, retryable: bool) -> JobFailed:
    return JobFailed("download-failed", message, retryable=retryable)


def _too_large(most: int) -> JobFailed:
    return JobFailed("too-large", f"The video is larger than {most / 1024**2:,.0f} MiB.")


def _no_video(what: str) -> JobFailed:
    return JobFailed("not-a-video", f"The video's address leads to {what}, not to a video file.")


def _new_file(folder: Path | None) -> BinaryIO:
    try:
        return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))
    except OSError as error:
        raise _failed("There is no room for the video for now.", retryable=True) from error
