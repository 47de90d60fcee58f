"""A mailer that writes each mail to a file: for one machine, and for trying things out."""

import asyncio
import errno
import hashlib
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from io import FileIO
from itertools import count
from pathlib import Path

from notifications.channels.email.message import read_sender, to_bytes
from notifications.deliveries import Delivered, Failed, Outcome
from notifications.errors import InvalidInput
from notifications.records import Mail

log = logging.getLogger("huntaze")

BATCH = 64
"""Mails at most that are written together: bounds how long the first of them waits."""

SYNCS = 8
"""Files that are waited for side by side: disks commit what waits together as one."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 100
_STALE = re.compile(r"\..+\.eml\.[0-9]+\.tmp")


@dataclass(slots=True)
class _Batch:
    mails: list[Mail] = field(default_factory=list)
    written: "asyncio.Task[Sequence[Outcome]] | None" = None


class FolderMailer:
    """Writes `<operation id>.eml`, whole or not at all; implements `ports.Mailer`.

    Mails that come while others are being written are the next batch. Its files are written, then
    waited for side by side until they are on the disk, then named, then the folder's list of
    names is waited for, once. So what was `Delivered` survives a power cut.
    """

    def __init__(self, folder: Path, sender_address: str) -> None:
        """Use a folder, which is made when the first mail is written.

        Args:
            folder: Where the files go.
            sender_address: `notify@example.com` or `Name <notify@example.com>`.

        Raises:
            InvalidInput: The sender's address is none.
        """
        read_sender(sender_address)
        self._folder = _Folder(folder, sender_address)
        self._filling: _Batch | None = None
        self._turn = asyncio.Lock()

    async def send(self, mail: Mail) -> Outcome:
        """`Delivered` = the file is on the disk. The same mail again writes the same file."""
        batch = self._filling
        if batch is None or batch.written is None or len(batch.mails) >= BATCH:
            batch = self._filling = _Batch()
            batch.written = asyncio.create_task(self._write(batch), name="mail-folder")
        place = len(batch.mails)
        batch.mails.append(mail)
        assert batch.written is not None
        outcomes = await asyncio.shield(batch.written)
        return outcomes[place]

    def trouble(self) -> str | None:
        """None: whatever keeps a file from being written is the outcome of its mail."""
        return None

    async def tidy(self) -> None:
        """Remove what a process that was killed left half-written. For before the first mail."""
        await asyncio.to_thread(self._folder.tidy)

    async def _write(self, batch: _Batch) -> Sequence[Outcome]:
        async with self._turn:
            if self._filling is batch:
                self._filling = None
            return await asyncio.to_thread(self._folder.write, batch.mails)


@dataclass(frozen=True, slots=True)
class _File:
    stream: FileIO
    temporary: Path
    path: Path


class _Folder:
    """The blocking part: one batch at a time."""

    def __init__(self, path: Path, sender: str) -> None:
        self._path = path
        self._sender = sender
        self._numbers = count()
        self._syncing = ThreadPoolExecutor(SYNCS, thread_name_prefix="mail-folder")

    def tidy(self) -> None:
        try:
            found = [each for each in self._path.iterdir() if _STALE.fullmatch(each.name)]
        except OSError:
            return  # no folder yet; whatever else it is, the first mail will say
        for path in found:
            with suppress(OSError):
                path.unlink()
        if found:
            log.info("mail.tidied", extra={"files": len(found)})

    def write(self, mails: Sequence[Mail]) -> Sequence[Outcome]:
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            with ExitStack() as streams:
                files = [self._open(mail, streams) for mail in mails]
                # A thread takes its share at once: handing out one by one costs more than the disk.
                size = -(-len(files) // SYNCS)
                shares = [files[first : first + size] for first in range(0, len(files), size)]
                outcomes = [each for some in self._syncing.map(_finish, shares) for each in some]
            self._sync_names()
        except OSError as error:
            return [_failed(error)] * len(mails)
        return outcomes

    def _open(self, mail: Mail, streams: ExitStack) -> _File | Failed:
        """Write a file under a passing name. The disk is not waited for yet."""
        try:
            content = to_bytes(mail, self._sender, international=True)
        except InvalidInput as error:
            return Failed(reason="invalid-address", retryable=False, detail=str(error))
        name = file_name(mail.operation_id)
        temporary = self._path / f".{name}.{next(self._numbers)}.tmp"
        try:
            stream = FileIO(temporary, "wb", opener=_private)
            streams.callback(stream.close)
            _write(stream, content)
        except OSError as error:
            return _failed(error, temporary)
        return _File(stream, temporary, self._path / name)

    def _sync_names(self) -> None:
        if os.name == "nt":
            return  # a folder cannot be opened there, and NTFS journals its names
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def file_name(operation_id: str) -> str:
    """The file of a mail: its operation id, if need be with what a path must not hold replaced."""
    safe = _UNSAFE.sub("_", operation_id)[:_LONGEST_NAME]
    if safe != operation_id:
        safe += "-" + hashlib.sha256(operation_id.encode(errors="replace")).hexdigest()[:16]
    return f"{safe}.eml"


def _finish(files: Sequence[_File | Failed]) -> list[Outcome]:
    """Give files their names, each once its content is on the disk."""
    return [file if isinstance(file, Failed) else _named(file) for file in files]


def _named(file: _File) -> Outcome:
    try:
        os.fsync(file.stream.fileno())
        file.stream.close()
        file.temporary.replace(file.path)
    except OSError as error:
        return _failed(error, file.temporary)
    return Delivered(detail=file.path.name)


def _write(stream: FileIO, content: bytes) -> None:
    if stream.write(content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _failed(error: OSError, temporary: Path | None = None) -> Failed:
    if temporary is not None:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return Failed(reason="mail-folder", detail=error.strerror or type(error).__name__)
