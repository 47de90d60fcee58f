"""What we sign, checked by the published Standard Webhooks library for Node."""

import datetime as dt
import json
import subprocess
from collections.abc import Callable

import pytest

from notifications.channels.webhooks.signatures import new_secret, rotate, secret_text, sign
from notifications.directory import Endpoint
from notifications.events import Event
from tests.node_packages import FOLDER, install, needs_node
from tests.webhook_worlds import SECRET, CountingDice, endpoint, event

BOTH = ("v1", "v1a")

pytestmark = needs_node


@pytest.fixture(scope="module")
def node() -> Callable[[str, dict[str, str], bytes], dict]:
    """Verifies one webhook in Node: its payload, or the name of the error."""
    install()

    def check(secret: str, headers: dict[str, str], body: bytes) -> dict:
        line = json.dumps({"secret": secret, "headers": headers, "body": body.decode()})
        done = subprocess.run(
            ["node", "verify.mjs"], cwd=FOLDER, input=line.encode(), capture_output=True,
            check=True, timeout=30,
        )  # fmt: skip
        return json.loads(done.stdout)

    return check


def signed(one: Endpoint, sample: Event) -> dict[str, str]:
    now = int(dt.datetime.now(dt.UTC).timestamp())
    return {
        "webhook-id": sample.webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(one, sample.webhook_id, now, sample.body, now * 1000),
    }


@pytest.mark.parametrize("schemes", [("v1",), BOTH])
def test_node_accepts_what_we_sign(node: Callable, schemes: tuple[str, ...]) -> None:
    """The published Node verifier takes `v1`, and the pair `v1 v1a`, over a body beyond ASCII."""
    sample = event()
    answer = node(secret_text(SECRET), signed(endpoint(signatures=schemes), sample), sample.body)
    assert answer == {"payload": json.loads(sample.body)}


@pytest.mark.parametrize("generation", [0, 1])
def test_node_accepts_both_generations_of_a_rotation(node: Callable, generation: int) -> None:
    """While a secret rotates, Node receivers with the old and with the new secret verify."""
    now = int(dt.datetime.now(dt.UTC).timestamp() * 1000)
    secrets = rotate((SECRET,), new_secret(CountingDice()), now)
    headers = signed(endpoint(secrets=secrets, signatures=BOTH), event())
    assert "payload" in node(secret_text(secrets[generation]), headers, event().body)


@pytest.mark.parametrize("change", ["body", "secret", "timestamp"])
def test_node_refuses_what_we_did_not_sign(node: Callable, change: str) -> None:
    """The check is a real one: another body, secret or timestamp is refused."""
    headers, body, secret = signed(endpoint(), event()), event().body, secret_text(SECRET)
    if change == "body":
        body = body.replace(b"12.50", b"99.50")
    elif change == "secret":
        secret = secret_text(new_secret(CountingDice()))
    else:
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) - 1)
    assert node(secret, headers, body) == {"error": "WebhookVerificationError"}
