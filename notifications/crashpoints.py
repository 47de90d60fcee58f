"""Where the hub may be killed: a named point between each two steps of what it does.

A process that dies between two steps must lose nothing and do nothing twice. To prove that, tests
arm one point and have the process killed exactly there. Nothing of a hub's own arms any: no
setting, no command, no request. What is not armed costs a comparison.
"""

import os
import signal
from collections.abc import Awaitable
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Point(StrEnum):
    """A place between two steps; its value begins with what is being done.

    Those named `in-…` lie within a transaction: what it wrote before them is not committed.
    """

    # A producer's events into the ledger.
    ACCEPT_BEGINS = "accept.begins"
    ACCEPT_STORED = "accept.in-stored"  # the event's row is there, its message is not
    ACCEPT_SENT = "accept.in-sent"  # both are, uncommitted
    ACCEPT_ENDS = "accept.ends"  # on disk, and nobody has been answered

    # Outbox to bus, where the two do not share a commit.
    RELAY_BEGINS = "relay.begins"  # committed and leased, not sent
    RELAY_SENT = "relay.sent"  # on the bus, and still in the outbox
    RELAY_FORGOTTEN = "relay.forgotten"

    # Messages into hands, and out of them.
    RECEIVE_BEGINS = "receive.begins"
    RECEIVE_ENDS = "receive.ends"
    RENEW_BEGINS = "renew.begins"
    RENEW_ENDS = "renew.ends"
    RESEND_BEGINS = "resend.begins"
    RESEND_ENDS = "resend.ends"  # the copy is on the bus, the original in hand
    SETTLE_BEGINS = "settle.begins"  # all is done, and the message is not completed
    SETTLE_ENDED = "settle.in-ended"  # the lock has ended in the commit that records, uncommitted
    SETTLE_ENDS = "settle.ends"
    COUNT_READS = "count.reads"
    COUNT_READ = "count.read"
    COUNT_BEGINS = "count.begins"
    COUNT_COUNTED = "count.in-counted"
    COUNT_ENDS = "count.ends"

    # An event into deliveries.
    ROUTE_BEGINS = "route.begins"
    ROUTE_READ = "route.read"  # its event is known, its targets are not
    ROUTE_CHOSEN = "route.chosen"  # the targets are known, nothing is written
    ROUTE_PACES = "route.paces"
    ROUTE_PACED = "route.paced"
    ROUTE_CLAIMS = "route.claims"  # beside other hubs: deliveries are written before they are tried
    ROUTE_CLAIMED = "route.claimed"

    # An attempt, and what is made of it.
    ATTEMPT_BEGINS = "attempt.begins"
    ATTEMPT_ENDS = "attempt.ends"  # the target has it, and nobody knows
    RECORD_BEGINS = "record.begins"
    RECORD_WRITTEN = "record.in-written"  # outcomes, uncommitted
    RECORD_PLACED = "record.in-placed"  # and entries of inboxes
    RECORD_ENDS = "record.ends"
    TELL_BEGINS = "tell.begins"
    TELL_ENDS = "tell.ends"

    # Retries: a lane's next drain.
    SCHEDULE_BEGINS = "schedule.in-begins"
    SCHEDULE_NOTED = "schedule.in-noted"  # the lane says when, and no message does
    SCHEDULE_SENT = "schedule.in-sent"
    SCHEDULE_DUE = "schedule.in-due"  # taken out of what is for later, not yet put into the queue
    DRAIN_BEGINS = "drain.begins"
    DRAIN_PACED = "drain.paced"
    CLAIM_BEGINS = "claim.begins"
    CLAIM_MARKED = "claim.in-marked"
    CLAIM_ENDS = "claim.ends"  # claimed in their rows, not tried
    DRAIN_ENDS = "drain.in-ends"  # the drain is over, the next one is not scheduled

    # Endpoints that take nothing for a while.
    PARK_DECIDED = "park.decided"
    UNPARK_WRITTEN = "unpark.in-written"  # a new round, and nothing wakes its lane

    # What looks after all that.
    SWEEP_BEGINS = "sweep.begins"
    SWEEP_STEP_ENDS = "sweep.step-ends"
    SWEEP_NOTES = "sweep.notes"
    SWEEP_NOTED = "sweep.noted"

    # A range of events to an endpoint again.
    REPLAY_ADDED = "replay.added"
    REPLAY_LOOKS = "replay.looks"
    REPLAY_ADVANCES = "replay.advances"
    REPLAY_TAKEN_UP = "replay.in-taken-up"  # a page's deliveries, and not how far it came
    REPLAY_POSITION = "replay.in-position"
    REPLAY_ADVANCED = "replay.advanced"

    # A run of a job.
    JOB_TAKES = "job.takes"
    JOB_CLAIMED = "job.in-claimed"
    JOB_TAKEN = "job.taken"  # its run is claimed, its worker has not begun
    JOB_ASKS = "job.asks"
    JOB_ANSWERED = "job.answered"  # the model has answered, and is paid
    JOB_BEATS = "job.beats"
    JOB_BEAT = "job.beat"
    JOB_ENDS = "job.ends"  # the result is there, and nobody has written it down
    JOB_WRITTEN = "job.in-written"  # how it ended, and not the event that tells of it
    JOB_TOLD = "job.in-told"
    JOB_ENDED = "job.ended"


class _Trap:
    """The point at which this process dies, and how often it still passes it alive."""

    def __init__(self, point: Point, alive: int) -> None:
        self.point = point
        self.alive = alive


_trap: _Trap | None = None


def arm(point: Point, *, nth: int = 1) -> None:
    """Have this process killed when it is at `point` for the nth time. For tests alone."""
    global _trap  # one process, one death
    _trap = _Trap(point, nth - 1)


def passing(point: Point) -> None:
    """Be at a point: go on, unless it is the one."""
    if _trap is None or _trap.point is not point:
        return
    if _trap.alive:
        _trap.alive -= 1
        return
    os.kill(os.getpid(), signal.SIGKILL)


async def between(before: Point, step: Awaitable[T], after: Point) -> T:
    """Take a step between two points.

    Args:
        before: Where the step has not been begun.
        step: What a port is asked to do.
        after: Where it has been done, and nothing has been made of it.
    """
    passing(before)
    done = await step
    passing(after)
    return done
