"""A whole hub that mails over SMTP: encrypted, signed in, and what it says when that fails."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.hub_process import HubProcess, run_huntaze
from tests.mail_servers import MailServer, eventually, mail_server
from tests.webhook_receivers import Certificate, self_signed

PASSWORD = "se/same%open"
CODED = "se%2Fsame%25open"


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """A certificate for localhost."""
    return self_signed(tmp_path)


@pytest.fixture(params=[True, False], ids=["smtps", "starttls"])
async def server(
    request: pytest.FixtureRequest, certificate: Certificate
) -> AsyncIterator[MailServer]:
    """A mail server that lets `hub` in."""
    tls = certificate.server_context()
    async with mail_server(tls=tls, implicit=request.param, accounts={"hub": PASSWORD}) as server:
        yield server


def settings_of(server: MailServer, certificate: Certificate) -> dict[str, str]:
    """The hub's settings for that server."""
    scheme, option = ("smtps", "") if server.implicit else ("smtp", "&starttls=required")
    where = f"{scheme}://hub:{CODED}@localhost:{server.port}?ca={certificate.path}{option}"
    return {
        "HUNTAZE_EMAIL": "smtp",
        "HUNTAZE_EMAIL_FROM": "Huntaze <notify@huntaze.example>",
        "HUNTAZE_SMTP_URL": where,
        "HUNTAZE_LOG": "error",
    }


def publish(hub: HubProcess, event_id: str) -> dict[str, str]:
    """Publish an event that is mailed; the tenant's headers."""
    tenant = hub.tenant_headers("acme")
    httpx.put(
        f"{hub.url}/v1/users/ada", json={"email": "ada@example.com"}, headers=tenant
    ).raise_for_status()
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/shop",
        "type": "payment.received",
        "userid": "ada",
        "data": {"amount": 4200, "currency": "EUR", "payer": {"name": "Sample Fan"}},
    }
    httpx.post(f"{hub.url}/v1/events", json=event, headers=tenant).raise_for_status()
    return tenant


def mailed(hub: HubProcess, event_id: str, tenant: dict[str, str]) -> dict[str, Any]:
    """The event's delivery by mail."""
    event = httpx.get(f"{hub.url}/v1/events/{event_id}", headers=tenant).json()
    (found,) = [each for each in event["deliveries"] if each["channel"] == "email"]
    return dict(found)


async def test_a_hub_mails_over_smtp(
    server: MailServer, certificate: Certificate, tmp_path: Path
) -> None:
    """The event's mail arrives encrypted, from the account, under its delivery's id."""
    hub = HubProcess(tmp_path / "data", settings_of(server, certificate))
    await asyncio.to_thread(hub.start)
    try:
        tenant = await asyncio.to_thread(publish, hub, "order-1")
        await eventually(lambda: server.mails, within_s=20)
        (arrived,) = server.mails
        delivery = await asyncio.to_thread(mailed, hub, "order-1", tenant)
        looked = await asyncio.to_thread(
            run_huntaze,
            ["doctor", "--data", str(hub.data)],
            settings_of(server, certificate),
        )
    finally:
        await asyncio.to_thread(hub.stop)
    assert (arrived.user, arrived.encrypted) == ("hub", True)
    assert arrived.recipients == ("ada@example.com",)
    assert f"Message-ID: <{delivery['id']}@huntaze.example>".encode() in arrived.content
    assert not (hub.data / "mail").exists()
    (line,) = [each for each in looked.stdout.splitlines() if "  mail  " in each]
    assert line.startswith("✓")
    assert f"hub@localhost:{server.port} answers: TLSv1." in line
    assert "signed in" in line
    assert "same" not in looked.stdout + looked.stderr
    assert len(server.mails) == 1


@pytest.mark.fault("is a mail server that refuses our password", "receivers")
async def test_a_password_that_is_refused_exhausts_nobody(
    certificate: Certificate, tmp_path: Path
) -> None:
    """Mails wait without an attempt, the hub says so, and they go out once it is mended."""
    async with mail_server(
        tls=certificate.server_context(), implicit=True, accounts={"hub": "another"}
    ) as server:
        settings = settings_of(server, certificate)
        hub = HubProcess(tmp_path / "data", settings)
        await asyncio.to_thread(hub.start)
        try:
            tenant = await asyncio.to_thread(publish, hub, "order-1")
            await eventually(lambda: server.attempts, within_s=20)

            def degraded() -> Any:
                return httpx.get(f"{hub.url}/readyz").raise_for_status().json()["degraded"]

            async with asyncio.timeout(20):
                while await asyncio.to_thread(degraded) != {"email": "smtp-535"}:
                    await asyncio.sleep(0.05)
            metrics = (await asyncio.to_thread(httpx.get, f"{hub.url}/metrics")).text
            assert 'huntaze_degraded{part="email",reason="smtp-535"} 1' in metrics
            waits = await asyncio.to_thread(mailed, hub, "order-1", tenant)
            assert (waits["state"], waits["attempts"]) == ("pending", [])
            looked = await asyncio.to_thread(
                run_huntaze, ["doctor", "--data", str(hub.data)], settings
            )
            assert looked.returncode == 1
            assert "the mail server refuses the sign-in: 535" in looked.stdout
            assert "check user name and password in HUNTAZE_SMTP_URL" in looked.stdout
            assert "is ready (process" in looked.stdout
            assert "but for email (smtp-535)" in looked.stdout

            server.accounts["hub"] = PASSWORD
            await eventually(lambda: server.mails, within_s=30)
            async with asyncio.timeout(20):
                done = waits
                while done["state"] == "pending":
                    done = await asyncio.to_thread(mailed, hub, "order-1", tenant)
            assert (done["state"], len(done["attempts"])) == ("delivered", 1)
            assert await asyncio.to_thread(degraded) == {}
        finally:
            await asyncio.to_thread(hub.stop)
    assert len(server.mails) == 1


@pytest.mark.parametrize("reachable", [True, False])
async def test_the_doctor_tries_the_server_and_sends_nothing(
    tmp_path: Path, reachable: bool
) -> None:
    """It says what the server offers, or what is wrong and what to do; no mail is sent."""
    async with mail_server() as server:
        url = f"smtp://127.0.0.1:{server.port if reachable else 9}"
        looked = await asyncio.to_thread(
            run_huntaze,
            ["doctor", "--data", str(tmp_path)],
            {"HUNTAZE_EMAIL": "smtp", "HUNTAZE_SMTP_URL": url},
        )
    assert looked.returncode == (0 if reachable else 1), looked.stdout
    said = "answers: unencrypted, no sign-in asked for" if reachable else "no connection: "
    assert said in looked.stdout
    assert server.mails == []
    assert server.accepted == int(reachable)
