"""Processes that a bench is made of: a hub, a receiver, generators, and what they say."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
from rows import percentile
from usage import cpu_s

__all__ = ["Receiver", "RunningHub", "cpu_s", "open_loop", "percentile", "receiver", "running_hub"]

HERE = Path(__file__).parent
ROOT = HERE.parent
TENANT = "bench"
READY_WITHIN_S = 30
START_WITHIN_S = 300
"""Of a hub that finds a million deliveries."""

STOP_WITHIN_S = 60
LATE_S = 400
"""How long after its last event an open loop may go on."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's process."""

    url: str

    def count(self) -> int:
        """POSTs so far."""
        return int(httpx.get(self.url, timeout=READY_WITHIN_S).text)

    def arrivals(self) -> dict[int, float]:
        """When each event came whose message is `n` and a number: seconds, as `perf_counter`."""
        found = httpx.get(f"{self.url}arrivals", timeout=READY_WITHIN_S).json()
        return {int(number): at for number, at in found.items()}

    def last(self) -> float:
        """When the last POST came: seconds, as `perf_counter`."""
        return float(httpx.get(f"{self.url}last", timeout=READY_WITHIN_S).text)

    def forget(self) -> None:
        """Count from zero again."""
        httpx.get(f"{self.url}forget", timeout=READY_WITHIN_S)

    def wait_for(self, count: int, within_s: float) -> None:
        """Return when that many POSTs came."""
        give_up = time.monotonic() + within_s
        while (there := self.count()) < count:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{there} of {count} webhooks after {within_s} s")
            time.sleep(0.02)

    def wait_for_numbers(self, wanted: Sequence[int], within_s: float) -> dict[int, float]:
        """When each of these events came, once all did."""
        give_up = time.monotonic() + within_s
        while missing := set(wanted) - (came := self.arrivals()).keys():
            if time.monotonic() > give_up:
                raise TimeoutError(f"{len(missing)} of {len(wanted)} webhooks did not come")
            time.sleep(0.1)
        return came


@dataclass(frozen=True, slots=True)
class RunningHub:
    """`huntaze up`, with a tenant's key and the admin's.

    Attributes:
        started_s: How long it took from its start until it was ready.
    """

    url: str
    key: str
    data: Path
    pid: int
    admin: str = ""
    started_s: float = 0.0

    def cpu_s(self) -> float:
        """Processor time its process has used so far, seconds."""
        return cpu_s(self.pid)

    def resident_mb(self) -> float:
        """Its resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000

    def kill(self) -> None:
        """Kill it: -9."""
        os.kill(self.pid, signal.SIGKILL)

    @property
    def headers(self) -> dict[str, str]:
        """What requests of the tenant carry."""
        return {"authorization": f"Bearer {self.key}"}

    def post(self, path: str, body: object) -> httpx.Response:
        """POST JSON as the tenant."""
        return httpx.post(self.url + path, json=body, headers=self.headers, timeout=30)

    def endpoint(self, url: str, tenant: str = TENANT, types: Sequence[str] = ("*",)) -> str:
        """A new endpoint's id."""
        body = {"url": url, "eventTypes": list(types), "tenantId": tenant}
        return str(self.as_admin("POST", "/v1/webhook-endpoints", body)["id"])

    def as_admin(self, method: str, path: str, body: object) -> Any:
        """Ask as the admin; what was answered.

        Raises:
            httpx.HTTPStatusError: It was refused.
        """
        headers = {"authorization": f"Bearer {self.admin}"}
        answer = httpx.request(method, self.url + path, json=body, headers=headers, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None


@contextmanager
def receiver(*options: str) -> Iterator[Receiver]:
    """Run the receiver in a process of its own."""
    with subprocess.Popen(
        [sys.executable, HERE / "receiver.py", *filter(None, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdin
        port = int(process.stdout.readline())
        try:
            yield Receiver(f"http://127.0.0.1:{port}/")
        finally:
            process.stdin.close()


@contextmanager
def running_hub(
    environment: Mapping[str, str] | None = None, data: Path | None = None
) -> Iterator[RunningHub]:
    """Run `huntaze up`, in a new folder unless one is given; it may be killed meanwhile."""
    with tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder:
        data = data or Path(folder)
        (data / "hub.json").unlink(missing_ok=True)
        command = [sys.executable, ROOT / "local_app.py", "up", "--port", "0", "--data", data]
        settings = {
            "PATH": "/usr/bin:/bin",
            "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "HUNTAZE_LOG": "warning",
            "HUNTAZE_LIMIT_PUBLISHES": "1000000",  # the hub is measured, not its limits
            "HUNTAZE_LIMIT_ENDPOINTS": "10000",
            "HUNTAZE_LIMIT_KEYS": "10000",
            **(environment or {}),
        }
        began = time.monotonic()
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=settings, cwd=ROOT
        ) as process:
            try:
                yield _ready(process, data, began)
            finally:
                process.terminate()
                process.wait(STOP_WITHIN_S)


def _ready(process: "subprocess.Popen[str]", data: Path, began: float) -> RunningHub:
    assert process.stdout
    for line in process.stdout:
        if line.startswith("ready "):
            break
    else:
        raise RuntimeError("the hub ended before it was ready")
    took = time.monotonic() - began
    url = orjson.loads((data / "hub.json").read_bytes())["url"]
    admin = (data / "admin.key").read_text().strip()
    answer = httpx.post(
        f"{url}/v1/api-keys",
        json={"tenantId": TENANT, "name": "bench"},
        headers={"authorization": f"Bearer {admin}"},
        timeout=START_WITHIN_S,
    )
    answer.raise_for_status()
    return RunningHub(url, answer.json()["key"], data, process.pid, admin, took)


@dataclass(frozen=True, slots=True)
class Published:
    """What the open loop did: when each event was due, and when its frame came where it listened.

    Both in seconds, as `perf_counter`, by the event's number.
    """

    due: Mapping[int, float]
    seen: Mapping[int, float]


@contextmanager
def clients(urls: Sequence[str]) -> Iterator["subprocess.Popen[str]"]:
    """The process of `sockets.py`, with a client connected to each of these."""
    with subprocess.Popen(
        [sys.executable, HERE / "sockets.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(orjson.dumps({"urls": urls}).decode() + "\n")
        process.stdin.flush()
        try:
            if process.stdout.readline() != "go\n":
                raise SystemExit("the clients could not connect")
            yield process
        finally:
            process.stdin.close()


def open_loop(
    hub: RunningHub,
    kind: str,
    targets: Sequence[Mapping[str, str]],
    *,
    rate: float,
    seconds: float,
    socket: str | None = None,
) -> Published:
    """Publish on a schedule, in a process of its own; returns when all was answered, and seen.

    Args:
        hub: Where to.
        kind: `toast` or `webhook`.
        targets: `{"tenant", "user"}` or `{"tenant", "endpoint"}`, in turn.
        rate: Events a second.
        seconds: How long.
        socket: Where a client listens meanwhile.
    """
    orders = {
        "url": hub.url,
        "key": hub.admin,
        "kind": kind,
        "targets": list(targets),
        "rate": rate,
        "seconds": seconds,
        "socket": socket,
        "run": f"r{time.time_ns():x}",
    }
    with tempfile.NamedTemporaryFile(prefix="huntaze-bench-") as answer:
        subprocess.run(
            [sys.executable, HERE / "openloop.py"],
            input=orjson.dumps({**orders, "answer": answer.name}) + b"\n",
            check=True,
            timeout=seconds + LATE_S,
        )
        said = orjson.loads(Path(answer.name).read_bytes())
    due, seen = ({int(number): at for number, at in said[name].items()} for name in ("due", "seen"))
    return Published(due, seen)
