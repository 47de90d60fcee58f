"""The address guard where connections are made: nothing is connected to that it refuses."""

import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import ip_network

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from notifications.addresses import Network
from notifications.channels.webhooks.sender import WebhookSender
from notifications.deliveries import Delivered, Failed, Outcome
from tests.webhook_addresses import ALL_REFUSED_HOSTS
from tests.webhook_receivers import answer, receiver
from tests.webhook_worlds import LOOPBACK, SetClock

HERE: tuple[Network, ...] = (ip_network("127.0.0.1/32"),)
BODY = b"{}"


@dataclass(slots=True)
class Names(AbstractResolver):
    """Answers lookups from a list, one answer after the other, the last one again and again."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(host)
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in addresses
        ]

    async def close(self) -> None:
        pass


_watching: list[list[str]] = []


def _audit(event: str, arguments: tuple) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        for seen in _watching:
            seen.append(arguments[1][0])


sys.addaudithook(_audit)


@pytest.fixture
def connected() -> Iterator[list[str]]:
    """Every address that this process connects a socket to, as the interpreter reports it."""
    seen: list[str] = []
    _watching.append(seen)
    yield seen
    _watching.remove(seen)


async def post(url: str, *names: list[str], allowed: tuple[Network, ...] = ()) -> Outcome:
    resolver = Names(list(names)) if names else None
    async with WebhookSender(
        clock=SetClock(), allowed=allowed, timeout=5.0, resolver=resolver
    ) as sends:
        return await sends.post(url, {}, BODY)


def refused(outcome: Outcome) -> bool:
    return isinstance(outcome, Failed) and (outcome.reason, outcome.retryable) == (
        "address-not-allowed",
        False,
    )


@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.fault("spell an address inside in over a hundred ways", "attackers")
async def test_no_spelling_of_a_refused_address_is_connected_to(
    scheme: str, connected: list[str]
) -> None:
    """Of over a hundred spellings each is refused for good, and no socket is connected at all."""
    async with receiver() as target, WebhookSender(clock=SetClock()) as sends:
        for host in ALL_REFUSED_HOSTS:
            outcome = await sends.post(f"{scheme}://{host}:{target.port}/", {}, BODY)
            assert refused(outcome), (host, outcome)
        assert sends.open_connections == 0
    assert (target.accepted, connected) == (0, [])


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST"])
async def test_name_of_this_machine_is_refused(name: str, connected: list[str]) -> None:
    """A name that resolves to loopback is refused where the connection would be made."""
    async with receiver() as target:
        assert refused(await post(f"https://{name}:{target.port}/"))
    assert (target.accepted, connected) == (0, [])


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "fe80::1%1"]
)
@pytest.mark.fault("own a name that leads inside", "attackers")
async def test_name_that_leads_inside_is_refused(address: str, connected: list[str]) -> None:
    """What DNS answers is judged like a literal, and the answer is not shown to the customer."""
    async with receiver() as target:
        outcome = await post(f"https://hooks.example:{target.port}/", [address])
    assert refused(outcome)
    assert address not in (outcome.detail or "")
    assert (target.accepted, connected) == (0, [])


@pytest.mark.fault("change what a name says between check and connection", "attackers")
async def test_rebinding_is_refused(connected: list[str]) -> None:
    """A name that was good and leads inside at the next lookup is refused then."""
    resolver = Names([["127.0.0.1"], ["127.0.0.2"]])
    async with receiver(answer(), host="0.0.0.0") as target:
        url, outcomes = f"http://hooks.example:{target.port}/", []
        for _ in range(2):
            async with WebhookSender(
                clock=SetClock(), allowed=HERE, timeout=5.0, resolver=resolver
            ) as sends:
                outcomes.append(await sends.post(url, {}, BODY))
    assert resolver.asked == ["hooks.example"] * 2
    assert outcomes[0] == Delivered(status=200)
    assert refused(outcomes[1])
    assert (target.accepted, connected) == (1, ["127.0.0.1"])


@pytest.mark.fault("change what a name says between check and connection", "attackers")
async def test_connection_goes_to_the_address_that_was_checked(connected: list[str]) -> None:
    """Between check and connection no second lookup is made that could answer otherwise."""
    resolver = Names([["127.0.0.1"], ["127.0.0.2"]])
    async with (
        receiver(answer(), host="0.0.0.0") as target,
        WebhookSender(clock=SetClock(), allowed=HERE, resolver=resolver) as sends,
    ):
        await sends.post(f"http://hooks.example:{target.port}/", {}, BODY)
    assert (resolver.asked, connected) == (["hooks.example"], ["127.0.0.1"])


@pytest.mark.parametrize("answers", [["127.0.0.2", "127.0.0.1"], ["::1", "10.0.0.1", "127.0.0.1"]])
async def test_of_several_addresses_only_good_ones_are_tried(
    answers: list[str], connected: list[str]
) -> None:
    """A name with good and bad addresses is reached at the good one alone."""
    async with receiver(answer(), host="0.0.0.0") as target:
        outcome = await post(f"http://hooks.example:{target.port}/", answers, allowed=HERE)
    assert outcome == Delivered(status=200)
    assert set(connected) == {"127.0.0.1"}


async def test_good_address_that_does_not_answer_is_no_refusal(connected: list[str]) -> None:
    """Where a good address was tried in vain, the failure is the connection's and is retried."""
    async with receiver() as target:
        closed = target.port
    outcome = await post(f"http://hooks.example:{closed}/", ["10.0.0.1", "127.0.0.1"], allowed=HERE)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("connection", True)
    assert set(connected) == {"127.0.0.1"}


@pytest.mark.parametrize("host", ["8.8.8.8", "hooks.example"])
async def test_http_goes_to_allowed_networks_alone(host: str, connected: list[str]) -> None:
    """Plain http to a public address is refused where the connection would be made."""
    outcome = await post(f"http://{host}/", ["8.8.8.8"], allowed=LOOPBACK)
    assert refused(outcome)
    assert "https" in (outcome.detail or "")
    assert connected == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"])
async def test_allowed_networks_are_reached(host: str) -> None:
    """In an allowed network a receiver is reached, by name and by any notation of its address."""
    async with receiver() as target:
        outcome = await post(f"http://{host}:{target.port}/", allowed=LOOPBACK)
    assert outcome == Delivered(status=200)
    assert target.accepted == 1


@pytest.mark.fault("has a name that does not exist", "receivers")
async def test_name_without_address_is_a_dns_failure() -> None:
    """A lookup that finds no address is a DNS failure, which is retried."""

    class Nothing(Names):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            raise OSError("no address")

    async with WebhookSender(clock=SetClock(), resolver=Nothing([])) as sends:
        outcome = await sends.post("https://hooks.example/", {}, BODY)
    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.retryable) == ("dns", True)
