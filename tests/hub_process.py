"""Real hub processes for tests: started, waited for, killed, ended by their own id."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import orjson

from tests import forked
from tests.forked import Forked

ROOT = Path(__file__).parent.parent
READY_WITHIN_S = 30
END_WITHIN_S = 30


class HubProcess:
    """`huntaze up` on a data folder; can be killed and started again on the same folder and port.

    Attributes:
        data: The data folder.
        url: Where it answers, from the first start on.
    """

    def __init__(
        self,
        data: Path,
        settings: Mapping[str, str] | None = None,
        program: Sequence[str] | None = None,
        options: Sequence[str] = (),
        log: Path | None = None,
    ) -> None:
        """Not started yet; `program` is what runs the commands, `huntaze` by default, and `log` the
        file that it writes its log to."""
        self.data = data
        self._log = log
        self._options = list(options)
        self.url = ""
        self._program = list(program or huntaze())
        self._settings = dict(settings or {})
        self._process: Forked | subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start, and return when it is ready."""
        port = self.url.rpartition(":")[2] or "0"
        command = [*self._program, "up", "--port", port, "--data", str(self.data)]
        command += self._options
        with ExitStack() as stack:
            log = stack.enter_context(self._log.open("ab")) if self._log else None
            self._process = forked.start(
                command,
                environment(self._settings),
                stdout=subprocess.PIPE,
                stderr=log.fileno() if log else None,
            )
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith("ready "):
                self.url = orjson.loads((self.data / "hub.json").read_bytes())["url"]
                return
        raise AssertionError(f"the hub ended with {self._process.wait(END_WITHIN_S)}")

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process
        return self._process.pid

    def ended(self) -> int | None:
        """Its exit code, where it has ended by itself or been ended by others; else None."""
        assert self._process
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal that does not end it."""
        assert self._process
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        code = process.wait(END_WITHIN_S)
        if process.stdout:
            process.stdout.close()
        return code

    @property
    def admin_key(self) -> str:
        """The admin key that is set, else the generated one."""
        set_one = self._settings.get("HUNTAZE_ADMIN_KEY")
        return set_one or (self.data / "admin.key").read_text().strip()

    @property
    def admin(self) -> dict[str, str]:
        """What the admin's requests carry."""
        return {"authorization": f"Bearer {self.admin_key}"}

    def tenant_headers(self, tenant_id: str) -> dict[str, str]:
        """What requests of a tenant carry, with a key that is made for it."""
        answer = httpx.post(
            f"{self.url}/v1/api-keys",
            json={"tenantId": tenant_id, "name": "test"},
            headers=self.admin,
        )
        assert answer.status_code == 201, answer.text
        return {"authorization": f"Bearer {answer.json()['key']}"}


@contextmanager
def hub_process(
    data: Path,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] | None = None,
    options: Sequence[str] = (),
    log: Path | None = None,
) -> Iterator[HubProcess]:
    """A hub that is running, and ended at the end; `options` are further ones of `up`."""
    hub = HubProcess(data, settings, program, options, log)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


def free_port() -> int:
    """A port of this machine that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found: int = listener.getsockname()[1]
    return found


def huntaze() -> list[str]:
    """The `huntaze` command of the interpreter that runs the tests."""
    return [sys.executable, str(ROOT / "local_app.py")]


def run_huntaze(
    arguments: Sequence[str],
    settings: Mapping[str, str] | None = None,
    *,
    answer: str = "",
    within_s: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; `answer` is what it is told."""
    return forked.run(
        [*huntaze(), *arguments], environment(settings or {}), answer=answer, timeout=within_s
    )


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The machine's environment without settings of its own, and with these."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HUNTAZE_", "SERVICEBUS_"))
    }
    return {**inherited, **settings}


def wait_until(condition: object, *, within_s: float, every_s: float = 0.05) -> None:
    """Return when `condition()` is true; fail when it is not within the limit."""
    assert callable(condition)
    give_up = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < give_up, f"not within {within_s} s"
        time.sleep(every_s)
