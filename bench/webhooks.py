"""Webhooks a second through the whole durable path, as a ratio to the bare loop of the same run.

HTTP publish, ledger, bus, sign, POST, ledger; against a loop that only signs and POSTs. The two
take turns, so that a noisy machine disturbs both; the ratio is the median over the pairs. Beside
each rate stands the processor time that one webhook cost its process.
"""

import argparse
import statistics
import subprocess
import sys
import time

import harness


def durable(
    hub: harness.RunningHub, receiver: harness.Receiver, endpoint: str, count: int
) -> float:
    """Webhooks a second, from the first request to the last POST."""
    before = receiver.count()
    command = [sys.executable, harness.HERE / "publisher.py"]
    arguments = [hub.url, hub.key, endpoint, str(count), f"run{time.time_ns()}"]
    with subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        process.stdout.readline()
        begun = time.perf_counter()
        receiver.wait_for(before + count, within_s=300)
        took = time.perf_counter() - begun
    if process.returncode:
        raise SystemExit("publishing failed")
    return count / took


def bare(receiver: harness.Receiver, count: int) -> tuple[float, float]:
    """POSTs a second without the hub, and processor seconds per POST."""
    command = [sys.executable, harness.HERE / "bare_loop.py", receiver.url, str(count)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rate, cost = said.split()
    return float(rate), float(cost)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=10_000)
    options = parser.parse_args()
    with harness.receiver() as receiver, harness.running_hub() as hub:
        made = hub.post("/v1/webhook-endpoints", {"url": receiver.url})
        made.raise_for_status()
        endpoint = made.json()["id"]
        durable(hub, receiver, endpoint, 1_000)
        ratios = []
        print("pair    bare /s   µs each  durable /s   µs each  ratio")
        for pair in range(1, options.pairs + 1):
            alone, cost = bare(receiver, options.count)
            used = hub.cpu_s()
            whole = durable(hub, receiver, endpoint, options.count)
            used = (hub.cpu_s() - used) / options.count
            ratios.append(whole / alone)
            print(
                f"{pair:>4}  {alone:>9,.0f}  {cost * 1e6:>8.0f}  {whole:>10,.0f}"
                f"  {used * 1e6:>8.0f}  {ratios[-1]:>5.2f}",
                flush=True,
            )
        print(f"webhooks-ratio  median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
