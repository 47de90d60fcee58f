"""Lanes under stress: real receivers on loopback that hang, drag, flap, throttle and refuse.

The schedule's clock is the test's; what goes over the sockets takes real time.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import pytest

from notifications.channels.webhooks.channel import WebhookChannel
from notifications.channels.webhooks.sender import WebhookSender
from notifications.database import Database
from notifications.directory import Endpoint, EndpointState
from notifications.events import Channel
from notifications.lanes import BOUNDS, SICK_AFTER, TENANT_LIMIT
from notifications.ports import ChannelAdapter
from notifications.retries import MINUTE, NOTIFICATIONS, SECOND
from notifications.stores.directory import SqlDirectory
from notifications.testing import ManualClock, SeededDice
from notifications.vault import Vault
from tests.heart_world import PATIENCE_S, HeartWorld, heart_world, sample_event
from tests.parking_world import ENDPOINT
from tests.webhook_receivers import Behaviour, Receiver, Request, answer, never
from tests.webhook_worlds import LOOPBACK

TIMEOUT_S = 50.0
IMPATIENT_S = 0.3
"""For endpoints that hang."""

BOUND = BOUNDS[Channel.WEBHOOK]
REFUSING = answer(500)


@dataclass(slots=True)
class Customer:
    """A receiver, its endpoint, and when each event came.

    Attributes:
        behaviour: What it does with requests; may be changed at any time.
        came: Event ids in the order of requests.
        at: By the test's clock, when each request came.
        most_at_once: The most requests that were open at the same time.
    """

    endpoint: Endpoint
    behaviour: Behaviour
    clock: ManualClock
    came: list[str] = field(default_factory=list)
    at: list[int] = field(default_factory=list)
    most_at_once: int = 0
    _open: int = 0

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        name = orjson.loads(request.body)["id"]
        self.came.append(name)
        self.at.append(self.clock.now())
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            await self.behaviour(request, writer)
        finally:
            self._open -= 1


@dataclass(slots=True)
class Stress:
    """A heart that sends over real sockets."""

    heart: HeartWorld
    directory: SqlDirectory
    _stack: AsyncExitStack

    async def customer(
        self, name: str, behaviour: Behaviour, *, tenant_id: str = "acme", **changes: Any
    ) -> Customer:
        """A receiver with an endpoint that asks for events of type `<name>.…`."""
        receiver = Receiver([])
        customer = Customer(ENDPOINT, behaviour, self.heart.clock)
        receiver.behaviours.append(customer)
        await self._stack.enter_async_context(receiver)
        customer.endpoint = replace(
            ENDPOINT,
            tenant_id=tenant_id,
            id=f"ep_{name}",
            url=receiver.url(),
            event_types=(f"{name}.*",),
            **changes,
        )
        await self.directory.save_endpoint(customer.endpoint)
        return customer

    async def send(self, customer: Customer, count: int, prefix: str = "evt") -> list[str]:
        """Events for one customer; their ids."""
        tenant_id, name = customer.endpoint.tenant_id, customer.endpoint.id.removeprefix("ep_")
        names = [f"{prefix}-{name}-{number}" for number in range(count)]
        await self.heart.publish(
            *[sample_event(each, tenant_id=tenant_id, type=f"{name}.happened") for each in names]
        )
        return names

    def states(self, customer: Customer) -> dict[str, int]:
        """Of one customer's deliveries."""
        return dict(
            self.heart.rows(
                "SELECT state, count(*) FROM deliveries WHERE tenant_id = ? AND target = ?"
                " GROUP BY state",
                customer.endpoint.tenant_id,
                customer.endpoint.id,
            )
        )

    async def until(self, customer: Customer, **states: int) -> None:
        """Wait until its deliveries are exactly these."""
        await self.heart.until(lambda: self.states(customer) == states)

    async def live_until(self, condition: Callable[[], Any], step: int = SECOND) -> None:
        """Let time pass until something is so, but not while an attempt is under way: what takes
        a moment over the socket would seem to take as long as the step."""
        give_up = time.monotonic() + 3 * PATIENCE_S
        while not condition():
            assert time.monotonic() < give_up, self.heart.picture()
            await self.heart.until_quiet()
            await self.heart.until(
                lambda: self.heart.one("SELECT count(*) FROM deliveries WHERE claimed = 1") == 0
            )
            await self.heart.pass_time(step)
            await asyncio.sleep(0.002)

    def lane(self, customer: Customer) -> str:
        """Its lane."""
        return f"webhook/{customer.endpoint.tenant_id}/{customer.endpoint.id}"


@asynccontextmanager
async def stress_world(folder: Path, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Stress]:
    """A heart over real sockets."""
    made: dict[str, Any] = {}

    def adapters(database: Database, clock: ManualClock) -> Mapping[Channel, ChannelAdapter]:
        made["directory"] = SqlDirectory(database, Vault((bytes(32),), SeededDice()), clock)
        made["sender"] = WebhookSender(clock=clock, timeout=timeout_s, allowed=LOOPBACK)
        return {Channel.WEBHOOK: WebhookChannel(made["directory"], made["sender"], clock)}

    async with AsyncExitStack() as stack:
        heart = await stack.enter_async_context(heart_world(folder, adapters=adapters))
        heart.listeners.append(made["directory"].forget)
        await stack.enter_async_context(made["sender"])
        yield Stress(heart, made["directory"], stack)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Stress]:
    """A heart over real sockets; no answer takes so long that it is given up."""
    async with stress_world(tmp_path) as world:
        yield world


@pytest.fixture
async def impatient(tmp_path: Path) -> AsyncIterator[Stress]:
    """The same, with time limits of 0.3 s."""
    async with stress_world(tmp_path, IMPATIENT_S) as world:
        yield world


class Gate:
    """A behaviour that holds every request until it is opened, and takes it then."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._taking = answer(200)

    async def __call__(self, request: Request, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        await self._taking(request, writer)

    def open(self) -> None:
        self._open.set()


# --------------------------------------------------------------------------- hung


async def test_a_hung_endpoint_costs_its_bound_once_then_one_probe_at_a_time(
    impatient: Stress,
) -> None:
    """1,000 events for an endpoint that never answers: a bound of requests, then probes, one by
    one; what waits costs no attempt."""
    world = impatient
    hung = await world.customer("hung", never)
    await world.send(hung, 1_000)
    await world.heart.until(lambda: world.heart.lanes.health(world.lane(hung)).sick)
    await world.until(hung, pending=1_000)
    await world.heart.until_quiet()
    before = len(hung.came)
    assert before <= BOUND + SICK_AFTER
    for delay in (5, 10, 20):
        tried = len(hung.came)
        await world.heart.pass_time(delay * SECOND)
        await world.heart.until(lambda tried=tried: len(hung.came) == tried + 1)
        probe_at = world.heart.lanes.health(world.lane(hung)).probe_at
        await world.heart.until(
            lambda probe_at=probe_at: (
                world.heart.lanes.health(world.lane(hung)).probe_at != probe_at
            )
        )
    untried = world.heart.one("SELECT count(*) FROM deliveries WHERE attempt = 0")
    assert untried >= 1_000 - BOUND - SICK_AFTER - 3
    hung.behaviour = answer(200)
    await world.live_until(lambda: world.states(hung) == {"delivered": 1_000}, 5 * SECOND)
    assert world.heart.audit().clean


@pytest.mark.fault("never answers, one tenant's of a hundred", "receivers")
async def test_a_hung_tenant_holds_up_no_other(world: Stress) -> None:
    """One tenant's endpoints all hang, with a backlog each; another's events are all delivered
    before a single one of the hung requests has ended."""
    gate = Gate()
    hung = [await world.customer(f"hung{number}", gate) for number in range(10)]
    swift = await world.customer("swift", answer(200), tenant_id="zeta")
    for each in hung:
        await world.send(each, 200)
    await world.heart.until(lambda: sum(len(each.came) for each in hung) == TENANT_LIMIT)
    for batch in range(10):
        await world.send(swift, 30, f"batch{batch}")
    await world.until(swift, delivered=300)
    assert all(world.states(each) == {"pending": 200} for each in hung)
    assert sum(len(each.came) for each in hung) == TENANT_LIMIT
    gate.open()
    for each in hung:
        await world.live_until(lambda each=each: world.states(each) == {"delivered": 200})
    assert world.heart.audit().clean


# --------------------------------------------------------------------------- slow


async def test_a_slow_endpoint_is_sent_its_bound_at_once_and_no_more(world: Stress) -> None:
    """500 events for one that takes 0.1 s each: 128 are open at once at most, and all arrive."""
    taking = answer(200)

    async def slow(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await taking(request, writer)

    customer = await world.customer("slow", slow)
    await world.send(customer, 500)
    await world.until(customer, delivered=500)
    assert customer.most_at_once <= BOUND
    assert len(customer.came) == 500


async def test_slow_endpoints_do_not_delay_a_swift_one(world: Stress) -> None:
    """While the tenant's own slow endpoints are full, its swift one gets everything at once."""
    gate = Gate()
    swift = await world.customer("swift", answer(200))
    dragging = [await world.customer(f"slow{number}", gate) for number in range(3)]
    for customer in dragging:
        await world.send(customer, 300)
    await world.heart.until(lambda: all(len(each.came) == BOUND for each in dragging))
    await world.send(swift, 300)
    await world.until(swift, delivered=300)
    assert all(len(each.came) == BOUND for each in dragging)
    gate.open()
    for customer in dragging:
        await world.until(customer, delivered=300)


# --------------------------------------------------------------------------- flapping


@pytest.mark.fault("answers 500, and 200 at another time", "receivers")
async def test_a_flapping_endpoint_gets_everything_in_the_end(world: Stress) -> None:
    """One that is away every other moment gets each event, and nothing is tried too often."""
    count = 0
    taking = answer(200)

    async def flap(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        count += 1
        if count // 20 % 2:
            writer.close()
        elif count % 3:
            await REFUSING(request, writer)
        else:
            await taking(request, writer)

    customer = await world.customer("flapping", flap)
    await world.send(customer, 200)
    await world.live_until(lambda: world.states(customer).get("delivered", 0) >= 150, MINUTE)
    customer.behaviour = taking
    await world.live_until(lambda: world.states(customer) == {"delivered": 200}, 10 * MINUTE)
    assert world.heart.one("SELECT max(attempt) FROM deliveries") <= NOTIFICATIONS.attempts
    assert world.heart.one("SELECT max(round) FROM deliveries") == 1
    assert world.heart.audit().clean


async def test_one_that_hangs_and_comes_back_is_full_speed_again(impatient: Stress) -> None:
    """Sick, then well: the first probe that is answered opens the lane for all that waits."""
    world = impatient
    customer = await world.customer("relapsing", never)
    for round_number in range(2):
        await world.send(customer, 300, f"round{round_number}")
        await world.heart.until(
            lambda: world.heart.lanes.health(world.lane(customer)).timeouts >= SICK_AFTER
        )
        customer.behaviour = answer(200)
        await world.live_until(
            lambda round_number=round_number: (
                world.states(customer) == {"delivered": 300 * (round_number + 1)}
            )
        )
        assert world.heart.lanes.health(world.lane(customer)).well
        customer.behaviour = never


# --------------------------------------------------------------------------- rate-limited


async def test_a_rate_is_kept_and_costs_no_attempt(world: Stress) -> None:
    """With 20 a second asked for, no second sees more; 100 take five, each in one attempt."""
    customer = await world.customer("paced", answer(200), rate_per_second=20)
    await world.send(customer, 100)
    await world.live_until(lambda: world.states(customer) == {"delivered": 100}, 100)
    for at in set(customer.at):
        assert sum(at <= other < at + SECOND for other in customer.at) <= 20
    assert customer.at[-1] - customer.at[0] < 8 * SECOND
    assert world.heart.rows("SELECT DISTINCT attempt FROM deliveries") == [(1,)]
    assert world.heart.audit().clean


async def test_a_paced_endpoint_does_not_delay_the_others(world: Stress) -> None:
    """While one a second trickles out to one endpoint, another gets everything at once."""
    paced = await world.customer("paced", answer(200), rate_per_second=1)
    swift = await world.customer("swift", answer(200))
    await world.send(paced, 200)
    await world.send(swift, 200)
    await world.until(swift, delivered=200)
    assert len(paced.came) == 1


async def test_a_rate_counts_for_retries_and_for_what_was_parked(world: Stress) -> None:
    """Whatever makes deliveries due, the rate is the endpoint's."""
    customer = await world.customer("paced", REFUSING, rate_per_second=10)
    await world.send(customer, 10)
    await world.until(customer, pending=10)
    await world.directory.save_endpoint(replace(customer.endpoint, state=EndpointState.PAUSED))
    await world.send(customer, 20, "parked")
    await world.live_until(lambda: world.states(customer) == {"parked": 30})
    customer.behaviour = answer(200)
    await world.directory.save_endpoint(customer.endpoint)
    await world.heart.sweep.sweep()
    await world.live_until(lambda: world.states(customer) == {"delivered": 30}, 100)
    for at in set(customer.at):
        assert sum(at <= other < at + SECOND for other in customer.at) <= 10


async def test_429_slows_the_lane_down(world: Stress) -> None:
    """One that takes ten a second and answers 429 to the rest gets everything, ever more gently."""
    taken_at: list[int] = []
    taking, throttling = answer(200), answer(429)

    async def limited(request: Request, writer: asyncio.StreamWriter) -> None:
        now = world.heart.clock.now()
        if sum(now - SECOND < at for at in taken_at) < 10:
            taken_at.append(now)
            await taking(request, writer)
        else:
            await throttling(request, writer)

    customer = await world.customer("limited", limited)
    await world.send(customer, 300)
    await world.live_until(lambda: world.states(customer) == {"delivered": 300}, 250)
    refused = len(customer.came) - 300
    assert refused <= 300  # at full speed it would be ten times that
    assert world.heart.audit().clean


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_holds_everything_for_the_endpoint(world: Stress, status: int) -> None:
    """Asked to wait for 40 s, nothing goes there before, new events neither; then all of it."""
    customer = await world.customer("held", answer(status, headers={"retry-after": "40"}))
    start = world.heart.clock.now()
    await world.send(customer, 1, "first")
    await world.until(customer, pending=1)
    customer.behaviour = answer(200)
    await world.send(customer, 50)
    await world.until(customer, pending=51)
    await world.live_until(lambda: world.states(customer) == {"delivered": 51})
    assert [at - start for at in customer.at][:1] == [0]
    assert min(at - start for at in customer.at[1:]) >= 40 * SECOND
    assert max(at - start for at in customer.at) <= 60 * SECOND
    assert world.heart.rows("SELECT DISTINCT attempt FROM deliveries WHERE attempt <> 1") == [(2,)]


# --------------------------------------------------------------------------- mass-failing


async def test_a_mass_failing_endpoint_walks_its_table_beside_a_swift_one(world: Stress) -> None:
    """500 failing deliveries retried for an hour: each at its times, and the other gets its own."""
    failing = await world.customer("failing", REFUSING)
    swift = await world.customer("swift", answer(200))
    await world.send(failing, 500)
    await world.until(failing, pending=500)
    for number in range(6):
        await world.send(swift, 20, f"round{number}")
        await world.until(swift, delivered=20 * (number + 1))
        made = number + 2
        await world.live_until(
            lambda made=made: (
                world.heart.one("SELECT min(attempt) FROM deliveries WHERE state = 'pending'")
                >= made
            ),
            NOTIFICATIONS.delays[number] // 20,
        )
    times: dict[str, list[int]] = {}
    for name, at in zip(failing.came, failing.at, strict=True):
        times.setdefault(name, []).append(at)
    assert len(times) == 500
    for each in times.values():
        for delay, (before, after) in zip(NOTIFICATIONS.delays, pairwise(each), strict=False):
            assert after - before >= delay * 0.9 - 1
    assert world.heart.audit().clean


async def test_an_endpoint_that_is_gone_takes_the_others_nothing(world: Stress) -> None:
    """410 to one of 300 disables it: what is under way ends, the rest parks, others go on."""
    gone = await world.customer("gone", answer(410))
    swift = await world.customer("swift", answer(200))
    await world.send(gone, 300)
    await world.send(swift, 300)
    await world.until(swift, delivered=300)
    await world.heart.until(lambda: sum(world.states(gone).values()) == 300)
    await world.live_until(lambda: not world.states(gone).get("pending"))
    states = world.states(gone)
    assert states["exhausted"] == len(gone.came) <= 2 * BOUND
    assert states["parked"] == 300 - len(gone.came)
    told = world.heart.one("SELECT count(*) FROM events WHERE type = 'endpoint.disabled'")
    assert told == 1
    assert world.heart.audit().clean


# --------------------------------------------------------------------------- storms


async def test_a_storm_drains_at_full_speed_and_starves_nobody(world: Stress) -> None:
    """2,000 retries due in the same second: while the endpoint is full with them, other endpoints
    get their events; once it takes them, all go out without any more time passing."""
    storm = await world.customer("storm", REFUSING)
    swift = await world.customer("swift", answer(200))
    await world.send(storm, 2_000)
    await world.live_until(lambda: world.states(storm) == {"pending": 2_000}, 1)
    due_at = world.heart.clock.now() + SECOND
    await world.heart.write("UPDATE deliveries SET due_at = ? WHERE state = 'pending'", due_at)
    gate = Gate()
    storm.behaviour = gate
    before = len(storm.came)
    await world.heart.pass_time(7 * SECOND)
    await world.heart.until(lambda: len(storm.came) - before == BOUND)
    await world.send(swift, 300)
    await world.until(swift, delivered=300)
    assert len(storm.came) - before == BOUND
    gate.open()
    await world.heart.until(lambda: world.states(storm) == {"delivered": 2_000}, 3 * PATIENCE_S)
    assert len(storm.came) - before == 2_000
    assert storm.most_at_once <= BOUND
    assert world.heart.audit().clean


async def test_new_events_of_the_same_endpoint_come_through_a_storm(world: Stress) -> None:
    """Events that arrive in the middle of an endpoint's own storm arrive with it."""
    storm = await world.customer("storm", answer(200))
    await world.directory.save_endpoint(replace(storm.endpoint, state=EndpointState.PAUSED))
    await world.send(storm, 2_000)
    await world.heart.until(lambda: world.states(storm) == {"parked": 2_000})
    await world.directory.save_endpoint(storm.endpoint)
    await world.heart.sweep.sweep()
    await world.send(storm, 50, "new")
    await world.until(storm, delivered=2_050)
    assert len(storm.came) == 2_050
    assert world.heart.audit().clean
