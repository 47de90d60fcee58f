"""`huntaze audit` and `huntaze doctor` on a running hub, a stopped one, a damaged one, and none."""

import json
import re
import sqlite3
from pathlib import Path

import httpx
import pytest

from tests.hub_process import HubProcess, hub_process, run_huntaze, wait_until

QUIET = {"HUNTAZE_LOG": "error"}
STATES = "bus deadLettered delivered exhausted missing outbox parked pending skipped"


def publish(hub: HubProcess, count: int) -> None:
    """Publish, and wait until all is routed."""
    tenant = hub.tenant_headers("acme")
    events = [
        {
            "specversion": "1.0",
            "id": f"e-{number}",
            "source": "/test",
            "type": "message.received",
            "userid": "u1",
            "data": {"from": {"name": "Sample"}, "preview": "hello"},
        }
        for number in range(count)
    ]
    answer = httpx.post(f"{hub.url}/v1/events", json=events, headers=tenant)
    assert answer.status_code == 202, answer.text
    wait_until(
        lambda: all(
            httpx.get(f"{hub.url}/v1/events/e-{number}", headers=tenant).json()["state"] == "routed"
            for number in range(count)
        ),
        within_s=30,
    )


# --------------------------------------------------------------------------- audit


def test_the_audit_of_a_hub_that_works_is_clean(tmp_path: Path):
    """Beside a running hub and after it, the same deliveries are counted and nothing is wrong."""
    with hub_process(tmp_path, QUIET) as hub:
        publish(hub, 3)
        running = run_huntaze(["audit", "--data", str(tmp_path), "--json"])
    stopped = run_huntaze(["audit", "--data", str(tmp_path), "--json"])
    assert (running.returncode, stopped.returncode) == (0, 0)
    report = json.loads(stopped.stdout)
    before = json.loads(running.stdout)
    assert before.pop("asOf") <= report.pop("asOf")
    assert report == before
    assert (report["missing"], report["violations"]) == (0, [])
    (tenant,) = report["tenants"]
    assert tenant["tenantId"] == "acme"
    assert set(tenant["channels"]) == {"realtime", "webhook"}
    for counts in tenant["channels"].values():
        assert " ".join(sorted(counts)) == STATES
        assert sum(counts.values()) == 3
    assert tenant["channels"]["realtime"]["delivered"] == 3


@pytest.mark.long
def test_the_audit_finds_what_is_gone(tmp_path: Path):
    """A delivery that is nowhere is missing: named, counted, exit code 1."""
    with hub_process(tmp_path, QUIET) as hub:
        publish(hub, 2)
    with sqlite3.connect(tmp_path / "hub.db") as database:
        database.execute(
            "DELETE FROM deliveries WHERE channel = 'realtime' AND event_key ="
            " (SELECT key FROM events WHERE id = 'e-1')"
        )
    database.close()
    done = run_huntaze(["audit", "--data", str(tmp_path), "--json"])
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["missing"] == 1
    assert report["tenants"][0]["channels"]["realtime"]["missing"] == 1
    assert len(report["violations"]) == 1
    assert "e-1" in report["violations"][0]

    shown = run_huntaze(["audit", "--data", str(tmp_path)])
    assert shown.returncode == 1
    assert "✗ 1 missing, 1 wrong in all" in shown.stdout
    assert report["violations"][0] in shown.stdout


def test_the_audit_of_nothing_could_not_be_read(tmp_path: Path):
    """No data is not the same as nothing wrong."""
    done = run_huntaze(["audit", "--data", str(tmp_path / "none")])
    assert (done.returncode, done.stdout) == (2, "")
    assert "no hub's data" in done.stderr
    assert not (tmp_path / "none").exists()


def test_the_audit_of_another_file_could_not_be_read(tmp_path: Path):
    """What is no database is said, without a traceback."""
    (tmp_path / "hub.db").write_text("not a database, and long enough to be looked at " * 50)
    done = run_huntaze(["audit", "--data", str(tmp_path)])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("huntaze: ")
    assert "Traceback" not in done.stderr


# --------------------------------------------------------------------------- doctor


def lines(text: str) -> dict[str, str]:
    """What the doctor said, by subject: its mark and its finding."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line[:1] in "✓✗!":
            mark, subject, detail = re.split(r" {2,}", line, maxsplit=2)
            found[subject] = f"{mark} {detail}"
    return found


def test_the_doctor_finds_a_running_hub_well(tmp_path: Path):
    """Everything that is looked at has its line, and the hub answers."""
    with hub_process(tmp_path, QUIET) as hub:
        done = run_huntaze(["doctor", "--data", str(tmp_path)])
    found = lines(done.stdout)
    assert done.returncode == 0, done.stdout
    assert set(found) >= {
        "Python", "SQLite", "settings", "schemas", "templates", "time zones", "data folder",
        "secrets", "database", "DNS", "mail", "hub",
    }  # fmt: skip
    assert all(finding.startswith("✓") for name, finding in found.items() if name != "DNS")
    assert f"{hub.url} is ready" in found["hub"]
    assert "is the hub that owns it" in found["data folder"]


def test_the_doctor_changes_nothing(tmp_path: Path):
    """Looking at a folder that is not there does not make it."""
    done = run_huntaze(["doctor", "--data", str(tmp_path / "data")])
    assert done.returncode == 0, done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path):
    """Wrong settings, an open secret and a damaged database each have a line with advice."""
    with hub_process(tmp_path, QUIET) as hub:
        publish(hub, 1)
    (tmp_path / "admin.key").chmod(0o644)
    with (tmp_path / "hub.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 8192)
    wrong = {"HUNTAZE_PARK_DAYS": "soon", "HUNTAZE_BUS": "none"}
    done = run_huntaze(["doctor", "--data", str(tmp_path)], wrong)
    assert done.returncode == 1
    assert done.stdout.count("✗") == 4
    assert done.stdout.count("→") >= 4
    for said in (
        "HUNTAZE_PARK_DAYS: 'soon' is no whole number",
        "HUNTAZE_BUS: 'none' is not among",
        f"chmod 600 {tmp_path / 'admin.key'}",
    ):
        assert said in done.stdout
    assert lines(done.stdout)["database"].startswith("✗")


def test_the_doctor_looks_into_the_database(tmp_path: Path):
    """A database that opens and holds what it must not is not called whole."""
    with sqlite3.connect(tmp_path / "hub.db") as database:
        database.execute("CREATE TABLE sample (value)")
        database.execute("INSERT INTO sample VALUES (NULL)")
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE sample (value NOT NULL)'")
    database.close()
    done = run_huntaze(["doctor", "--data", str(tmp_path)])
    assert done.returncode == 1
    assert lines(done.stdout)["database"] == "✗ NULL value in sample.value"


def test_the_doctor_reads_the_secrets(tmp_path: Path):
    """A file that holds no secret is found before a start finds it, and no secret is shown."""
    with hub_process(tmp_path, QUIET) as hub:
        admin_key = hub.admin_key
    whole = run_huntaze(["doctor", "--data", str(tmp_path)])
    (tmp_path / "encryption.keys").write_text("c2FtcGxl\n")
    damaged = run_huntaze(["doctor", "--data", str(tmp_path)])
    assert lines(whole.stdout)["secrets"].startswith("✓")
    assert damaged.returncode == 1
    found = lines(damaged.stdout)["secrets"]
    assert found.startswith(f"✗ {tmp_path / 'encryption.keys'} is damaged")
    assert "c2FtcGxl" not in damaged.stdout
    assert admin_key not in damaged.stdout + whole.stdout


def test_the_doctor_misses_a_key_that_the_data_needs(tmp_path: Path):
    """Where the key that stored secrets are encrypted with is gone, it is named."""
    allowed = {**QUIET, "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8"}
    with hub_process(tmp_path, allowed) as hub:
        endpoint = {"url": "http://127.0.0.1:9/hook", "eventTypes": ["*"]}
        answer = httpx.post(
            f"{hub.url}/v1/webhook-endpoints", json=endpoint, headers=hub.tenant_headers("acme")
        )
        assert answer.status_code == 201, answer.text
    (tmp_path / "encryption.keys").unlink()
    done = run_huntaze(["doctor", "--data", str(tmp_path)])
    assert done.returncode == 1
    assert re.search("encrypted with key [0-9a-f]{8}, which is gone", done.stdout)
    assert not (tmp_path / "encryption.keys").exists()


@pytest.mark.parametrize("content", ["", '{"url": "http://127.0.0.1:9", "pid": 1}'])
def test_the_doctor_is_not_fooled_by_what_a_dead_hub_left(tmp_path: Path, content: str):
    """Without an owner there is no hub, whatever hub.json says."""
    (tmp_path / "hub.lock").write_text("1")
    (tmp_path / "hub.json").write_text(content)
    done = run_huntaze(["doctor", "--data", str(tmp_path)])
    assert done.returncode == 0
    assert "none runs on this folder" in lines(done.stdout)["hub"]
