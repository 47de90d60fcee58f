"""Tests of what is not on this machine are skipped, or fail."""

import pytest

from tests.needs import needs


@pytest.mark.parametrize(
    ("program", "variables", "skipped"),
    [
        (None, {}, True),
        (None, {"CI": "true"}, False),
        (None, {"CI": "0"}, True),
        ("/usr/bin/node", {}, False),
    ],
)
def test_what_is_missing_is_skipped_except_where_ci_is_set(
    program: str | None, variables: dict[str, str], skipped: bool
) -> None:
    """Where CI is set, the test runs and fails for want of the program: nobody takes it for run."""
    assert needs(program, "it is not here", variables=variables).args == (skipped,)
