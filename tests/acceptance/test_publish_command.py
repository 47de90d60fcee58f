"""`huntaze publish` against a real hub, and against servers that behave badly."""

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests import forked
from tests.hub_process import ROOT, HubProcess, environment, hub_process, huntaze, run_huntaze

EXAMPLES = sorted((ROOT / "schemas" / "events").glob("*/v1.example.json"))
QUIET = {"HUNTAZE_LOG": "error"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    with hub_process(tmp_path_factory.mktemp("hub"), QUIET) as running:
        yield running


def message(event_id: str, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/test",
        "type": "message.received",
        "tenantid": "acme",
        "userid": "u1",
        "data": {"from": {"name": "Sample"}, "preview": "hello"},
        **more,
    }


def publish(
    hub: HubProcess, content: str | bytes | Path, *options: str
) -> "subprocess.CompletedProcess[str]":
    """Publish a file, or what is piped in."""
    command = [*huntaze(), "publish", "--url", hub.url, "--data", str(hub.data), *options]
    if isinstance(content, Path):
        return forked.run([*command, str(content)], environment({}))
    return forked.run([*command, "-"], environment({}), answer=content)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.parent.name)
def test_every_example_is_published(hub: HubProcess, example: Path):
    """Each type's example is a whole event once it has an id and a tenant."""
    options = ("--tenant", "acme", "--id", f"example-{example.parent.name}")
    done = publish(hub, example, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"example-{example.parent.name}  accepted\n"


def test_the_same_file_again_is_a_duplicate(hub: HubProcess):
    """Publishing a file twice is harmless, and said."""
    lines = "\n".join(json.dumps(message(f"twice-{number}")) for number in range(3))
    assert publish(hub, lines).stdout.count("  accepted\n") == 3
    again = publish(hub, lines)
    assert again.returncode == 0
    assert again.stdout == "twice-0  duplicate\ntwice-1  duplicate\ntwice-2  duplicate\n"


def test_each_refusal_is_said_with_its_reason(hub: HubProcess):
    """One line for each event, in order, and exit code 1 as any was refused."""
    publish(hub, json.dumps(message("taken")))
    lines = [
        json.dumps(message("fine-1")),
        json.dumps(message("no-such", type="mesage.received")),
        "{ no json",
        json.dumps(message("taken", subject="another")),
        json.dumps({**message("x"), "id": None}),
        json.dumps(message("no-tenant")).replace('"tenantid": "acme", ', ""),
        json.dumps(message("nan")).replace('"hello"', "NaN"),
        json.dumps(message("surrogate")).replace("hello", "\\ud800"),
        json.dumps(message("large", subject="y")).replace("hello", "z" * 200_000),
        json.dumps(message("deep", data={"a": json.loads("[" * 40 + "]" * 40)})),
        json.dumps(message("fine-2")),
    ]
    done = publish(hub, "\n".join(lines))
    said = [line.split("  ", 1) for line in done.stdout.splitlines()]
    assert [(name, what.partition(":")[0]) for name, what in said] == [
        ("fine-1", "accepted"),
        ("no-such", "refused"),
        ("line 3", "refused"),
        ("taken", "refused"),
        ("line 5", "refused"),
        ("no-tenant", "refused"),
        ("nan", "refused"),
        ("surrogate", "refused"),
        ("large", "refused"),
        ("deep", "refused"),
        ("fine-2", "accepted"),
    ]
    reasons = {name: what for name, what in said if what != "accepted"}
    assert "did you mean message.received" in reasons["no-such"]
    assert "another content" in reasons["taken"]
    assert "/tenantid" in reasons["no-tenant"]
    assert "bytes" in reasons["large"]
    assert done.returncode == 1
    assert done.stderr == "huntaze: with the hub: 2; refused: 9\n"


def test_more_than_a_request_holds_is_sent_in_several(hub: HubProcess):
    """An array of any length is published, each event once."""
    events = [message(f"many-{number}") for number in range(2_500)]
    done = publish(hub, json.dumps(events))
    assert done.returncode == 0
    assert done.stdout == "".join(f"many-{number}  accepted\n" for number in range(2_500))
    answer = httpx.get(f"{hub.url}/v1/events/many-2499?tenantId=acme", headers=hub.admin)
    assert answer.json()["event"]["data"] == events[2_499]["data"]


def test_a_tenant_s_key_needs_no_tenant(hub: HubProcess):
    """Who has a tenant's key publishes for that tenant, and for no other."""
    key = hub.tenant_headers("acme")["authorization"].removeprefix("Bearer ")
    own = json.dumps(message("by-key")).replace('"tenantid": "acme", ', "")
    assert publish(hub, own, "--key", key).stdout == "by-key  accepted\n"
    other = publish(hub, json.dumps(message("by-key", tenantid="other")), "--key", key)
    assert other.returncode == 1
    assert "refused" in other.stdout


def test_a_wrong_key_is_said_and_not_shown(hub: HubProcess):
    """What opens nothing ends with 2 and where a key comes from."""
    done = publish(hub, json.dumps(message("never")), "--key", "hz_wrong-key")
    assert (done.returncode, done.stdout) == (2, "")
    assert "does not take this key" in done.stderr
    assert "hz_wrong-key" not in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "there is no event in"),
        ('[{"id": ]', "not JSON at line 1"),
        ("{}\n{}", "--id is for a file with one event"),
    ],
)
def test_a_file_without_events_is_a_wrong_argument(hub: HubProcess, content: str, said: str):
    """Nothing to publish is not the same as published."""
    done = publish(hub, content, *(["--id", "e"] if "--id" in said else []))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_without_a_key_it_says_where_it_looked(tmp_path: Path):
    """The first thing that goes wrong for a newcomer is said with the ways out."""
    (tmp_path / "event.json").write_text("{}")
    arguments = ["publish", str(tmp_path / "event.json"), "--data", str(tmp_path)]
    done = run_huntaze(arguments)
    assert done.returncode == 2
    assert re.search(r"admin\.key cannot be read .* --key.* HUNTAZE_API_KEY", done.stderr)


class Moody(BaseHTTPRequestHandler):
    """Drops the connection, is busy, is away; then accepts. Keeps what it was sent."""

    bodies: list[bytes]
    moods: list[int]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["content-length"])))
        mood = self.moods.pop(0) if self.moods else 202
        if mood == 0:
            self.close_connection = True
            return
        items = [{"id": each.get("id"), "status": 202} for each in json.loads(self.bodies[-1])]
        body = json.dumps({"items": items}).encode() if mood == 202 else b"busy"
        self.send_response(mood)
        self.send_header("content-length", str(len(body)))
        if mood == 429:
            self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator[tuple[str, type[Moody]]]:
    handler = type("Handler", (Moody,), {"bodies": [], "moods": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_hub_that_does_not_answer_is_sent_the_same_again(moody: tuple[str, type[Moody]]):
    """A dropped connection, 429 and 503 are waited out; every try carries the same bytes."""
    url, handler = moody
    handler.moods.extend([0, 429, 503])
    arguments = ["publish", "--url", url, "--key", "hz_sample", "-"]
    done = run_huntaze(arguments, answer=json.dumps(message("again")))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "again  accepted\n"
    assert len(handler.bodies) == 4
    assert len(set(handler.bodies)) == 1
    assert done.stderr.count("trying again") == 3


def test_what_is_no_hub_is_said(moody: tuple[str, type[Moody]]):
    """A wrong address does not look like success."""
    url, handler = moody
    handler.moods.extend([404])
    done = run_huntaze(["publish", "--url", url, "--key", "hz_sample", "-"], answer="{}")
    assert done.returncode == 2
    assert "is no hub" in done.stderr


def test_a_reader_that_leaves_ends_it_quietly(hub: HubProcess):
    """`huntaze publish FILE | head -1` prints no traceback."""
    events = json.dumps([message(f"head-{number}") for number in range(1_500)])
    pipeline = f"{' '.join(huntaze())} publish --url {hub.url} --data {hub.data} - | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", pipeline], input=events.encode(), capture_output=True, timeout=60,
        env=environment({}), cwd=ROOT, check=False,
    )  # fmt: skip
    assert done.stdout == b"head-0  accepted\n"
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("piped", [True, False], ids=["stdout into a pipe", "one terminal"])
def test_on_a_terminal_it_shows_how_far_it_is(
    moody: tuple[str, type[Moody]], tmp_path: Path, piped: bool
):
    """What takes more than a second shows a bar on stderr, and every line is printed whole."""
    url, handler = moody
    handler.moods.extend([202, 503, 503])
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join(json.dumps(message(f"bar-{number}")) for number in range(3_000)))
    terminal, side = pty.openpty()
    shown = bytearray()

    def watch() -> None:
        with contextlib.suppress(OSError):  # raised when the other side is closed
            while got := os.read(terminal, 4096):
                shown.extend(got)

    with forked.start(
        [*huntaze(), "publish", "--url", url, "--key", "hz_sample", str(path)],
        environment({"TERM": "xterm", "COLUMNS": "100"}),
        stdout=subprocess.PIPE if piped else side,
        stderr=side,
    ) as process:
        os.close(side)
        watching = Thread(target=watch)
        watching.start()
        printed = process.stdout.read() if process.stdout else ""
        assert process.wait(60) == 0
    watching.join(10)
    os.close(terminal)
    assert b"publishing" in shown
    seen = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", bytes(shown))
    lines = (printed.encode() if piped else seen).splitlines()
    wanted = [b"bar-%d  accepted" % number for number in range(3_000)]
    assert [line for line in lines if line.endswith(b"accepted")] == wanted
