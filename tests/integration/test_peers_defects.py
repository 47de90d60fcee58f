"""What hurts users of such hubs elsewhere and is tested nowhere else here. `docs/peers.md` has the
whole list, with the tests that prove each."""

import asyncio
import email
import email.policy
from pathlib import Path

import pytest
import sqlalchemy as sa

from notifications.bootstrap import local_policy
from notifications.deliveries import Failed
from notifications.events import Channel
from notifications.lanes import BOUNDS, TENANT_LIMIT
from notifications.records import Route
from notifications.retries import MINUTE, SECOND
from notifications.settings import Settings
from tests.heart_world import TAKEN, heart_world, sample_event
from tests.hub_world import document, hub_world, until

REFUSED = Failed(reason="http-500", status=500)
ALL = frozenset(Channel)


# --------------------------------------------------------------------------- claims


@pytest.mark.parametrize("timeout", [0.1, 15.0, 60.0])
def test_no_claim_runs_out_before_its_attempt_must_have_ended(timeout: float) -> None:
    """A claim is made from the time limit, so that no setting lets two attempts overlap."""
    policy = local_policy(Settings(webhook_timeout=timeout))
    assert policy.claim >= timeout * SECOND + 10 * SECOND


async def test_slow_receiver_and_redelivery_make_one_post(tmp_path: Path) -> None:
    """While a receiver takes its time, the event's message comes again: nobody is called twice."""
    async with heart_world(tmp_path) as world:
        gate = world.webhooks.hold("ep_1")
        event = sample_event()
        (accepted,) = await world.publish(event)
        await world.until_tried(1)
        await world.until_quiet()
        await world.database.write(
            lambda tx: world.ledger.send_again(tx, [event] * 3, Channel.WEBHOOK.value)
        )
        await world.pass_time(10 * SECOND)
        await world.until_quiet()
        gate.set()
        await world.until_states(delivered=1)
        assert len(world.webhooks.tries) == 1
        assert accepted.key


# --------------------------------------------------------------------------- one tenant, another


async def test_a_hung_tenant_holds_no_place_of_another(tmp_path: Path) -> None:
    """Twenty endpoints of one tenant that never answer, each with a backlog beyond its bound, do
    not keep another tenant's webhook waiting for a moment: time stands still here."""
    async with heart_world(tmp_path) as world:
        endpoints = [f"ep_hung_{number}" for number in range(20)]
        world.webhooks.targets = lambda event: Route(
            targets=tuple(endpoints) if event.tenant_id == "hung" else ("ep_ok",)
        )
        for endpoint in endpoints:
            world.webhooks.hold(endpoint)
        events = [
            sample_event(f"evt-{n}", tenant_id="hung") for n in range(BOUNDS[Channel.WEBHOOK])
        ]
        await world.publish(*events)
        await world.until(lambda: len(world.webhooks.tries) == TENANT_LIMIT)
        now = world.clock.now()
        await world.publish(*[sample_event(f"evt-{n}", tenant_id="other") for n in range(50)])
        await world.until(lambda: len(world.webhooks.tries_at("ep_ok")) == 50)
        assert world.clock.now() == now
        assert len(world.webhooks.tries) == TENANT_LIMIT + 50


# --------------------------------------------------------------------------- outages


@pytest.mark.fault("its database is away for ten minutes", "ourselves")
async def test_a_store_that_is_away_for_ten_minutes_loses_no_retry(tmp_path: Path) -> None:
    """Retries, outcomes and new events that meet a long outage all end once it is over, and nobody
    is called more often than the table says."""
    async with heart_world(tmp_path) as world:
        for number in range(20):
            world.webhooks.script(f"evt-{number}", REFUSED, TAKEN)
        await world.publish(*[sample_event(f"evt-{number}") for number in range(20)])
        await world.until_states(pending=20)
        await world.until_quiet()
        world.faulty.away()
        await world.publish(*[sample_event(f"evt-{number}") for number in range(20, 30)])
        for _ in range(600):
            await world.pass_time(SECOND)
        world.faulty.back()
        await world.live_until(lambda: world.states() == {"delivered": 30}, step=10 * SECOND)
        assert len(world.webhooks.tries) == 50
        assert world.dead() == []
        await world.until_quiet()
        assert world.audit().clean


async def test_a_customer_s_failure_is_no_dead_letter(tmp_path: Path) -> None:
    """Dead letters are for what the hub cannot handle: thousands of refusals leave none there."""
    async with heart_world(tmp_path, channels=ALL) as world:
        for channel in world.channels.values():
            channel.answer = REFUSED
        await world.publish(*[sample_event(f"evt-{number}") for number in range(10)])
        await world.live_until(lambda: world.states() == {"exhausted": 30}, step=30 * MINUTE)
        assert world.dead() == []


# --------------------------------------------------------------------------- mails


async def test_events_of_one_second_are_a_mail_each_and_none_is_doubled(tmp_path: Path) -> None:
    """Five events within a moment, each published twice at once, are five mails."""
    async with hub_world(tmp_path) as world:
        tenant = await world.tenant("acme")
        made = await world.http.put(
            "/v1/users/ada", json={"email": "ada@example.com"}, headers=tenant
        )
        assert made.status_code in (200, 201), made.text
        example = next(
            t.example for t in world.hub.catalogue.types() if t.name == "payment.received"
        )
        events = [
            {**example, "id": f"paid-{number}", "tenantid": "acme", "userid": "ada"}
            for number in range(5)
        ]
        await asyncio.gather(
            *(world.http.post("/v1/events", json=events, headers=tenant) for _ in range(2))
        )

        async def routed() -> bool:
            views = [await world.hub.queries.event("acme", each["id"]) for each in events]
            return all(view is not None and view.routed for view in views)

        await until(routed, "five events to be routed")
        files = list((tmp_path / "mail").glob("*.eml"))
        mails = [
            email.message_from_bytes(f.read_bytes(), policy=email.policy.default) for f in files
        ]
        assert len(mails) == 5
        assert len({mail["Message-ID"] for mail in mails}) == 5
        assert {mail["To"].addresses[0].addr_spec for mail in mails} == {"ada@example.com"}


# --------------------------------------------------------------------------- watching


async def test_metrics_ask_nothing_of_the_database(tmp_path: Path) -> None:
    """Whoever scrapes every few seconds costs the hub no query, however many deliveries it has."""
    async with hub_world(tmp_path) as world:
        await world.hub.hub.publish([document()], tenant_id="acme")
        seen: list[str] = []

        def see(_c: object, _cursor: object, text: str, *_rest: object) -> None:
            seen.append(text)

        async def scraped() -> bool:
            """No statement while it is scraped; other work may come between, so more than once."""
            seen.clear()
            answer = await world.http.get("/metrics")
            assert answer.status_code == 200
            return not seen

        sa.event.listen(sa.Engine, "before_cursor_execute", see)
        try:
            await until(scraped, "a scrape without a statement")
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", see)
