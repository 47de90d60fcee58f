"""The receivers of docs/receivers.md, run as printed, against all that `webhooks verify` sends."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from notifications.channels.webhooks.signatures import secret_text
from tests.docs_code import blocks
from tests.hub_process import environment, run_huntaze, wait_until
from tests.node_packages import FOLDER, TYPESCRIPT, install, needs_node
from tests.webhook_worlds import SECRET

SHORT, WHOLE = blocks("receivers.md", "python")
TYPED, ROUTE = blocks("receivers.md", "ts")
(NODE,) = blocks("receivers.md", "js")
SETTINGS = {"WEBHOOK_SECRET": secret_text(SECRET)}
TSC = "--strict --module nodenext --target es2022"
"""As the page says."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the receivers in TypeScript as printed, and what the compiler made of them.

    Types are checked as in a project of a customer's, which has TypeScript and the package.
    """
    install()
    install(TYPESCRIPT)
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "receiver.ts").write_text(TYPED)
    (folder / "route.ts").write_text(ROUTE)
    (folder / "node_modules").mkdir()
    for name, home in (("standardwebhooks", FOLDER), ("@types", TYPESCRIPT)):
        (folder / "node_modules" / name).symlink_to(home / "node_modules" / name)
    sources = ("receiver.ts", "route.ts")
    compiler = TYPESCRIPT / "node_modules" / "typescript" / "bin" / "tsc"
    done = subprocess.run(
        ["node", compiler, *TSC.split(), "--noEmitOnError", "--skipLibCheck", *sources],
        cwd=folder, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(command: list[str], log: Path) -> Iterator[str]:
    """A receiver, once it listens; its URL."""
    port = free_port()
    with (
        log.open("wb") as written,
        subprocess.Popen(
            command,
            stdout=written,
            stderr=subprocess.STDOUT,
            env=environment({**SETTINGS, "PORT": str(port)}),
        ) as process,
    ):
        try:
            wait_until(lambda: process.poll() is not None or answers(port), within_s=30)
            assert process.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.kill()
            process.wait(30)


def verified(url: str) -> dict:
    """The report on a receiver."""
    done = run_huntaze(
        ["webhooks", "verify", url, "--secret", SETTINGS["WEBHOOK_SECRET"], "--json"]
    )
    assert done.stderr == ""
    report = json.loads(done.stdout)
    assert report["passed"] is (done.returncode == 0)
    return report


def complaints(report: dict) -> list[str]:
    return [f"{each['sent']}: {each['why']}" for each in report["checks"] if each["why"]]


def test_the_page_leads_with_short_ones():
    """The first receiver in Python and the first in TypeScript are about ten lines of code."""
    for program in (SHORT, TYPED):
        lines = [each for each in program.splitlines() if each.strip(" })")]
        code = [each for each in lines if not each.startswith(("import ", "from "))]
        assert len(code) <= 13, program
        assert max(map(len, lines)) <= 100, program


@pytest.mark.parametrize("program", [SHORT, WHOLE], ids=["short", "without-packages"])
def test_the_receivers_in_python_are_right(tmp_path: Path, program: str):
    """With the published package and without: nothing to complain of, not even to advise."""
    script = tmp_path / "receiver.py"
    script.write_text(program)
    with running([sys.executable, str(script)], tmp_path / "log") as url:
        assert complaints(verified(url)) == []
    assert "webhook.test check-" in (tmp_path / "log").read_text()


@needs_node
def test_the_receiver_in_typescript_is_right(compiled: Path, tmp_path: Path):
    """With the published package, compiled strictly; nothing to complain of."""
    with running(["node", str(compiled / "receiver.js")], tmp_path / "log") as url:
        assert complaints(verified(url)) == []
    assert "type: 'webhook.test'" in (tmp_path / "log").read_text()


@needs_node
def test_the_route_of_next_js_is_right(compiled: Path, tmp_path: Path):
    """With the published package, compiled strictly; nothing to complain of."""
    serve = str(FOLDER / "serve-route.mjs")
    with running(["node", serve, str(compiled / "route.js")], tmp_path / "log") as url:
        assert complaints(verified(url)) == []
    assert "webhook.test check-" in (tmp_path / "log").read_text()


@needs_node
def test_the_receiver_in_javascript_is_right(tmp_path: Path):
    """No packages; nothing to complain of."""
    script = tmp_path / "receiver.mjs"
    script.write_text(NODE)
    with running(["node", str(script)], tmp_path / "log") as url:
        assert complaints(verified(url)) == []
    assert "webhook.test check-" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("right", "wrong", "found"),
    [
        ("<= 300", "<= 30_000_000", "10 min old (expired)"),
        ("abs(time.time() - int(at))", "time.time() - int(at)", "10 min ahead (future)"),
        ('if not id or not any([', "if not id or not all([", "two signatures, yours first"),
        ("split(b\" \")", "split(b\" \")[:1]", "two signatures, yours last"),
        ("not any(", "not str(", "signed with another key"),
        ('b"v1," + base64', 'base64', "valid"),
        ('+ body, hash', '+ json.dumps(json.loads(body)).encode(), hash', "JSON written"),
        ("<= 256 * 1024", "<= 128 * 1024", "the largest event"),
        ("<= 256 * 1024", "<= 256 * 1024 * 1024", "oversized"),
        ("except ValueError", "except ZeroDivisionError", "signed with another key"),
    ],
)  # fmt: skip
def test_a_receiver_that_is_changed_for_the_worse_is_found_out(
    tmp_path: Path, right: str, wrong: str, found: str
):
    """Each mistake that the page avoids is one that `verify` tells of."""
    assert right in WHOLE
    script = tmp_path / "receiver.py"
    script.write_text(WHOLE.replace(right, wrong))
    with running([sys.executable, str(script)], tmp_path / "log") as url:
        told = complaints(verified(url))
    assert any(each.startswith(found) for each in told), told
