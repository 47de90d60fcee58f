"""The data folder: what lies where in it, and which process owns it.

One hub owns a folder at a time: it holds a lock on `hub.lock`, which the system lets go of when
the process ends, however it ends. Others may look at the folder meanwhile, read-only.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from notifications.errors import AlreadyRunning, ConfigurationError

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_PATIENCE_S = 0.2
"""How long a lock may be held by somebody who only looks whether there is an owner."""


@dataclass(frozen=True, slots=True)
class RunningHub:
    """Where the hub of a folder answers.

    Attributes:
        url: Its address.
        pid: Its process.
    """

    url: str
    pid: int


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths in a data folder, and who is there."""

    path: Path

    @property
    def database(self) -> Path:
        """Bus and ledger: one SQLite file."""
        return self.path / "hub.db"

    @property
    def mail(self) -> Path:
        """Where the mail folder writes."""
        return self.path / "mail"

    @property
    def announcement(self) -> Path:
        """Where a hub that is ready says where it answers: `{"url","pid"}`."""
        return self.path / "hub.json"

    @property
    def lock(self) -> Path:
        """What the owner holds a lock on; it stays when there is none."""
        return self.path / "hub.lock"

    def announce(self, url: str) -> None:
        """Say that the hub of this process is ready; whole or not at all."""
        draft = self.announcement.with_suffix(".json.new")
        draft.write_bytes(orjson.dumps({"url": url, "pid": os.getpid()}) + b"\n")
        draft.replace(self.announcement)

    def withdraw(self) -> None:
        """Say that there is no hub any more; a disk that takes no writes stops nobody from ending.

        What is then left says nothing: it is of a process that does not own the folder.
        """
        with suppress(OSError):
            self.announcement.unlink(missing_ok=True)

    def running(self) -> RunningHub | None:
        """The hub that owns the folder and is ready; None where there is none."""
        owner = self.owner()
        if owner is None:
            return None
        try:
            found = orjson.loads(self.announcement.read_bytes())
            hub = RunningHub(url=str(found["url"]), pid=int(found["pid"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return hub if hub.pid == owner else None  # else one that ended without withdrawing

    def owner(self) -> int | None:
        """The process that owns the folder; None where nobody does, 0 where it is not known."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read_pid(descriptor)
        else:
            return None
        finally:
            os.close(descriptor)


@contextmanager
def own(data_dir: Path) -> Iterator[DataFolder]:
    """Own a data folder while the context lasts; it is made where there is none.

    Raises:
        AlreadyRunning: Another process owns it; the message names it.
        ConfigurationError: The folder cannot be made or written to.
    """
    folder = DataFolder(data_dir.resolve())
    try:
        folder.path.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
    except OSError as error:
        raise ConfigurationError(
            f"the data folder {folder.path} cannot be used: {error.strerror}"
        ) from error
    try:
        _take(folder, descriptor)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        # Left by an owner that was killed: it would send people to a hub that is gone.
        folder.withdraw()
        try:
            yield folder
        finally:
            folder.withdraw()
    finally:
        os.close(descriptor)


def _take(folder: DataFolder, descriptor: int) -> None:
    give_up = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < give_up:
                time.sleep(_PATIENCE_S / 10)
                continue
            pid = _read_pid(descriptor)
            who = f"process {pid}" if pid else "another process"
            raise AlreadyRunning(
                f"{who} is a hub that owns {folder.path}: stop it first,"
                " or give this one another folder with --data"
            ) from None
        return


def _read_pid(descriptor: int) -> int:
    text = os.pread(descriptor, 20, 0)
    return int(text) if text.isdigit() else 0
