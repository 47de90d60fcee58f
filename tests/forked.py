"""Processes that run a program of this repository, without loading its modules each time anew.

They are forked by `tests.fork_server`, and are in all else what `subprocess` would have started.
"""

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).parent.parent
_asking = threading.Lock()
_PRELOADED = "LD_PRELOAD"
"""Names libraries for a program that begins; one that is forked has begun long ago."""


class Forked:
    """A process, as `subprocess.Popen` shows it.

    Attributes:
        pid: Its id.
        stdout: What it prints, where that was asked for.
        stderr: What it complains of, where that was asked for.
        returncode: How it ended, once that is known; negative after a signal.
    """

    def __init__(self, pid: int, end: int, stdout: IO[str] | None, stderr: IO[str] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._end = end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()

    def poll(self) -> int | None:
        """How it ended, if it has."""
        if self.returncode is None and select.select([self._end], [], [], 0)[0]:
            self._read_end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """How it ends.

        Raises:
            subprocess.TimeoutExpired: It has not after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self._read_end()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """A signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def _read_end(self) -> None:
        self.returncode = int(os.read(self._end, 16))
        os.close(self._end)


def start(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    stdout: int | None = None,
    stderr: int | None = None,
    cwd: Path = ROOT,
) -> "Forked | subprocess.Popen[str]":
    """Start a program; the streams are as `subprocess.Popen` has them."""
    if not _is_of_here(command) or _PRELOADED in env:
        return subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True, env=env, cwd=cwd)
    out, err = _Stream.of(stdout, 1), _Stream.of(stderr, 2)
    if stderr == subprocess.STDOUT:
        err = _Stream(out.theirs, None)
    with Path(os.devnull).open("rb") as nothing:
        pid, end = _fork(command, env, cwd, (nothing.fileno(), out.theirs, err.theirs))
    for stream in {out.theirs: out, err.theirs: err}.values():
        if stream.ours:
            os.close(stream.theirs)
    return Forked(pid, end, out.ours, err.ours)


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    answer: str | bytes = "",
    timeout: float = 60,
    cwd: Path = ROOT,
) -> "subprocess.CompletedProcess[str]":
    """Run `python PROGRAM.py ARGUMENT…` to its end.

    Raises:
        subprocess.TimeoutExpired: It took longer than so many seconds, and was killed.
    """
    with (
        tempfile.TemporaryFile() as said_to_it,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        said_to_it.write(answer.encode() if isinstance(answer, str) else answer)
        said_to_it.seek(0)
        pid, end = _fork(command, env, cwd, (said_to_it.fileno(), out.fileno(), err.fileno()))
        process = Forked(pid, end, None, None)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(list(command), code, out.read(), err.read())


class _Stream:
    """One of a process's streams: the end that it gets, and the one that is kept."""

    def __init__(self, theirs: int, ours: IO[str] | None) -> None:
        self.theirs, self.ours = theirs, ours

    @classmethod
    def of(cls, wanted: int | None, number: int) -> Self:
        if wanted != subprocess.PIPE:
            return cls(number if wanted in (None, subprocess.STDOUT) else wanted, None)
        reader, writer = os.pipe()
        return cls(writer, os.fdopen(reader))


def _is_of_here(command: Sequence[str]) -> bool:
    """Whether what it needs is loaded already: another tree has modules of its own."""
    return command[0] == sys.executable and Path(command[1]).is_relative_to(ROOT)


def _fork(
    command: Sequence[str], env: Mapping[str, str], cwd: Path, files: tuple[int, int, int]
) -> tuple[int, int]:
    """The process's id, and the pipe in which its end will be told."""
    assert _is_of_here(command), "only what is loaded already can be forked"
    assert _PRELOADED not in env, "the loader of libraries looks at it before a program begins"
    request = {"arguments": list(command[1:]), "environment": dict(env), "cwd": str(cwd)}
    end, told = os.pipe()
    server = _server()
    with _asking:
        socket.send_fds(server, [json.dumps(request).encode()], [*files, told])
        os.close(told)
        answer = server.recv(32)
    assert answer, "the fork server is gone"
    return int(answer), end


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = Path(__file__).with_name("fork_server.py")
    process = subprocess.Popen(
        [sys.executable, str(program), str(theirs.fileno())], pass_fds=[theirs.fileno()]
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
