"""`scripts/test-workers.sh` against `huntaze up`: what it is after a deployment, on one machine."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.test_workers import WORKERS, Report, check_traces
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
