"""`huntaze webhooks listen` and `verify`, as people start them."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from notifications.channels.webhooks.signatures import (
    private_key_text,
    public_key_text,
    secret_text,
    sign,
)
from notifications.client import Client, NewEvent
from tests import forked
from tests.forked import Forked
from tests.hub_process import HubProcess, environment, hub_process, huntaze, run_huntaze
from tests.webhook_worlds import SECRET, endpoint

SETTINGS = {
    "HUNTAZE_LOG": "error",
    "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS": "127.0.0.0/8",
    "HUNTAZE_RETRY_NOTIFICATIONS": "50ms,50ms,50ms",
}
KEY = secret_text(SECRET)
BODY = json.dumps({"id": "e-1", "type": "payment.received", "data": {"from": "Zoé\u202e\x9b"}})


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hub_process(tmp_path_factory.mktemp("hub"), SETTINGS) as running:
        yield running


class Listening:
    """`huntaze webhooks listen`, once it listens. What it prints is read as it comes."""

    def __init__(self, process: Forked, *, as_json: bool) -> None:
        assert process.stdout
        assert process.stderr
        self.process = process
        self.said = (process.stderr if as_json else process.stdout).readline()
        self._out: list[str] = []
        self._reading = Thread(target=lambda: self._out.extend(process.stdout or ()))
        self._reading.start()
        assert self.said.startswith("listening on "), (self.said, process.stderr.read())
        self.url = self.said.split()[2]

    def rest(self) -> str:
        """What else it prints, until it ends; it ends well."""
        code = self.process.wait(60)
        self._reading.join()
        assert (code, self.process.stderr and self.process.stderr.read()) == (0, "")
        return "".join(self._out)

    def end(self) -> None:
        """Whatever it is at."""
        self.process.kill()
        self.process.wait(30)
        self._reading.join()


@contextmanager
def listening(*options: str) -> Iterator[Listening]:
    with forked.start(
        [*huntaze(), "webhooks", "listen", *options],
        environment({"TZ": "UTC"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        listener = Listening(process, as_json="--json" in options)
        try:
            yield listener
        finally:
            listener.end()


def of(hub: HubProcess) -> tuple[str, ...]:
    return ("--url", hub.url, "--data", str(hub.data), "--tenant", "acme")


def signed(body: str, timestamp: int | None = None) -> dict[str, str]:
    at = int(time.time()) if timestamp is None else timestamp
    signature = sign(endpoint(secrets=(SECRET,)), "evt_1", at, body.encode(), at * 1000)
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }


def post(url: str, headers: dict[str, str], body: str = BODY) -> int:
    return httpx.post(url, headers=headers, content=body.encode(), trust_env=False).status_code


@pytest.fixture
def acme(hub: HubProcess) -> Iterator[Client]:
    with Client(hub.url, hub.admin_key, tenant_id="acme") as client:
        yield client


def message(event_id: str) -> NewEvent:
    data: dict[str, Any] = {"from": {"name": "Sample"}, "preview": "hello"}
    return NewEvent(id=event_id, type="message.received", source="/t", user_id="u", data=data)


# --------------------------------------------------------------------------- listen


def test_it_makes_an_endpoint_shows_what_comes_and_takes_it_away(hub: HubProcess, acme: Client):
    """Both signatures are verified, a refusal that was asked for is retried, nothing is left."""
    options = ("--answer", "500", "--answer", "204", "--count", "2", "--json", *of(hub))
    with listening(*options) as listener:
        (made,) = acme.endpoints()
        assert made.url == listener.url
        assert made.id in listener.said
        acme.publish(message("shown"))
        first, second = (json.loads(line) for line in listener.rest().splitlines())
    assert (first["times"], first["answer"], second["times"], second["answer"]) == (1, 500, 2, 204)
    assert first["verified"]
    assert first["signatures"] == ["v1", "v1a"]
    assert first["webhookId"] == second["webhookId"]
    assert second["event"]["id"] == "shown"
    assert list(acme.endpoints()) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_its_endpoint(hub: HubProcess, acme: Client, how: signal.Signals):
    """Ctrl-C leaves no endpoint behind that nobody listens at."""
    with listening(*of(hub)) as listener:
        assert len(list(acme.endpoints())) == 1
        os.kill(listener.process.pid, how)
        listener.rest()
    assert list(acme.endpoints()) == []


def test_it_shows_a_webhook_for_people():
    """Type, id, what was verified and answered, and the event; what would reorder it is gone."""
    with listening("--secret", KEY, "--count", "1") as listener:
        assert post(listener.url, signed(BODY)) == 204
        said = listener.rest()
    first, *rest = said.splitlines()
    assert first.startswith("✓ ")
    assert first.endswith("payment.received  e-1  v1 verified  → 204")
    assert '"from": "Zoé"' in "\n".join(rest)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (dict, "the header webhook-id is missing"),
        (lambda: signed(BODY + " "), "no signature in webhook-signature fits"),
        (lambda: signed(BODY, 1_000_000_000), "webhook-timestamp is too old"),
    ],
    ids=["unsigned", "forged", "old"],
)
def test_what_is_not_verified_says_why(make: Callable[[], dict[str, str]], why: str):
    """It is answered 401 and shown with its headers, as it came."""
    headers = make()  # signed now: a signature ages
    with listening("--secret", KEY, "--count", "1") as listener:
        assert post(listener.url, headers) == 401
        said = listener.rest()
    assert said.startswith("✗ ")
    assert why in said
    assert "→ 401" in said
    assert all(f"    {name}: {value}" in said for name, value in headers.items())


def test_it_may_be_slow():
    """For seeing what the hub does about it."""
    with listening("--secret", KEY, "--count", "1", "--slow", "300ms") as listener:
        begun = time.monotonic()
        assert post(listener.url, signed(BODY)) == 204
        assert time.monotonic() - begun >= 0.3


def test_a_hub_that_may_not_reach_it_says_what_to_do(tmp_path: Path):
    """The first thing that goes wrong for a newcomer is said with the ways out."""
    with hub_process(tmp_path, {"HUNTAZE_LOG": "error"}) as strict:
        done = run_huntaze(["webhooks", "listen", *of(strict)])
    assert done.returncode == 2
    assert "HUNTAZE_WEBHOOK_ALLOWED_NETWORKS=127.0.0.0/8, or give --public" in done.stderr


def test_an_admin_has_to_say_whose(hub: HubProcess):
    """With the admin's key, it is not clear whose webhooks are meant."""
    done = run_huntaze(["webhooks", "listen", "--url", hub.url, "--data", str(hub.data)])
    assert done.returncode == 2
    assert "give --tenant" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--secret", "nonsense!"], "a key is whsec_ or whpk_"),
        (["--slow", "soon"], "no duration"),
        (["--answer", "99"], "99"),
        (["--secret", KEY, "--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(options: list[str], said: str):
    """Wrong arguments end with 2."""
    done = run_huntaze(["webhooks", "listen", *options])
    assert done.returncode == 2
    assert said in done.stderr


# --------------------------------------------------------------------------- verify


def test_the_listener_is_a_receiver_that_passes():
    """By its secret."""
    with listening("--secret", KEY) as listener:
        done = run_huntaze(["webhooks", "verify", listener.url, "--secret", KEY])
    assert done.returncode == 0, done.stdout
    assert f"{listener.url} accepts what it should, and nothing else" in done.stdout
    # Only that it reads bodies of any size, as a tool for looking may.
    assert done.stdout.count("!") == 2


def test_a_receiver_that_verifies_v1a_passes():
    """By its private key."""
    private = private_key_text(SECRET)
    with listening("--secret", public_key_text(SECRET)) as listener:
        done = run_huntaze(["webhooks", "verify", listener.url, "--private-key", private])
    assert done.returncode == 0, done.stdout


def test_a_receiver_that_believes_everybody_fails():
    """Everything it should refuse is told, with what is at stake."""
    with listening("--secret", KEY, "--answer", "200") as listener:
        done = run_huntaze(["webhooks", "verify", listener.url, "--secret", KEY])
    assert done.returncode == 1
    assert "signed with another key: accepted, and should not be: anybody can send" in done.stdout
    assert "10 min old (expired), 10 min ahead (future): accepted" in done.stdout
    assert done.stdout.startswith("✗ everything is answered 200, valid or not")
    assert "✓  valid" in done.stdout


def test_a_receiver_with_another_secret_is_told_apart():
    """When not even the valid one is taken, the secret is the first thing to look at."""
    with listening("--secret", KEY) as listener:
        other = secret_text(endpoint().secrets[0])[:-4] + "AAA="
        done = run_huntaze(["webhooks", "verify", listener.url, "--secret", other])
    assert done.returncode == 1
    assert done.stdout.startswith("✗ everything is answered 401: is this the secret it verifies")


def test_a_receiver_that_redirects_is_told_of_its_url():
    """The cause comes first and is all that is said: neither table nor end repeat it."""
    with listening("--secret", KEY, "--answer", "302") as listener:
        done = run_huntaze(["webhooks", "verify", listener.url, "--secret", KEY])
    assert done.returncode == 1
    cause, table, end = done.stdout.split("\n\n")
    assert cause == "✗ everything is answered 302: is the URL right? No redirect is followed"
    assert len(table.splitlines()) > 30
    (end,) = end.splitlines()
    assert end.startswith("✗ ")
    assert end.endswith(" are not as they should be")


def test_where_nothing_answers_there_is_nothing_to_verify():
    """That is no report, but exit code 2."""
    done = run_huntaze(["webhooks", "verify", "http://127.0.0.1:1/", "--secret", KEY])
    assert (done.returncode, done.stdout) == (2, "")
    assert "gives no answer to a valid webhook" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["ftp://x/", "--secret", KEY], "an http or https URL"),
        (["http://x/", "--secret", "whsec_"], "a secret is whsec_ followed by base64"),
        (["http://x/", "--private-key", "whsk_AAAA"], "a private key is whsk_"),
        (["http://x/", "--secret", KEY, "--type", "no.such"], "webhook.test"),
        (["http://x/"], "a fresh secret to try with: whsec_"),
    ],
)
def test_verify_says_what_it_cannot_work_with(options: list[str], said: str):
    """Wrong arguments end with 2, before anything is sent."""
    done = run_huntaze(["webhooks", "verify", *options])
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
