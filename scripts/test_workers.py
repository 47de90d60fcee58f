"""What `scripts/test-workers.sh` does: ask a running hub for one of everything, and watch it land.

Needs Python alone. Exit codes: 0 all landed; 1 something did not; 2 it could not be tried.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # wherever it is called from

from scripts.hub_answers import LAST_S, Hub, Refused, one_line

JOBS = Path(__file__).resolve().parents[1] / "schemas" / "jobs"
WORKERS = (
    "VideoAnalysisWorker",
    "ChatSuggestionsWorker",
    "ContentSuggestionsWorker",
    "ContentAnalysisWorker",
    "NotifySignalRWorker",
    "NotifyEmailWorker",
    "NotifyWebhookWorker",
    "MetricsWorker",
)
TRACES = (
    "AppRequests | where TimeGenerated > ago(30m) | summarize runs = count() by Name"
    " | project Name, runs"
)
LOGS = "https://api.loganalytics.azure.com"
OVER = ("succeeded", "failed", "cancelled", "expired")
PAUSE_S = 0.25
AZ_PAUSE_S = 10
LOOK_S = 15
"""After `--within`, for a last look at what has not landed, and to take the user and the endpoint
away again."""


class Late(Exception):
    """All of the time is over."""


class Report:
    """A line for each thing, and how many did not land."""

    failed = 0

    def line(self, good: bool, what: str, why: str = "") -> None:
        """One thing."""
        self.failed += not good
        print("✓" if good else "✗", what + (f": {why}" if why and not good else ""))

    def left_out(self, what: str, why: str) -> None:
        """One thing that was not tried."""
        print("-", f"{what}: not tried: {why}")


class Receiver(BaseHTTPRequestHandler):
    """Takes every webhook."""

    def do_POST(self) -> None:
        """204."""
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def wait(until: float, look: Callable[[], Any], pause: float = PAUSE_S) -> Any:
    """What `look` finds, once it is something, else what it found last."""
    while not (found := look()) and time.monotonic() < until:
        time.sleep(min(pause, max(0, until - time.monotonic())))
    return found


def events(hub: Hub, user: str) -> Iterator[tuple[str, set[str], dict[str, Any]]]:
    """Type, channels and an event of each type there is."""
    for each in hub.take("items", "GET", "/v1/event-types"):
        if each["type"] == "webhook.test":
            continue
        known = {"id": f"check-{uuid.uuid4().hex}", "tenantid": hub.tenant, "userid": user}
        yield each["type"], set(each["channels"]), {**each["example"], **known}


def check_events(hub: Hub, user: str, without: set[str], until: float, report: Report) -> None:
    """Every event is delivered by every channel of its type."""
    sent = list(events(hub, user))
    answer = hub.take("items", "POST", "/v1/events", [event for *_, event in sent])
    refused = [each for each in answer if "problem" in each]
    if refused:
        raise Refused(f"events were refused: {json.dumps(refused)[:300]}")
    for kind, channels, event in sent:
        landed: dict[str, str] = {}

        def look(event: Any = event, landed: Any = landed, wanted: Any = channels) -> bool:
            found = hub.take("deliveries", "GET", f"/v1/events/{quote(event['id'])}")
            landed |= {each["channel"]: each["state"] for each in found}
            return all(landed.get(one) == "delivered" for one in wanted - without)

        good = wait(until, look)
        missing = [
            f"{one} is {landed.get(one, 'not there')}"
            for one in sorted(channels - without)
            if landed.get(one) != "delivered"
        ]
        report.line(good, f"event {kind}: {', '.join(sorted(channels - without))}", str(missing))
    seen = [each["eventId"] for each in hub.take("items", "GET", "/v1/inbox", userId=user)]
    report.line(bool(seen), f"toasts: {len(seen)} in the inbox", "none is in the inbox")


def check_jobs(hub: Hub, user: str, video: str | None, until: float, report: Report) -> None:
    """A job of each type succeeds."""
    asked = {}
    for folder in sorted(JOBS.iterdir()):
        given = json.loads((folder / "v1.example.json").read_text("utf-8"))
        if folder.name == "video.analysis":
            if video is None:
                report.left_out("job video.analysis", "give --video with a video's address")
                continue
            given["url"] = video
        body = {"jobType": folder.name, "userId": user, "input": given, "tenantId": hub.tenant}
        asked[folder.name] = hub.take("id", "POST", "/v1/jobs", body)
    for kind, name in asked.items():
        found: dict[str, Any] = {}

        def look(name: str = name, found: Any = found) -> bool:
            found |= hub.ask("GET", f"/v1/jobs/{name}")
            return found["state"] in OVER

        wait(until, look)
        why = f"{found['state']} {json.dumps(found.get('error'))}"
        report.line(found["state"] == "succeeded", f"job {kind}", why)


def check_dead_letters(hub: Hub, report: Report) -> None:
    """Nothing is in the dead letters."""
    found = hub.take("items", "GET", "/v1/dead-letters")
    where = sorted({each["subscription"] for each in found})
    report.line(not found, "dead letters: none", f"some in {', '.join(where)}")


def traces_command(insights: str) -> list[str]:
    """What asks Application Insights, without an extension of az."""
    command = ["az", "rest", "--method", "post", "--url", f"{LOGS}/v1{insights}/query"]
    return [*command, "--resource", LOGS, "--body", json.dumps({"query": TRACES}), "-o", "json"]


def check_traces(insights: str | None, until: float, report: Report) -> None:
    """Application Insights has seen every worker. It needs some minutes for that."""
    if insights is None:
        report.left_out("traces", "no --insights (nor Application Insights on this machine)")
        return
    command = traces_command(insights)
    seen: set[str] = set()
    said = ""

    def look() -> bool:
        nonlocal said
        left = max(until - time.monotonic(), LAST_S)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=left)  # noqa: S603
            said = one_line(done.stderr)[-200:]
            if done.returncode == 0:
                seen.update(str(row[0]) for row in json.loads(done.stdout)["tables"][0]["rows"])
        except subprocess.TimeoutExpired:
            said = "(az does not answer)"
        except OSError as error:
            said = f"(az does not start: {error.strerror})"
        except (ValueError, LookupError, TypeError, RecursionError):
            said = f"(az answers with no table: {one_line(done.stdout, 80)})"
        return set(WORKERS) <= seen

    good = wait(until, look, AZ_PAUSE_S)
    missing = ", ".join(sorted(set(WORKERS) - seen))
    report.line(good, "traces: every worker has some", f"none of {missing} {said}".strip())


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="test-workers.sh", description=__doc__)
    parser.add_argument("--tenant", default="huntaze-check", help="the tenant to try it as")
    parser.add_argument("--email", help="where the mails go; needed where the hub is elsewhere")
    parser.add_argument("--webhook", help="a receiver of yours; needed where the hub is elsewhere")
    parser.add_argument("--video", help="a video to analyse")
    parser.add_argument("--insights", help="the resource id of Application Insights")
    parser.add_argument("--within", type=seconds, default=180, help="seconds for all of it")
    given = parser.parse_args()
    given.url = os.environ.get("HUNTAZE_URL", "http://127.0.0.1:8080")
    given.key = os.environ.get("HUNTAZE_API_KEY", "")
    if not given.key:
        parser.error("set HUNTAZE_API_KEY to the admin's key, and HUNTAZE_URL to the hub")
    try:
        parts = urlsplit(given.url)
    except ValueError as error:
        parser.error(f"HUNTAZE_URL is no address: {error}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        parser.error(f"HUNTAZE_URL is no address of a hub: {given.url[:200]}")
    if parts.username is not None or any(each.isspace() for each in given.url):
        parser.error("HUNTAZE_URL is an address alone: no user, no password, no space in it")
    if given.insights and shutil.which("az") is None:
        parser.error(
            "--insights asks with az, which is not on the PATH: install it, or leave it out"
        )
    given.here = parts.hostname in ("127.0.0.1", "localhost", "::1")
    return given


def seconds(text: str) -> float:
    """A time to wait, an hour at most."""
    given = float(text)
    if not 0 < given <= 3600:
        raise argparse.ArgumentTypeError("from more than 0 to 3600 seconds")
    return given


def try_all(given: argparse.Namespace, hub: Hub, until: float, report: Report) -> None:
    """Make a user and an endpoint, try everything, and take both away again."""
    without: set[str] = set()
    user = f"check-{uuid.uuid4().hex[:8]}"
    email = given.email or ("check@example.com" if given.here else None)
    profile = {"locale": "en", "role": "owner", "email": email, "tenantId": hub.tenant}
    if email is None:
        without.add("email")
        report.left_out("mails", "give --email with an address of yours")
        del profile["email"]
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    local = f"http://127.0.0.1:{receiver.server_address[1]}/" if given.here else None
    target = given.webhook or local
    endpoint = None
    try:
        hub.ask("PUT", f"/v1/users/{user}", profile)
        if target is None:
            without.add("webhook")
            report.left_out("webhooks", "give --webhook with a receiver of yours")
        else:
            wanted = {"url": target, "eventTypes": ["*"], "tenantId": hub.tenant}
            endpoint = hub.take("id", "POST", "/v1/webhook-endpoints", wanted)
        check_events(hub, user, without, until, report)
        check_jobs(hub, user, given.video, until, report)
        check_dead_letters(hub, report)
        check_traces(given.insights, until, report)
    finally:
        take_away(hub, user, endpoint)
        receiver.shutdown()
        receiver.server_close()


def take_away(hub: Hub, user: str, endpoint: str | None) -> None:
    """Remove the user and the endpoint; what stays is said, and nothing else goes wrong by it."""
    signal.setitimer(signal.ITIMER_REAL, LOOK_S)
    made = [f"/v1/webhook-endpoints/{endpoint}"] if endpoint else []
    for path in [*made, f"/v1/users/{user}"]:
        try:
            hub.ask("DELETE", path)
        except (Refused, Late) as error:
            why = str(error) or "no answer in time"
            print(f"test-workers: {path} may still be there: {why}", file=sys.stderr)


def late(*_: object) -> None:
    """The signal of the clock."""
    raise Late


def main() -> int:
    """Try it all."""
    given = arguments()
    until = time.monotonic() + given.within
    hub, report = Hub(given.url, given.key, given.tenant, until), Report()
    # Calls have time limits of their own; what sends a byte now and then keeps none of them.
    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, given.within + LOOK_S)
    try:
        hub.ask("GET", "/readyz")
        try_all(given, hub, until, report)
    except Refused as refused:
        print(f"test-workers: {refused}", file=sys.stderr)
        return 2
    except Late:
        print(f"test-workers: {given.url} took longer than --within allows", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("test-workers: interrupted", file=sys.stderr)
        return 130
    except (LookupError, TypeError, AttributeError) as error:
        # Whatever answers here has the shape of a hub's answers, but for this.
        told = f"{type(error).__name__} {error}"
        print(
            f"test-workers: {given.url} answers otherwise than this release: {told}",
            file=sys.stderr,
        )
        return 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
