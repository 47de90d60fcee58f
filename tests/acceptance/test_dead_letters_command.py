"""`huntaze dead-letters` against a real hub."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.buried import WEBHOOK, bury, to_webhook
from tests.hub_process import (
    HubProcess,
    hub_process,
    run_huntaze,
    wait_until,
)

QUIET = {"HUNTAZE_LOG": "error"}
MANY = 3_000


def event(event_id: str) -> dict[str, Any]:
    """An event that is right."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/test",
        "type": "message.received",
        "time": "2026-01-31T12:00:00Z",
        "tenantid": "acme",
        "userid": "u1",
        "data": {"from": {"name": "Sample"}, "preview": "hello"},
    }


@contextmanager
def furnished(folder: Path) -> Iterator[HubProcess]:
    """A hub with an event and some junk in the dead letters."""
    bury(folder, [to_webhook("copy", json.dumps(event("e1")).encode())])
    bury(folder, [to_webhook(f"junk-{number}", b"{") for number in range(2)], "not-json")
    with hub_process(folder, QUIET) as running:
        yield running


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """One whose dead letters may be moved."""
    with furnished(tmp_path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One for all who change nothing."""
    with furnished(tmp_path_factory.mktemp("hub") / "data") as running:
        yield running


def run(
    hub: HubProcess, *arguments: str, answer: str = "", key: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a subcommand to its end."""
    access = ["--url", hub.url, "--data", str(hub.data), *(["--key", key] if key else [])]
    return run_huntaze(["dead-letters", *arguments, *access], answer=answer)


def listed(hub: HubProcess) -> list[dict[str, Any]]:
    """What there is, as JSON."""
    return [json.loads(line) for line in run(hub, "list", "--json").stdout.splitlines()]


def test_a_list_shows_one_line_each(untouched: HubProcess):
    """Who looks sees whose, when, why and which; what strangers wrote moves no cursor."""
    done = run(untouched, "list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split("  ") for line in done.stdout.splitlines()]
    assert [(line[0], line[3], line[4], line[5]) for line in lines] == [
        (WEBHOOK, "1x", "handler-failed", "copy"),
        (WEBHOOK, "1x", "not-json", "junk-0"),
        (WEBHOOK, "1x", "not-json", "junk-1"),
    ]
    assert lines[0][6] == "it [2Jdid not work"
    assert run(untouched, "list", WEBHOOK, "--reason", "not-json").stdout.count("\n") == 2
    assert run(untouched, "list", "metrics").stdout == "no dead letters\n"
    assert listed(untouched)[0]["body"] == event("e1")


def test_a_replay_shows_what_it_would_do_and_asks(hub: HubProcess):
    """Without a yes nothing is done, with one the event comes to its end, once."""
    refused = run(hub, "replay", WEBHOOK, "--reason", "handler-failed", answer="n\n")
    assert refused.returncode == 1
    assert "        1  handler-failed\n        1  in all\n" in refused.stdout
    assert "replay 1 dead letter?" in refused.stdout
    assert refused.stderr == "huntaze: nothing was done\n"
    assert len(listed(hub)) == 3

    done = run(hub, "replay", WEBHOOK, "--reason", "handler-failed", answer="y\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 dead letter sent again\n")
    url = f"{hub.url}/v1/events/e1?tenantId=acme"

    def routed() -> bool:
        answer = httpx.get(url, headers=hub.admin)
        return answer.status_code == 200 and bool(answer.json()["deliveries"])

    wait_until(routed, within_s=20)
    (delivery,) = [
        each
        for each in httpx.get(url, headers=hub.admin).json()["deliveries"]
        if each["channel"] == "webhook"
    ]
    assert (delivery["state"], delivery["reason"]) == ("skipped", "no-endpoint")


def test_a_dry_run_does_nothing(untouched: HubProcess):
    """It counts by reason and ends."""
    for verb in ("replay", "purge"):
        done = run(untouched, verb, WEBHOOK, "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "        2  not-json\n        1  handler-failed\n        3  in all\n"
        )
    assert len(listed(untouched)) == 3


def test_a_purge_of_some_leaves_the_others_and_the_audit_clean(hub: HubProcess):
    """Which ones is said by number, reason and time; what is gone is not missing."""
    first, second, _ = listed(hub)
    number = str(second["sequenceNumber"])
    assert run(hub, "purge", WEBHOOK, "--before", first["deadAt"], "--yes").stdout == (
        "there are none\n"
    )
    done = run(hub, "purge", WEBHOOK, "--number", number, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 dead letter deleted\n")
    assert [each["messageId"] for each in listed(hub)] == ["copy", "junk-1"]

    assert run(hub, "purge", WEBHOOK, "--before", "2199-01-01T00:00Z", "--yes").returncode == 0
    assert listed(hub) == []
    audit = run_huntaze(["audit", "--data", str(hub.data)])
    assert audit.returncode == 0, audit.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "notify-fax"), "notify-webhook"),
        (("purge", "notify-fax", "--yes"), "notify-webhook"),
        (("replay", WEBHOOK, "--before", "yesterday"), "/before"),
    ],
)
def test_what_is_said_wrongly_is_refused(
    untouched: HubProcess, arguments: tuple[str, ...], said: str
):
    """The hub's own words tell what would be right."""
    done = run(untouched, *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_tenants_key_opens_nothing_here(untouched: HubProcess):
    """Who is not the admin is told so."""
    key = untouched.tenant_headers("acme")["authorization"].removeprefix("Bearer ")
    done = run(untouched, "list", key=key)
    assert done.returncode == 2
    assert "admin" in done.stderr
    assert key not in done.stderr


def test_thousands_are_moved_page_by_page(tmp_path: Path):
    """There is no cap: all of them go, and the sum is said."""
    folder = tmp_path / "data"
    bury(folder, [to_webhook(f"junk-{number}", b"{") for number in range(MANY)], "not-json")
    with hub_process(folder, QUIET) as hub:
        done = run(hub, "purge", WEBHOOK, "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            "    3,000  not-json\n    3,000  in all\n3,000 dead letters deleted\n"
        )
        assert listed(hub) == []


def test_a_hub_that_dies_in_the_middle_is_asked_again_later(tmp_path: Path):
    """What was done stays done; the same command goes on where it was."""
    folder = tmp_path / "data"
    bury(folder, [to_webhook(f"junk-{number}", b"{") for number in range(MANY)], "not-json")
    with hub_process(folder, QUIET) as hub:
        body = {"subscription": WEBHOOK, "limit": 100}
        for _ in range(3):
            answer = httpx.post(
                f"{hub.url}/v1/dead-letters/purge", json=body, headers=hub.admin, timeout=30
            )
            assert answer.json()["count"] == 100
        hub.kill()
        hub.start()
        done = run(hub, "purge", WEBHOOK, "--yes")
        assert done.stdout.endswith(f"{MANY - 300:,} dead letters deleted\n")
        assert listed(hub) == []
