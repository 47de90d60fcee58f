"""`huntaze demo`: what a newcomer sees first."""

import os
import re
import select
import signal
import socket
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from notifications.cli.demo_story import STORY
from tests import forked
from tests.forked import Forked
from tests.hub_process import environment, huntaze, run_huntaze

LANDED = re.compile(r"^ *(\d+) ms  (toast|mail|webhook|result) +(\w+) +(.*)$", re.MULTILINE)
JOBS = ("video.analysis", "chat.suggest", "content.suggest", "content.analyze")


def test_once_shows_everything_land_and_ends(tmp_path: Path):
    """Toasts, mails and verified webhooks of all samples, one of them after a retry, and the
    results of a job of each type; then 0."""
    done = run_huntaze(["demo", "--once", "--port", "0"], {"TMPDIR": str(tmp_path)}, within_s=95)
    assert done.returncode == 0, done.stdout + done.stderr
    landed = LANDED.findall(done.stdout)
    kinds = [what for _, what, _, _ in landed]
    webhooks = Counter(text.split(",")[0] for _, what, _, text in landed if what == "webhook")
    assert webhooks.pop("job.progress") >= 1  # of the video: the others are over too soon
    told = {"job.queued", "job.started", "job.succeeded"}
    assert webhooks == Counter([name for name, _ in STORY] + [*told] * len(JOBS))
    assert kinds.count("toast") >= len(STORY) + len(JOBS)
    assert kinds.count("mail") == 3 + len(JOBS)
    assert all(f"→ {each}  job_" in done.stdout for each in JOBS)
    results = [text for _, what, _, text in landed if what == "result"]
    assert [text.split(", ")[:2] for text in results] == [["the offline model", "$0.00"]] * 4
    assert "4 séquences" in results[0]  # it has looked at the video that the demo made
    assert "the offline model answers" in done.stdout
    assert done.stdout.rstrip().endswith(f"all {len(landed)} landed")
    assert all("v1 and v1a verified" in text for _, what, _, text in landed if what == "webhook")
    (retried,) = [took for took, _, _, text in landed if "at attempt 2" in text]
    assert int(retried) >= 800
    assert "answers 500 on purpose" in done.stdout
    assert {who for _, what, who, _ in landed if what != "webhook"} == {"camille", "alex"}
    assert "Votre analyse vidéo" in done.stdout
    assert "Payment received" in done.stdout
    assert list(tmp_path.iterdir()) == []  # the temporary folder is gone


def test_data_that_is_kept_can_be_shown_again(tmp_path: Path):
    """A second run on the same folder shows the same, with ids of its own."""
    arguments = ["demo", "--once", "--port", "0", "--data", str(tmp_path / "kept")]
    for _ in range(2):
        done = run_huntaze(arguments, within_s=95)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "kept" / "mail").glob("*.eml"))) == 14
    audit = run_huntaze(["audit", "--data", str(tmp_path / "kept")])
    assert audit.returncode == 0, audit.stdout


def test_a_port_that_was_asked_for_and_is_taken_is_said():
    """Only the usual port is given up for another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run_huntaze(["demo", "--once", "--port", str(taken.getsockname()[1])])
    assert done.returncode == 2
    assert "cannot listen on" in done.stderr


@pytest.fixture
def staying(tmp_path: Path):
    """A demo that stays up, once it has told how to try it."""
    with forked.start(
        [*huntaze(), "demo", "--port", "0"],
        environment({"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}),
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        told = read_until(process.stdout.fileno(), "Ctrl-C ends the demo.")
        try:
            yield process, told
        finally:
            process.kill()


def read_until(descriptor: int, ending: str, within_s: float = 90) -> str:
    """What is printed until this has been."""
    told = b""
    give_up = time.monotonic() + within_s
    while ending.encode() not in told:
        assert time.monotonic() < give_up, told.decode()
        if select.select([descriptor], [], [], 1)[0]:
            got = os.read(descriptor, 65536)
            assert got, told.decode()
            told += got
    return told.decode()


def test_the_lines_that_it_prints_work_as_they_are(staying: tuple[Forked, str]):
    """Each of the three lines is pasted into a shell and answers; what is published lands."""
    process, told = staying
    publish, look, inbox = re.findall(r"^curl .+$", told, re.MULTILINE)
    shell = ["/bin/sh", "-c"]

    answer = subprocess.run([*shell, publish], capture_output=True, check=True, timeout=20)
    assert b'"duplicate":false' in answer.stdout
    assert process.stdout
    landed = read_until(process.stdout.fileno(), "message.received, v1 and v1a verified", 20)
    if "Hello from curl" not in landed:
        landed += read_until(process.stdout.fileno(), "Hello from curl", 20)
    assert "Hello from curl" in landed

    answer = subprocess.run([*shell, look], capture_output=True, check=True, timeout=20)
    assert b'"status":500' in answer.stdout
    assert b'"number":2' in answer.stdout

    answer = subprocess.run([*shell, inbox], capture_output=True, check=True, timeout=20)
    assert b"Hello from curl" in answer.stdout


def test_ctrl_c_ends_it_and_leaves_nothing(staying: tuple[Forked, str], tmp_path: Path):
    """It ends at once, in order, and its folder is gone."""
    process, _ = staying
    assert list(tmp_path.iterdir()) != []
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert list(tmp_path.iterdir()) == []
