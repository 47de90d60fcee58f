"""Errors as problem documents."""

import logging

import orjson
import pytest

from notifications import errors
from notifications.errors import (
    Conflict,
    FieldError,
    HuntazeError,
    InvalidEvent,
    InvalidInput,
    NotFound,
    OverLimit,
    RejectedMessage,
    StoreUnavailable,
    Unavailable,
)
from notifications.http.problems import MEDIA_TYPE, TITLES, Refused, log_fault, problem_of

WRONG = (FieldError("/url", "must begin with https://"),)
SECRET = "password=hunter2"

CASES: list[tuple[Exception, int]] = [
    (Refused(413, "too much"), 413),
    (InvalidInput(WRONG), 422),
    (InvalidEvent(WRONG), 422),
    (NotFound("no such event"), 404),
    (Conflict("it is there already"), 409),
    (OverLimit("enough", retry_after=1.0), 429),
    (Unavailable("away"), 503),
    (StoreUnavailable("locked"), 503),
    (HuntazeError("anything"), 500),
    (RejectedMessage("schema", "no"), 500),
    (errors.ConfigurationError("wrong"), 500),
    (ValueError("anything"), 500),
    (KeyError("anything"), 500),
]


@pytest.mark.parametrize(("error", "status"), CASES, ids=lambda value: type(value).__name__)
def test_every_error_has_its_status(error: Exception, status: int) -> None:
    """Each error of the tree, and any other, becomes the status of the contract."""
    problem = problem_of(error)
    response = problem.response("/v1/events")

    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE


def test_a_problem_is_a_whole_document() -> None:
    """A problem has the members of RFC 9457 and one error for each thing that is wrong."""
    wrong = (*WRONG, FieldError("/headers", "must be at most 20"))

    document = orjson.loads(problem_of(InvalidInput(wrong)).response("/v1/x").body)

    assert document == {
        "type": "urn:huntaze:problem:invalid",
        "title": TITLES[422][1],
        "status": 422,
        "detail": "2 things are wrong; see errors.",
        "instance": "/v1/x",
        "errors": [
            {"pointer": "/url", "detail": "must begin with https://"},
            {"pointer": "/headers", "detail": "must be at most 20"},
        ],
    }


def test_a_problem_is_bounded_whatever_was_sent() -> None:
    """Pointers, details, errors and the path are cut; how many errors there are is still said."""
    long = "x" * 100_000
    error = InvalidInput([FieldError(f"/{long}", long)] * 1_000)

    response = problem_of(error).response(f"/{long}")

    problem = orjson.loads(response.body)
    assert len(response.body) < 50 * 1_000
    assert len(problem["errors"]) == 50
    assert problem["errors"][0]["pointer"].endswith("x…")
    assert problem["detail"] == "1000 things are wrong; see errors."


def test_over_a_limit_says_when_to_come_back() -> None:
    """The reason is told, and Retry-After is whole seconds, never earlier than asked."""
    problem = problem_of(OverLimit("At most three.", retry_after=1.2))

    assert problem.detail == "At most three."
    assert problem.headers == {"retry-after": "2"}


def test_one_wrong_thing_is_said_at_once() -> None:
    """Where a single thing is wrong, the detail names it."""
    assert problem_of(InvalidInput(WRONG)).detail == "/url: must begin with https://"


@pytest.mark.parametrize(
    "error", [ValueError(SECRET), HuntazeError(SECRET), StoreUnavailable(SECRET)], ids=type
)
def test_nothing_of_the_inside_is_told(error: Exception) -> None:
    """What happened inside the hub is in no answer."""
    response = problem_of(error).response("/v1/events")

    assert SECRET.encode() not in bytes(response.body)


@pytest.mark.parametrize(("asked", "told"), [(0.2, "1"), (1.0, "1"), (7.5, "8")])
def test_what_is_away_says_when_to_come_back(asked: float, told: str) -> None:
    """Retry-After is whole seconds, at least one, never earlier than asked."""
    problem = problem_of(Unavailable("away", retry_after=asked))

    assert problem.headers["retry-after"] == told


def test_only_our_faults_are_written_down(caplog: pytest.LogCaptureFixture) -> None:
    """A caller's mistake leaves no line; ours leaves one with its cause."""
    caplog.set_level(logging.INFO, logger="huntaze")

    log_fault(NotFound("no such event"), "GET", "/v1/events/x")
    assert not caplog.records
    log_fault(ValueError("inside"), "GET", "/v1/events/x")
    log_fault(StoreUnavailable("locked"), "GET", "/v1/events/x")

    assert [record.message for record in caplog.records] == ["http.failed", "http.unavailable"]
    assert caplog.records[0].exc_info
