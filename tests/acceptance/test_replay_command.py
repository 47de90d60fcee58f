"""`huntaze replay` against a real hub that is killed, and a real receiver."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests import forked
from tests.hub_process import (
    HubProcess,
    environment,
    hub_process,
    huntaze,
    run_huntaze,
    wait_until,
)

SETTINGS = {"HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8", "HUNTAZE_LOG": "error"}
WITHIN_S = 60


class Server(ThreadingHTTPServer):
    """Lets as many connect at once as the hub does: beyond its backlog, a try costs seconds."""

    request_queue_size = 256


class Customer:
    """A receiver that counts what it took, by webhook id."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()
        self.refusing = True
        customer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                if not customer.refusing:
                    customer.taken[self.headers["webhook-id"]] += 1
                self.send_response(410 if customer.refusing else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


@contextmanager
def customer() -> Iterator[Customer]:
    """A receiver while the block runs."""
    one = Customer()
    thread = Thread(target=one.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield one
    finally:
        one.server.shutdown()
        one.server.server_close()
        thread.join()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    with hub_process(tmp_path / "hub", SETTINGS) as running:
        yield running


def events(hub: HubProcess, count: int) -> None:
    """Events of acme's that nobody asked for yet."""
    for first in range(0, count, 500):
        batch = [
            {
                "specversion": "1.0",
                "id": f"event-{number}",
                "source": "/test",
                "type": "message.received",
                "tenantid": "acme",
                "userid": "nobody",
                "data": {"from": {"name": "Sample"}, "preview": "hello"},
            }
            for number in range(first, min(first + 500, count))
        ]
        answer = httpx.post(f"{hub.url}/v1/events", json=batch, headers=hub.admin, timeout=30)
        assert answer.status_code == 202, answer.text

    def routed() -> bool:
        answer = httpx.get(
            f"{hub.url}/v1/events/event-{count - 1}?tenantId=acme", headers=hub.admin
        )
        return bool(answer.json()["state"] == "routed")

    wait_until(routed, within_s=WITHIN_S)


def endpoint(hub: HubProcess, receiver: Customer, **wishes: Any) -> str:
    """A new endpoint of acme's; its id."""
    answer = httpx.post(
        f"{hub.url}/v1/webhook-endpoints",
        json={"tenantId": "acme", "url": receiver.url, **wishes},
        headers=hub.admin,
    )
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def command(hub: HubProcess, *options: str) -> list[str]:
    access = ("--url", hub.url, "--data", str(hub.data), "--tenant", "acme")
    return [*huntaze(), "replay", *access, *options]


def replay(hub: HubProcess, *options: str, said: str = "") -> "subprocess.CompletedProcess[str]":
    """Run the command to its end; `said` is what the person answers."""
    return forked.run(command(hub, *options), environment({}), answer=said, timeout=WITHIN_S)


def test_it_counts_asks_and_replays(hub: HubProcess) -> None:
    """A dry run only counts; whoever says no gets nothing; whoever says yes sees it done."""
    with customer() as receiver:
        events(hub, 3)
        receiver.refusing = False
        wanted = ("--endpoint", endpoint(hub, receiver), "--since", "1h", "--type", "message.*")
        dry = replay(hub, *wanted, "--dry-run")
        assert (dry.returncode, dry.stderr) == (0, "")
        assert dry.stdout == "3 to replay: 0 exhausted, 0 parked, 3 absent\n"
        refused = replay(hub, *wanted, said="n\n")
        assert refused.returncode == 1
        assert not receiver.taken
        done = replay(hub, *wanted, said="y\n")
        assert done.returncode == 0, done.stderr
        assert "done: 0 tried again, 3 for the first time" in done.stdout
        wait_until(lambda: len(receiver.taken) == 3, within_s=WITHIN_S)
        nothing = replay(hub, *wanted)
        assert (nothing.returncode, nothing.stdout) == (
            0, "0 to replay: 0 exhausted, 0 parked, 0 absent\n",
        )  # fmt: skip


@pytest.mark.long
def test_who_stops_watching_stops_nothing(hub: HubProcess) -> None:
    """Interrupted, the command says how to see it again; the replay goes on, even if the hub is
    killed meanwhile; each event arrives, in one delivery."""
    count = 1_200
    with customer() as receiver:
        events(hub, count)
        receiver.refusing = False
        name = endpoint(hub, receiver, ratePerSecond=400)
        arguments = command(hub, "--endpoint", name, "--since", "1h", "--yes")
        with forked.start(
            arguments, environment({}), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as watching:
            assert watching.stdout
            assert watching.stderr
            replay_id = next(
                line.removeprefix("replay ").strip()
                for line in watching.stdout
                if line.startswith("replay ")
            )
            watching.send_signal(signal.SIGINT)
            complained = watching.stderr.read()
        assert watching.returncode == 1
        assert f"huntaze replay --resume {replay_id}" in complained
        wait_until(lambda: len(receiver.taken) > 100, within_s=WITHIN_S)
        hub.kill()
        assert len(receiver.taken) < count
        hub.start()
        again = replay(hub, "--resume", replay_id)
        assert again.returncode == 0, again.stderr
        assert f"{count:,} for the first time" in again.stdout
        wait_until(lambda: len(receiver.taken) == count, within_s=WITHIN_S)
        deliveries = httpx.get(
            f"{hub.url}/v1/replays/{replay_id}?tenantId=acme", headers=hub.admin
        ).json()
        assert (deliveries["added"], deliveries["retried"]) == (count, 0)
        # What was in flight when the hub was killed comes twice, with its id; nothing else does.
        assert sum(receiver.taken.values()) <= count + 128


def test_it_can_be_cancelled(hub: HubProcess) -> None:
    """`--cancel` ends it, and says how far it came."""
    with customer() as receiver:
        events(hub, 1)
        name = endpoint(hub, receiver)
        httpx.post(
            f"{hub.url}/v1/webhook-endpoints/{name}/pause?tenantId=acme", headers=hub.admin
        ).raise_for_status()
        started = httpx.post(
            f"{hub.url}/v1/webhook-endpoints/{name}/replay",
            json={"tenantId": "acme", "since": "2026-01-01T00:00:00Z"},
            headers=hub.admin,
        ).json()
        second = replay(hub, "--endpoint", name, "--since", "1h", "--yes")
        assert second.returncode == 1
        assert started["id"] in second.stderr
        ended = replay(hub, "--cancel", started["id"])
        assert ended.returncode == 1
        assert "was cancelled (by-hand): 0 tried again, 0 for the first time" in ended.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--since", "1h"), "--endpoint and --since are needed"),
        (("--endpoint", "ep_1"), "--endpoint and --since are needed"),
        (("--endpoint", "ep_1", "--since", "yesterday"), "a time with a zone"),
        (("--endpoint", "ep_1", "--since", "2026-01-01T00:00:00"), "a time with a zone"),
        (("--endpoint", "ep_1", "--since", "1h", "--state", "pending"), "pending"),
        (("--resume", "rpl_1", "--cancel", "rpl_1"), "exclude each other"),
    ],
)
def test_what_is_entered_wrong_is_said(
    tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    """Exit code 2 with what would be right, before any hub is asked."""
    (tmp_path / "admin.key").write_text("an-admin-key-that-opens-nothing-at-all-0001")
    done = run_huntaze(["replay", "--data", str(tmp_path), *options])
    assert done.returncode == 2
    assert complaint in done.stderr


def test_an_endpoint_that_is_not_there_is_said(hub: HubProcess) -> None:
    """Exit code 1, in one line."""
    done = replay(hub, "--endpoint", "ep_nothing", "--since", "1h")
    assert (done.returncode, done.stderr) == (1, "huntaze: no such endpoint\n")
