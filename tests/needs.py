"""What tests need beside Python: where it is missing they are skipped, but not where CI is set."""

import os
from collections.abc import Mapping

import pytest


def must_be_here(variables: Mapping[str, str] = os.environ) -> bool:
    """Whether a test whose program is missing has to fail."""
    return variables.get("CI", "").lower() in ("1", "true")


def needs(
    program: str | None, why_not: str, *, variables: Mapping[str, str] = os.environ
) -> pytest.MarkDecorator:
    """Mark tests that need a program.

    Args:
        program: Its path; None where it is missing.
        why_not: What is said where they are skipped.
        variables: The environment.
    """
    return pytest.mark.skipif(program is None and not must_be_here(variables), reason=why_not)
