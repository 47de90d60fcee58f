"""Counts of jobs in this process, for `/metrics`. Labels are job types and states, and so few."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator

from ai_workers.jobs import Job
from notifications.http.exposition import Family, Histogram, Metric, Series
from notifications.retries import SECOND
from notifications.tenants import NANO

BOUNDS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
"""Up to these seconds runs are counted together: the longest job has half an hour."""


class JobTally:
    """What became of jobs since this process started; told once it is durable."""

    def __init__(self) -> None:
        self._states: Counter[tuple[str, str]] = Counter()
        self._costs: Counter[str] = Counter()
        self._runs: defaultdict[str, list[int]] = defaultdict(lambda: [0] * (len(BOUNDS_S) + 1))
        self._run_ms: Counter[str] = Counter()

    def moved(self, job: Job) -> None:
        """A job came to the state that it is in."""
        job_type = job.order.job_type
        self._states[(job_type, job.state.value)] += 1
        if job.ended and job.run:
            self._runs[job_type][bisect_left(BOUNDS_S, job.run_ms / SECOND)] += 1
            self._run_ms[job_type] += job.run_ms

    def spent(self, job_type: str, cost: int) -> None:
        """So many billionths of a dollar were spent on jobs of a type."""
        self._costs[job_type] += cost

    def metrics(self) -> Iterator[Metric]:
        """As it stands."""
        yield Family(
            "huntaze_jobs_total",
            "counter",
            "Jobs by type and the state they came to.",
            tuple(
                ({"type": job_type, "state": state}, count)
                for (job_type, state), count in sorted(self._states.items())
            ),
        )
        yield Family(
            "huntaze_job_cost_usd_total",
            "counter",
            "What jobs cost by the price table, in US dollars, failed runs included.",
            tuple(({"type": name}, cost / NANO) for name, cost in sorted(self._costs.items())),
        )
        yield Histogram(
            "huntaze_job_run_seconds",
            "How long jobs that ended ran, over all their runs.",
            BOUNDS_S,
            tuple(
                Series({"type": name}, tuple(counts), self._run_ms[name] / SECOND)
                for name, counts in sorted(self._runs.items())
            ),
        )
