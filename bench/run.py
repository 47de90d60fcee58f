"""All benches in one run: `make bench`.

Shows how far it is, prints one table, and writes `results.json` and `results.png` beside this file,
after each bench anew. A bench that fails is a row without a value; the run then ends with 1.

    python bench/run.py [--quick] [BENCH ...]
"""

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import rows
from plot import write_png

HERE = Path(__file__).parent
Bench = Callable[[rows.Options], Sequence[rows.Row]]


ROWS: Mapping[str, Sequence[str]] = {
    "idle": ("idle-cpu", "idle-wakeups"),
    "webhooks": ("webhooks-ratio", "webhooks-all-channels", "webhooks-raw-ratio"),
    "publishing": ("publish-single", "publish-batch"),
    "latency": tuple(
        f"{kind}-{share}-{rate}"
        for kind in ("toast", "webhook")
        for rate in (100, 1_000)
        for share in ("p50", "p99", "p99.9")
    ),
    "toasts": ("toast-in-page-p50-100",),
    "fanout": ("fanout-sockets", "fanout-endpoints"),
    "isolation": ("isolation-p99-ratio", "isolation-p99-added"),
    "storm": (
        "retry-storm",
        "retry-storm-new-p99",
        "retry-storm-lanes",
        "retry-storm-lanes-new-p99",
    ),
    "jobs": ("jobs",),
    "door": (
        "door-send-single",
        "door-send-lists",
        "door-receive-python",
        "door-receive-javascript",
    ),
    "growth": ("growth-cost-ratio", "growth-memory", "growth-start"),
    "backlog": ("growth-bus-cost-ratio", "growth-bus-memory"),
}
"""The rows that each bench is to give: one that fails leaves them empty, not out."""


def benches() -> Mapping[str, Bench]:
    """By name, in the order they run: the noisy ones last."""
    import backlog
    import fanout
    import growth
    import idle
    import isolation
    import latency
    import others
    import publishing
    import storm
    import toasts
    import webhooks

    return {
        "idle": idle.measured,
        "webhooks": webhooks.measured,
        "publishing": publishing.measured,
        "latency": latency.measured,
        "toasts": toasts.measured,
        "fanout": fanout.measured,
        "isolation": isolation.measured,
        "storm": storm.measured,
        "jobs": others.jobs,
        "door": others.door,
        "growth": growth.measured,
        "backlog": backlog.measured,
    }


def run(
    chosen: Mapping[str, Bench], options: rows.Options, folder: Path
) -> tuple[list[rows.Row], bool]:
    """Run them one after the other; all rows, and whether every bench ran to its end."""
    found: list[rows.Row] = []
    whole = True
    for number, (name, bench) in enumerate(chosen.items(), 1):
        rows.tell(f"== {name} ({number} of {len(chosen)})")
        began = time.monotonic()
        try:
            found += bench(options)
        except Exception as error:  # noqa: BLE001 - the others are measured all the same
            whole = False
            why = f"not measured: {type(error).__name__}: {error}"
            found += [
                rows.Row(name=each, value=None, unit="", limited_by=why[:300])
                for each in ROWS.get(name, (name,))
            ]
            rows.tell(why)
        rows.tell(f"== {name} took {time.monotonic() - began:.0f} s")
        write(found, options, folder)
    return found, whole


def write(found: Sequence[rows.Row], options: rows.Options, folder: Path) -> None:
    """Write both files."""
    rows.write_json(folder / "results.json", found, quick=options.quick)
    kind = "quick run" if options.quick else "whole run"
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    title = f"make bench: {kind}, {machine}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    write_png(folder / "results.png", found, title)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller sizes: three minutes")
    all_benches = benches()
    parser.add_argument("bench", nargs="*", help=f"of {', '.join(all_benches)}; all by default")
    asked = parser.parse_args()
    if strangers := set(asked.bench) - all_benches.keys():
        parser.error(f"there is no {', '.join(sorted(strangers))}")
    chosen = {name: all_benches[name] for name in asked.bench or all_benches}
    found, whole = run(chosen, rows.Options(quick=asked.quick), HERE)
    print(rows.table(found))
    print(f"written: {HERE / 'results.json'}, {HERE / 'results.png'}")
    missed = [row.name for row in found if row.met is False]
    print(f"goals not met: {', '.join(missed)}" if missed else "all goals met")
    if beyond := [row.name for row in found if row.out_of_bounds]:
        print(f"worse than it must be, or not measured: {', '.join(beyond)}")
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
