"""Forks processes that run a program of this repository: `python tests/fork_server.py FD`.

Loading the hub's modules is most of what a command costs. This process loads them once; each
process that it forks then is one of its own, as after `exec`: with an environment, a working
directory, files and a process id of its own, and an interpreter that ends in the ordinary way.

Requests come over a socket of packets: `tests.forked` is who asks.
"""

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MOST_BYTES = 1 << 17
MODULES = (
    "alembic.command",
    "encodings.idna",
    "notifications.api",
    "notifications.bootstrap",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "uvloop",
)
PACKAGES = ("ai_workers", "ai_workers.workers", "notifications.cli")
"""Of these, every module."""


def main(control: socket.socket) -> None:
    """Fork for each request; comes back in the forked ones, ready to run, and never else."""
    _load()
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    ends: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(reader, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fd == reader:
                    os.read(reader, 4096)
                    _tell_ends(ends)
                    continue
                packet, files, _, _ = socket.recv_fds(control, MOST_BYTES, 4)
                if not packet:
                    sys.exit()
                pid = os.fork()
                if pid == 0:
                    for own in (control.detach(), reader, writer, files[3], *ends.values()):
                        os.close(own)
                    break
                for file in files[:3]:
                    os.close(file)
                ends[pid] = files[3]
                control.send(str(pid).encode())
            else:
                continue
            break
    _become(json.loads(packet), files[:3])


def _load() -> None:
    sys.path.insert(0, str(ROOT))
    for name in MODULES:
        importlib.import_module(name)
    for package in PACKAGES:
        within = importlib.import_module(package).__path__
        for found in pkgutil.iter_modules(within, f"{package}."):
            importlib.import_module(found.name)
    sys.path.remove(str(ROOT))
    gc.collect()
    gc.freeze()


def _tell_ends(ends: dict[int, int]) -> None:
    """Say of each process that has ended how it did, in its own pipe."""
    for pid in list(ends):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            pipe = ends.pop(pid)
            with contextlib.suppress(BrokenPipeError):  # nobody waits for it any more
                os.write(pipe, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(pipe)


def _become(request: dict[str, Any], files: list[int]) -> None:
    """Take on what the request says: files, environment, arguments."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Whoever started the tests may have had it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number, inheritable=True)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    os.chdir(request["cwd"])
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stdout.reconfigure(write_through="PYTHONUNBUFFERED" in os.environ)
    sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace", buffering=1)
    sys.argv = request["arguments"]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_path(sys.argv[0], run_name="__main__")
