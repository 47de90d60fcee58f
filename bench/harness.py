"""Processes that a bench is made of: a hub, a receiver, and what they say."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import orjson

HERE = Path(__file__).parent
ROOT = HERE.parent
TENANT = "bench"
READY_WITHIN_S = 30


def cpu_s(pid: int) -> float:
    """Processor time that a process has used so far, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Receiver:
    """The receiver's process."""

    url: str

    def count(self) -> int:
        """POSTs so far."""
        return int(httpx.get(self.url).text)

    def arrivals(self) -> dict[int, float]:
        """When each event came whose message is `n` and a number: seconds, as `perf_counter`."""
        found = httpx.get(f"{self.url}arrivals", timeout=READY_WITHIN_S).json()
        return {int(number): at for number, at in found.items()}

    def wait_for(self, count: int, within_s: float) -> None:
        """Return when that many POSTs came."""
        give_up = time.monotonic() + within_s
        while (there := self.count()) < count:
            if time.monotonic() > give_up:
                raise TimeoutError(f"{there} of {count} webhooks after {within_s} s")
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class RunningHub:
    """`huntaze up`, with a tenant's key."""

    url: str
    key: str
    data: Path
    pid: int

    def cpu_s(self) -> float:
        """Processor time its process has used so far, seconds."""
        return cpu_s(self.pid)

    @property
    def headers(self) -> dict[str, str]:
        """What requests of the tenant carry."""
        return {"authorization": f"Bearer {self.key}"}

    def post(self, path: str, body: object) -> httpx.Response:
        """POST JSON as the tenant."""
        return httpx.post(self.url + path, json=body, headers=self.headers, timeout=30)


@contextmanager
def receiver(*options: str) -> Iterator[Receiver]:
    """Run the receiver in a process of its own."""
    with subprocess.Popen(
        [sys.executable, HERE / "receiver.py", *options],
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
def running_hub(environment: Mapping[str, str] | None = None) -> Iterator[RunningHub]:
    """Run `huntaze up` in a new folder."""
    with tempfile.TemporaryDirectory(prefix="huntaze-bench-") as folder:
        data = Path(folder)
        command = [sys.executable, ROOT / "local_app.py", "up", "--port", "0", "--data", data]
        settings = {
            "PATH": "/usr/bin:/bin",
            "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "HUNTAZE_LOG": "warning",
            "HUNTAZE_LIMIT_PUBLISHES": "1000000",  # the hub is measured, not its limit
            **(environment or {}),
        }
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=settings, cwd=ROOT
        ) as process:
            try:
                yield _ready(process, data)
            finally:
                process.terminate()
                process.wait(30)


def _ready(process: "subprocess.Popen[str]", data: Path) -> RunningHub:
    assert process.stdout
    for line in process.stdout:
        if line.startswith("ready "):
            break
    url = orjson.loads((data / "hub.json").read_bytes())["url"]
    admin = (data / "admin.key").read_text().strip()
    answer = httpx.post(
        f"{url}/v1/api-keys",
        json={"tenantId": TENANT, "name": "bench"},
        headers={"authorization": f"Bearer {admin}"},
        timeout=READY_WITHIN_S,
    )
    answer.raise_for_status()
    return RunningHub(url, answer.json()["key"], data, process.pid)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]
