"""A deployment asks Azure what was read over, word for word."""

from tests.azure_calls import PAGE, made


def test_the_calls_of_a_deployment_are_those_that_were_read_over() -> None:
    """Each command, option, value and query: what changes is looked at, and written anew."""
    assert made() == PAGE.read_text(), "meant? python -m tests.azure_calls, and read the difference"
