"""`huntaze up`: a real process from its first line to its end."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests import forked
from tests.forked import Forked
from tests.hub_process import (
    environment,
    hub_process,
    huntaze,
    run_huntaze,
    wait_until,
)

QUIET = {"HUNTAZE_LOG": "error"}
EVENT = {
    "specversion": "1.0",
    "id": "kept",
    "source": "/test",
    "type": "message.received",
    "tenantid": "acme",
    "userid": "u1",
    "data": {"from": {"name": "Sample"}, "preview": "hello"},
}


def test_it_says_where_it_answers_once_it_does(tmp_path: Path):
    """`ready URL` on stdout and hub.json name the same address, which answers at once."""
    with hub_in_the_open(tmp_path / "data", QUIET) as process:
        assert process.stdout
        line = process.stdout.readline()
        announced = json.loads((tmp_path / "data" / "hub.json").read_bytes())
        assert line == f"ready {announced['url']}\n"
        assert announced["pid"] == process.pid
        assert announced["url"].startswith("http://127.0.0.1:")
        assert httpx.get(f"{announced['url']}/readyz").status_code == 200
        process.terminate()
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
    assert not (tmp_path / "data" / "hub.json").exists()


def test_ctrl_c_is_an_orderly_end_too(tmp_path: Path):
    """SIGINT ends with 0, like SIGTERM, and without a traceback."""
    with hub_in_the_open(tmp_path, {"HUNTAZE_LOG": "info,json"}) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
        assert process.wait(30) == 0
    names = [json.loads(line)["name"] for line in said.splitlines()]
    assert names[0] == "hub.ready"
    assert names[-1] == "hub.stopped"
    assert "hub.stopping" in names


@contextmanager
def hub_in_the_open(data: Path, settings: Mapping[str, str]) -> Iterator[Forked]:
    """`huntaze up` with its output at hand; killed at the end if it has not ended by then."""
    with forked.start(
        [*huntaze(), "up", "--port", "0", "--data", str(data)],
        environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_second_hub_on_the_same_folder_is_refused(tmp_path: Path):
    """It ends with 1 and the process of the first, which goes on undisturbed."""
    with hub_process(tmp_path, QUIET) as hub:
        pid = json.loads((tmp_path / "hub.json").read_bytes())["pid"]
        second = run_huntaze(["up", "--port", "0", "--data", str(tmp_path)], QUIET)
        assert second.returncode == 1
        assert second.stdout == ""
        assert f"process {pid} is a hub that owns {tmp_path}" in second.stderr
        assert httpx.get(f"{hub.url}/healthz").status_code == 200
        assert json.loads((tmp_path / "hub.json").read_bytes())["pid"] == pid


def test_what_was_published_is_there_after_a_restart(tmp_path: Path):
    """Keys, events and the inbox outlive the process."""
    with hub_process(tmp_path, QUIET) as hub:
        key, tenant = hub.admin_key, hub.tenant_headers("acme")
        assert httpx.post(f"{hub.url}/v1/events", json=EVENT, headers=tenant).status_code == 202
        hub.stop()
        hub.start()
        assert hub.admin_key == key
        found = httpx.get(f"{hub.url}/v1/events/kept", headers=tenant)
        assert found.status_code == 200
        wait_until(
            lambda: httpx.get(f"{hub.url}/v1/inbox?userId=u1", headers=tenant).json()["items"],
            within_s=20,
        )


@pytest.mark.parametrize("drain_seconds", [0, 2])
@pytest.mark.fault("it is told to stop while a receiver hangs", "ourselves")
def test_stopping_takes_no_longer_than_it_may(tmp_path: Path, drain_seconds: int):
    """A receiver that never answers holds up the end for the drain's seconds at most."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as black_hole:
        settings = {
            **QUIET,
            "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
            "HUNTAZE_WEBHOOK_TIMEOUT": "1m",
            "HUNTAZE_DRAIN_SECONDS": str(drain_seconds),
        }
        with hub_process(tmp_path, settings) as hub:
            tenant = hub.tenant_headers("acme")
            url = f"http://127.0.0.1:{black_hole.getsockname()[1]}/"
            made = httpx.post(f"{hub.url}/v1/webhook-endpoints", json={"url": url}, headers=tenant)
            assert made.status_code == 201, made.text
            httpx.post(f"{hub.url}/v1/events", json=EVENT, headers=tenant).raise_for_status()
            black_hole.settimeout(20)
            connection, _ = black_hole.accept()  # the attempt is under way
            begun = time.monotonic()
            assert hub.stop() == 0
            took = time.monotonic() - begun
            connection.close()
    assert took < drain_seconds + 4
    audit = run_huntaze(["audit", "--data", str(tmp_path)])
    assert audit.returncode == 0, audit.stdout


def test_a_taken_port_is_said(tmp_path: Path):
    """The port's number and the way out, and no traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_huntaze(["up", "--port", port, "--data", str(tmp_path)], QUIET)
    assert done.returncode == 2
    assert done.stderr.startswith(f"huntaze: cannot listen on 127.0.0.1:{port} (Address already")
    assert done.stderr.count("\n") == 1


def test_a_missing_encryption_key_stops_the_start_by_name(tmp_path: Path):
    """Stored secrets that cannot be read any more are never given up in silence."""
    with hub_process(tmp_path, {**QUIET, "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.1"}) as hub:
        tenant = hub.tenant_headers("acme")
        made = httpx.post(
            f"{hub.url}/v1/webhook-endpoints", json={"url": "http://127.0.0.1/"}, headers=tenant
        )
        assert made.status_code == 201, made.text
    (tmp_path / "encryption.keys").unlink()
    done = run_huntaze(["up", "--port", "0", "--data", str(tmp_path)], QUIET)
    assert done.returncode == 2
    assert "HUNTAZE_ENCRYPTION_KEYS" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_in_the_folder_is_for_others(tmp_path: Path):
    """No file that the hub makes can be read by another user of the machine."""
    data = tmp_path / "data"
    with hub_process(data, QUIET):
        assert data.stat().st_mode & 0o077 == 0
    keys = [path for path in data.iterdir() if path.suffix in (".key", ".keys", ".secret")]
    assert len(keys) == 3
    assert all(path.stat().st_mode & 0o077 == 0 for path in keys)
    assert os.getuid() == data.stat().st_uid
