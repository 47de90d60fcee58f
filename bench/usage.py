"""What was busy while something was measured: the processes of the bench, the disk, the machine.

Processes are found by being children of this one, and named by what they run. All figures are of
the kernel's own accounts: they are read at the beginning, a few times a second for processes that
end in between, and at the end.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_ROLES = {
    "local_app.py": "hub",
    "receiver.py": "receiver",
    "model.py": "model",
    "publisher.py": "generator",
    "openloop.py": "generator",
    "sockets.py": "clients",
    "bare_loop.py": "bare loop",
    "chrom": "browser",
    "node": "client",
}
_OWN = "bench"
_EVERY_S = 0.2
_BUSY = 0.85
_FULL = 0.95
_DISK_BUSY = 0.6


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far, seconds; to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


@dataclass(slots=True)
class Usage:
    """What was busy meanwhile.

    Attributes:
        seconds: How long it was looked at.
        shares: Of a core, by role.
        disk: Share of the time in which the disk had something to do; None where it is memory.
        machine: Share of all cores that was busy.
    """

    seconds: float = 0.0
    shares: dict[str, float] = field(default_factory=dict)
    disk: float | None = None
    machine: float = 0.0

    def limited_by(self) -> str:
        """What limited what was measured, and how busy the rest was, in words."""
        most = max(self.shares, key=lambda role: self.shares[role], default=_OWN)
        share = self.shares.get(most, 0.0)
        cores = os.cpu_count() or 1
        if share >= _BUSY:
            verdict = f"{most}: {share:.0%} of a core"
        elif self.machine >= _FULL:
            verdict = f"the machine: all {cores} cores busy"
        elif self.disk is not None and self.disk >= _DISK_BUSY:
            verdict = f"the disk: busy {self.disk:.0%} of the time"
        else:
            verdict = "nothing was busy all the time"
        rest = [f"{role} {used:.0%}" for role, used in sorted(self.shares.items()) if used >= 0.01]
        others = self.machine * cores - sum(self.shares.values())
        rest.append(f"other programs {max(others, 0):.0%}")
        if self.disk is not None:
            rest.append(f"disk {self.disk:.0%}")
        return f"{verdict} ({', '.join(rest)})"


@contextmanager
def watching(folder: Path = Path("/tmp")) -> Iterator[Usage]:
    """Look at what is busy until the block ends; the answer is there after it.

    Args:
        folder: On the disk that is looked at.
    """
    usage = Usage()
    watch = _Watch()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_S):
            watch.look()

    disk, busy, began = _disk_s(folder), _machine_s(), time.monotonic()
    watch.look()
    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield usage
    finally:
        ended.set()
        looking.join()
        watch.look()
        usage.seconds = max(time.monotonic() - began, 1e-6)
        for role, used in watch.used().items():
            usage.shares[role] = used / usage.seconds
        after, busy_after = _disk_s(folder), _machine_s()
        if disk is not None and after is not None:
            usage.disk = min((after - disk) / usage.seconds, 1.0)
        working = busy_after[0] - busy[0]
        usage.machine = working / max(working + busy_after[1] - busy[1], 1e-6)


class _Watch:
    """Processor time of this process and all below it."""

    def __init__(self) -> None:
        self._first: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._roles: dict[int, str] = {}
        self._looked = False

    def look(self) -> None:
        for pid, role in _family(os.getpid(), _OWN):
            try:
                used = cpu_s(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended just now
            # Whoever came since the first look has used all of its time meanwhile.
            self._first.setdefault(pid, 0.0 if self._looked else used)
            self._last[pid] = used
            self._roles[pid] = role
        self._looked = True

    def used(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for pid, last in self._last.items():
            role = self._roles[pid]
            found[role] = found.get(role, 0.0) + last - self._first[pid]
        return found


def _family(pid: int, role: str) -> Iterator[tuple[int, str]]:
    """A process and all below it, with their roles; who has none of its own has its parent's."""
    yield pid, role
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        own = next((name for part, name in _ROLES.items() if part in command), role)
        yield from _family(int(child), own)


def _disk_s(folder: Path) -> float | None:
    """Seconds that the folder's disk had something to do since the start; None for memory."""
    device = folder.stat().st_dev
    wanted = [str(os.major(device)), str(os.minor(device))]
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[:2] == wanted:
            return int(fields[12]) / 1000
    return None


def _machine_s() -> tuple[float, float]:
    """Seconds that all cores together were busy, and idle, since the start."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    tick = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - idle) / tick, idle / tick
