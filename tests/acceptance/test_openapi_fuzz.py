"""The OpenAPI document against a real hub: what it promises is what is answered.

Schemathesis makes requests out of the document, right ones and wrong ones, and sequences of them,
and holds every answer against it. `make fuzz` does the same for longer.
"""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.event_samples import TYPES
from tests.hub_process import HubProcess, hub_process

JOB_HOST = Path(__file__).parent.parent / "job_host.py"
"""Runs a hub with small AI workers, so that jobs can be asked for."""

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "3"))
SEED = os.environ.get("FUZZ_SEED", "20260131")
WITHIN_S = 60 + 10 * EXAMPLES

SETTINGS = {
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_LIMIT_PUBLISHES": "1000000",
    "HUNTAZE_LIMIT_ENDPOINTS": "100000",
    "HUNTAZE_LIMIT_KEYS": "100000",
    "HUNTAZE_LOG": "warning",
}

CONFIG = """
[parameters]
# Of another tenant nothing is there, whoever made it; the tests of tenancy are about that.
"query.tenantId" = "acme"

[checks.positive_data_acceptance]
# No schema says where a URL may lead, or whose page a cursor is of: right form, and yet a 422.
enabled = false

[checks.negative_data_rejection]
# 413 is how a batch of more than 1,000 is refused.
expected-statuses = ["400", "401", "403", "404", "405", "413", "415", "422", "429"]
"""


def fuzz(hub: HubProcess, key: str, folder: Path, *options: str) -> str:
    """What schemathesis says of a hub, as the caller with this key; empty where all is well."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color"),
        *("run", f"{hub.url}/openapi.json", "--header", f"Authorization: {key}"),
        *("--seed", SEED, "--max-examples", str(EXAMPLES), "--no-shrink", "--warnings", "off"),
        *options,
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=WITHIN_S, cwd=folder, check=False
    )
    return "" if run.returncode == 0 else run.stdout + run.stderr


def furnish(hub: HubProcess, headers: dict[str, str]) -> None:
    """Give the tenant something of everything, so that lists have items; nothing leaves this
    machine, and nothing answers at that port."""
    with httpx.Client(base_url=hub.url, headers=headers) as http:
        http.put("/v1/users/ada", json={"email": "ada@example.com", "role": "owner"})
        made = http.post("/v1/webhook-endpoints", json={"url": "http://127.0.0.1:9/hook"})
        assert made.status_code == 201, made.text
        asked = {"jobType": "chat.suggest", "userId": "ada", "input": {"text": "one two"}}
        assert http.post("/v1/jobs", json=asked).status_code == 202
        for name, found in TYPES.items():
            event = {**found.example, "id": f"sample-{name}", "tenantid": "acme"}
            assert http.post("/v1/events", json=event).status_code == 202


@pytest.mark.long
@pytest.mark.parametrize(
    ("caller", "options"),
    [("tenant", ()), ("admin", ("--phases", "fuzzing"))],
    ids=["tenant", "admin"],
)
def test_no_answer_breaks_the_promises_of_the_document(
    tmp_path: Path, caller: str, options: tuple[str, ...]
) -> None:
    """No 5xx, no status, media type, header or body that is not documented, nothing wrong taken,
    nothing open without a key, nothing there after it was deleted."""
    data = tmp_path / "data"
    data.mkdir()
    program = [sys.executable, str(JOB_HOST), str(tmp_path / "schemas")]
    with hub_process(data, SETTINGS, program) as hub:
        headers = hub.tenant_headers("acme")
        furnish(hub, headers)
        key = headers["authorization"] if caller == "tenant" else hub.admin["authorization"]

        said = fuzz(hub, key, tmp_path, *options)

        assert not said, said
        assert httpx.get(f"{hub.url}/readyz").status_code == 200
