"""`scripts/test-workers.sh` against `huntaze up`: what it is after a deployment, on one machine."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from scripts.test_workers import WORKERS, Report, check_traces, main
from tests.hub_process import ROOT, HubProcess, hub_process
from tests.videos import Made, make

SETTINGS = {
    "HUNTAZE_LOG": "error",
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_RETRY_NOTIFICATIONS": "1m",
}
JOBS = ("chat.suggest", "content.analyze", "content.suggest")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A hub that takes receivers and media on this machine."""
    with hub_process(tmp_path_factory.mktemp("hub"), SETTINGS) as running:
        yield running


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a short video."""
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    make(path, Made(scenes=(1.0,), width=64, height=64, fps=5))
    content = path.read_bytes()

    class Serving(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "video/mp4")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v.mp4"
    server.shutdown()
    server.server_close()


def script(*arguments: str, url: str, key: str) -> "subprocess.CompletedProcess[str]":
    """Run it as people do."""
    return subprocess.run(
        ["bash", str(ROOT / "scripts" / "test-workers.sh"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HUNTAZE_URL": url,
            "HUNTAZE_API_KEY": key,
        },
    )


def test_one_of_everything_lands(hub: HubProcess, video: str):
    """Every event by each of its channels, every job, no dead letters; and traces are not here."""
    done = script("--video", video, "--within", "40", url=hub.url, key=hub.admin_key)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert "✓ event payment.received: email, realtime, webhook" in lines
    assert "✓ event message.received: realtime, webhook" in lines
    assert [f"✓ job {each}" in lines for each in (*JOBS, "video.analysis")] == [True] * 4
    assert "✓ dead letters: none" in lines
    assert [line for line in lines if line.startswith("-")] == [
        "- traces: not tried: no --insights (nor Application Insights on this machine)"
    ]


def test_what_does_not_land_is_named(hub: HubProcess):
    """A receiver that is away: 1, with the events whose webhook is pending."""
    gone = ("--webhook", "http://127.0.0.1:9/", "--within", "2")
    done = script(*gone, url=hub.url, key=hub.admin_key)
    assert done.returncode == 1
    assert "✗ event payment.received" in done.stdout
    assert "webhook is pending" in done.stdout


@pytest.mark.parametrize(
    ("url", "key", "words"),
    [
        ("http://127.0.0.1:9", "hz_sample", "does not answer"),
        ("http://127.0.0.1:9", "", "set HUNTAZE_API_KEY"),
    ],
)
def test_what_cannot_be_tried_is_2(url: str, key: str, words: str):
    """No hub, or no key: nothing is said of the workers."""
    done = script(url=url, key=key)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


class Rubbish(StreamRequestHandler):
    """Answers with the bytes that its server has, and then says no more."""

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        self.wfile.write(self.server.says)  # type: ignore[attr-defined]
        if self.server.drips:  # type: ignore[attr-defined]
            with contextlib.suppress(OSError):
                while not self.server.over.wait(0.2):  # type: ignore[attr-defined]
                    self.wfile.write(b"x")


@contextlib.contextmanager
def answering(says: bytes, *, drips: bool = False) -> Iterator[str]:
    """The address of something that is no hub."""
    server = ThreadingTCPServer(("127.0.0.1", 0), Rubbish)
    server.says, server.drips, server.over = says, drips, threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()


class Inside:
    """The program in this process: a fifth of what it takes in one of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._set = monkeypatch
        self.said = capsys.readouterr

    def __call__(self, url: str, *arguments: str) -> int:
        self._set.setenv("HUNTAZE_URL", url)
        self._set.setenv("HUNTAZE_API_KEY", "hz_sample")
        self._set.setattr(sys, "argv", ["test_workers.py", *arguments])
        return main()


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """The program, to be run with a hub's address and arguments."""
    return Inside(monkeypatch, capsys)


OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("says", "words"),
    [
        (OK + b"<!doctype html>\n<title>Welcome</title>\n", "is http://127.0.0.1"),
        (OK + b'{"cut": ', "HUNTAZE_URL says so"),
        (OK + b"[" * 100_000, "HUNTAZE_URL says so"),
        (OK + b"{}", "HUNTAZE_URL says so"),
        (b"SSH-2.0-OpenSSH_9\r\n", "does not answer as a hub does"),
        (b"", "does not answer as a hub does"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "does not answer"),
        (b"HTTP/1.1 301 x\r\nlocation: https://h/\r\n\r\n", "set HUNTAZE_URL to where it leads"),
        (b"HTTP/1.1 401 x\r\nconnection: close\r\n\r\nno\nkey", "has to be the admin's key"),
    ],
    ids=["page", "cut", "nested", "other", "rubbish", "nothing", "chunks", "moved", "key"],
)
def test_what_is_no_hub_is_a_line(says: bytes, words: str, inside: Inside):
    """A web page, rubbish, a closed door: one sentence with a way on, and 2."""
    with answering(says) as url:
        assert inside(url) == 2
    err = inside.said().err
    lines = [line for line in err.splitlines() if "may still be there" not in line]
    assert len(lines) == 1, err
    assert words in lines[0]


def test_what_never_ends_is_ended(inside: Inside, monkeypatch: pytest.MonkeyPatch):
    """An answer a byte at a time keeps every limit of a call; `--within` ends it."""
    monkeypatch.setattr("scripts.test_workers.LOOK_S", 0.2)
    with answering(OK, drips=True) as url:
        assert inside(url, "--within", "0.3") == 2
    assert "took longer than --within allows" in inside.said().err


@pytest.mark.parametrize(
    ("arguments", "url", "words"),
    [
        (["--insights", "/subscriptions/s/i"], "http://127.0.0.1:9", "not on the PATH"),
        ([], "127.0.0.1:8080", "HUNTAZE_URL is no address"),
        ([], "http://me:hidden@127.0.0.1:9", "no password"),
        ([], "http://127.0.0.1:9\nx", "no space"),
        (["--within", "nan"], "http://127.0.0.1:9", "from more than 0 to 3600 seconds"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_made(
    arguments: list[str], url: str, words: str, inside: Inside, monkeypatch: pytest.MonkeyPatch
):
    """The usage and a line, and 2."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SystemExit) as ended:
        inside(url, *arguments)
    assert ended.value.code == 2
    assert words in inside.said().err


@pytest.mark.parametrize(
    ("az", "says"),
    [
        ("echo '<html>'", "az answers with no table"),
        ("echo '{}'", "az answers with no table"),
        ("echo no login >&2; exit 1", "no login"),
        (None, "az does not start"),
    ],
)
def test_an_az_that_is_of_no_use_is_told(
    az: str | None,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """One line, whatever it answers; the other lines of the report stay."""
    if az is not None:
        (tmp_path / "az").write_text(f"#!/bin/sh\n{az}\n")
        (tmp_path / "az").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    report = Report()
    check_traces("/subscriptions/s/i", time.monotonic(), report)
    out = capsys.readouterr().out
    assert (report.failed, out.count("\n")) == (1, 1)
    assert says in out


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (WORKERS, "✓ traces: every worker has some"),
        (WORKERS[1:], f"✗ traces: every worker has some: none of {WORKERS[0]}"),
    ],
)
def test_traces_are_looked_for_where_they_are_kept(
    names: tuple[str, ...],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Application Insights is asked by az; a worker that it has not seen is named."""
    answer = json.dumps({"tables": [{"rows": [[name, 1] for name in names]}]})
    az = tmp_path / "az"
    az.write_text(f"#!/bin/sh\necho '{answer}'\n")
    az.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    report = Report()
    check_traces("/subscriptions/s/i", time.monotonic(), report)
    assert capsys.readouterr().out.strip() == says
    assert report.failed == ("✗" in says)
