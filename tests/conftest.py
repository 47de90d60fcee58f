"""What holds for every test."""

import gc
import os

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are made says something about the machine, and the first ones build tables of
# Unicode; neither is a claim of any test here. The same examples come in every run, so that a test
# that passed fails for a change alone; `--hypothesis-profile=search` looks for others.
settings.register_profile(
    "here", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("search", settings.get_profile("here"), derandomize=False)
settings.load_profile("here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let every worker begin with some of the tests that take long.

    Each begins with a share of its own, one run of the list; a long test at the end of a share
    would keep one worker busy while the others have nothing left to take over. What takes minutes
    is `make chaos`'s.
    """
    if not os.environ.get("CHAOS"):
        config.hook.pytest_deselected(
            items=[item for item in items if item.get_closest_marker("chaos")]
        )
        items[:] = [item for item in items if not item.get_closest_marker("chaos")]
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    long = [item for item in items if item.get_closest_marker("long")]
    rest = [item for item in items if not item.get_closest_marker("long")]
    items.clear()
    for number in range(workers):
        items += long[number::workers]
        share = len(rest) * number // workers, len(rest) * (number + 1) // workers
        items += rest[slice(*share)]


def pytest_collection_finish() -> None:
    """What was collected stays to the end: looking through it for garbage takes a fifth of a second
    each time, and some tests do so by themselves."""
    gc.collect()
    gc.freeze()
