"""Bad keys, tokens, queries and endpoint URLs: each row is a problem that says what and where.

Bodies of users, keys, tenants, jobs and endpoints are in `test_http_users`, `test_http_tenants`,
`test_http_jobs` and `test_http_endpoints`; addresses as they are connected to, in
`test_webhook_address_guard`.
"""

import base64
import itertools
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import jwt
import orjson
import pytest
import pytest_asyncio

from tests.bad_input import Row, assert_goes_on, assert_refused, send
from tests.heart_world import STORES
from tests.hub_world import ADMIN_KEY, SECRETS, World, bearer, hub_world, on
from tests.webhook_addresses import ALL_REFUSED_HOSTS

pytestmark = pytest.mark.asyncio(loop_scope="module")

EVENTS = "/v1/events"
ENDPOINTS = "/v1/webhook-endpoints"
_numbers = itertools.count()


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=STORES)
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    """One hub on each database for all rows; its webhooks go to public addresses alone."""
    folder = tmp_path_factory.mktemp("hub")
    async with hub_world(folder, webhook_allowed_networks=(), **on(request.param)) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def goes_on(world: World) -> AsyncIterator[None]:
    """After each, the hub accepts a good event."""
    yield
    await assert_goes_on(world, f"good-{next(_numbers)}")


# --------------------------------------------------------------------------- keys


def keyless(name: str, word: str, *, path: str = EVENTS, **headers: str) -> Row:
    """A call without a right key in its place."""
    sent: dict[str, str | None] = {"authorization": None, **headers}
    return Row(name=name, method="GET", path=path, headers=sent, status=401, word=word)


NO_KEY, UNKNOWN = "Authorization: Bearer", "not known"
KEYS = [
    keyless("none", NO_KEY),
    keyless("empty", NO_KEY, authorization=""),
    keyless("the scheme alone", NO_KEY, authorization="Bearer"),
    keyless("blanks", NO_KEY, authorization="Bearer   "),
    keyless("without a scheme", NO_KEY, authorization=ADMIN_KEY),
    keyless("another scheme", NO_KEY, authorization=f"Basic {ADMIN_KEY}"),
    keyless("two schemes", UNKNOWN, authorization=f"Bearer Bearer {ADMIN_KEY}"),
    keyless("unknown", UNKNOWN, authorization="Bearer hz_nothing-that-was-ever-made"),
    keyless("nearly right", UNKNOWN, authorization=f"Bearer {ADMIN_KEY[:-1]}"),
    keyless("in capitals", UNKNOWN, authorization=f"Bearer {ADMIN_KEY.upper()}"),
    keyless("quoted", UNKNOWN, authorization=f'Bearer "{ADMIN_KEY}"'),
    keyless("two, with a comma", UNKNOWN, authorization=f"Bearer {ADMIN_KEY}, Bearer x"),
    keyless("huge", UNKNOWN, authorization="Bearer " + "x" * 50_000),
    keyless("in another header", NO_KEY, **{"x-api-key": ADMIN_KEY}),
    keyless("in a cookie", NO_KEY, cookie=f"authorization=Bearer {ADMIN_KEY}"),
    keyless("in the query", NO_KEY, path=f"{EVENTS}?key={ADMIN_KEY}"),
    keyless("in the query, as a token", NO_KEY, path=f"{EVENTS}?access_token={ADMIN_KEY}"),
]


@pytest.mark.parametrize("row", KEYS, ids=lambda row: row.name)
async def test_without_a_right_key_in_its_place_nothing_opens(world: World, row: Row) -> None:
    """401 with a challenge, and nothing of the key is repeated."""
    answer = await send(world, row)

    assert_refused(answer, row)
    assert answer.headers["www-authenticate"].startswith('Bearer realm="huntaze"')
    assert ADMIN_KEY not in answer.text


# --------------------------------------------------------------------------- user tokens

SECRET = SECRETS.user_token_secrets[0]


def claims(**changes: Any) -> dict[str, Any]:
    """Right claims, but for what is changed; None takes one away."""
    exp = datetime.now(UTC) + timedelta(hours=1)
    whole = {"sub": "ada", "tid": "acme", "exp": int(exp.timestamp()), **changes}
    return {name: value for name, value in whole.items() if value is not None}


def signed(secret: str = SECRET, **changes: Any) -> str:
    """A token with right claims, but for what is changed."""
    return jwt.encode(claims(**changes), secret, algorithm="HS256")


def part(document: Mapping[str, Any]) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(orjson.dumps(document)).decode().rstrip("=")


def unsigned(algorithm: str, signature: str = "") -> str:
    """A token that says of itself how it is signed."""
    return f"{part({'alg': algorithm, 'typ': 'JWT'})}.{part(claims())}.{signature}"


NOW = int(datetime.now(UTC).timestamp())
HEADER, PAYLOAD, SIGNATURE = signed().split(".")
TOKENS: list[tuple[str, str, str]] = [
    ("alg none", unsigned("none"), "not a token of this hub"),
    ("alg None", unsigned("None"), "not a token of this hub"),
    ("alg none, with a signature", unsigned("none", SIGNATURE), "not a token of this hub"),
    ("alg HS512", unsigned("HS512", SIGNATURE), "not a token of this hub"),
    ("alg RS256", unsigned("RS256", SIGNATURE), "not a token of this hub"),
    ("no signature", f"{HEADER}.{PAYLOAD}.", "signed by somebody else"),
    ("another payload", f"{HEADER}.{part(claims(sub='bob'))}.{SIGNATURE}", "somebody else"),
    ("another secret", signed("x" * 32), "signed by somebody else"),
    ("an API key for a secret", signed(ADMIN_KEY), "signed by somebody else"),
    ("expired", signed(exp=NOW - 1), "has expired"),
    ("no expiry", signed(exp=None), "`exp` is required"),
    ("an expiry in years", signed(exp=NOW + 10**9), "more than 24 hours"),
    ("an expiry that is a text", f"{HEADER}.{part(claims(exp='tomorrow'))}.x", "this hub"),
    ("not yet valid", signed(nbf=NOW + 3_000), "not valid yet"),
    ("no tenant", signed(tid=None), "names no user of a tenant"),
    ("no user", signed(sub=None), "names no user of a tenant"),
    ("a user with a line break", signed(sub="a\nb"), "names no user of a tenant"),
    ("a tenant that is a path", signed(tid="../other"), "names no user of a tenant"),
    (
        "an audience",
        signed(aud="https://hub.example/client/hubs/huntaze"),
        "meant for something else",
    ),
    ("a header that is no JSON", f"e30x.{PAYLOAD}.{SIGNATURE}", "not a token of this hub"),
    ("huge", signed(note="x" * 9_000), "not a token"),
]


@pytest.mark.parametrize(
    ("token", "word"), [each[1:] for each in TOKENS], ids=[each[0] for each in TOKENS]
)
async def test_a_token_that_is_not_quite_right_opens_nothing(
    world: World, token: str, word: str
) -> None:
    """401 that says why, and repeats nothing of the token."""
    row = Row(
        name="",
        method="GET",
        path="/v1/inbox",
        headers=bearer(token),
        status=401,
        word=word,
    )

    answer = await send(world, row)

    assert_refused(answer, row)
    assert token not in answer.text


async def test_a_right_token_opens_its_users_inbox(world: World) -> None:
    """The same token, unchanged, is taken: so each row above is refused for what it changes."""
    row = Row(
        name="", method="GET", path="/v1/inbox", headers=bearer(signed()), status=200, word=""
    )

    assert (await send(world, row)).status_code == 200


async def test_a_token_of_another_tenants_user_finds_nothing_here(world: World) -> None:
    """A right token of another tenant with the same user id does not reach this one's."""
    row = Row(
        name="",
        method="GET",
        path="/v1/inbox?tenantId=acme",
        headers=bearer(signed(tid="other")),
        status=404,
        word="no such tenant",
    )

    assert_refused(await send(world, row), row)


# --------------------------------------------------------------------------- queries


def asked(query: str, word: str, path: str = EVENTS) -> Row:
    """A list with a bad query."""
    name = f"{path}?{query}"
    return Row(name=name[:60], method="GET", path=name, status=422, pointer="", word=word)


INBOX = "/v1/inbox?userId=ada&"
DELIVERIES = "/v1/deliveries"
FIGURES = "/v1/metrics/jobs"
OTHER_CURSOR = base64.urlsafe_b64encode(b"d12").decode().rstrip("=")
QUERIES = [
    asked("limit=0", "limit"),
    asked("limit=201", "limit"),
    asked("limit=-1", "limit"),
    asked("limit=", "limit"),
    asked("limit=ten", "limit"),
    asked("limit=1.5", "limit"),
    asked("limit=0x10", "limit"),
    asked("limit=1e2", "limit"),
    asked("limit=" + "9" * 400, "limit"),
    asked("limit=%D9%A3", "limit"),
    asked("limit=10&limit=20", "limit is there 2 times"),
    asked("limit[]=10", "did you mean limit?"),
    asked("Limit=10", "did you mean limit?"),
    asked("userid=ada", "did you mean userId?"),
    asked("page=2", "there is no query parameter 'page'"),
    asked("%00=1", "there is no query parameter"),
    asked("x" * 9_000 + "=1", "there is no query parameter"),
    asked("=", "there is no query parameter"),
    asked("cursor=", "cursor"),
    asked("cursor=nonsense", "cursor"),
    asked("cursor=%00", "cursor"),
    asked("cursor=" + "A" * 300, "cursor"),
    asked(f"cursor={OTHER_CURSOR}", "not one of this list's"),
    asked("cursor=" + base64.urlsafe_b64encode(b"e" + b"9" * 19).decode(), "cursor"),
    asked("cursor=" + base64.urlsafe_b64encode(b"e-1").decode(), "cursor"),
    asked("cursor=" + base64.urlsafe_b64encode(b"e1 OR 1=1").decode(), "cursor"),
    asked("userId=", "userId"),
    asked("userId=a%20b", "userId"),
    asked("userId=a%0d%0ab", "userId"),
    asked("userId=" + "u" * 129, "userId"),
    asked("type=" + "t" * 65, "type"),
    asked("tenantId=a/b", "tenantId"),
    asked("tenantId=", "tenantId"),
    asked("tenantId=" + "t" * 37, "tenantId"),
    asked("tenantId=acme&tenantId=other", "tenantId is there 2 times"),
    asked("state=done", "state", DELIVERIES),
    asked("state=PENDING", "state", DELIVERIES),
    asked("channel=sms", "channel", DELIVERIES),
    asked("eventId=" + "x" * 129, "eventId", DELIVERIES),
    asked("endpointId=" + "x" * 129, "endpointId", DELIVERIES),
    asked("endpointId=%00", "endpointId", DELIVERIES),
    asked("eventId=a%00b", "eventId", DELIVERIES),
    asked("type=%00&userId=ada", "type"),
    asked("endpointId=%00", "endpointId", "/v1/replays"),
    asked("userId=ada&after=-1", "after", "/v1/inbox"),
    asked("userId=ada&after=9223372036854775808", "after", "/v1/inbox"),
    asked("userId=ada&after=now", "after", "/v1/inbox"),
    asked("userId=ada&state=seen", "state", "/v1/inbox"),
    asked("state=unread", "userId is required", "/v1/inbox"),
    asked("limit=1", "there is no query parameter", "/v1/event-types"),
    asked("tenantId=acme", "there is no query parameter", "/v1/tenants/acme"),
    asked("since=yesterday", "since", FIGURES),
    asked("since=2026-02-30", "must be a day such as 2026-03-01", FIGURES),
    asked("until=2026-3-1", "until", FIGURES),
    asked("until=20260301", "until", FIGURES),
    asked("day=2026-03-01", "there is no query parameter", FIGURES),
    asked("jobType=" + "t" * 65, "jobType", FIGURES),
]


@pytest.mark.parametrize("row", QUERIES, ids=lambda row: row.name)
async def test_a_query_that_is_not_right_is_refused(world: World, row: Row) -> None:
    """422 that names the parameter."""
    assert_refused(await send(world, row), row)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{EVENTS}/{{}}"),
        ("GET", f"{DELIVERIES}/{{}}"),
        ("POST", f"{DELIVERIES}/{{}}/retry"),
        ("GET", f"{ENDPOINTS}/{{}}"),
        ("POST", f"{ENDPOINTS}/{{}}/pause"),
        ("DELETE", f"{ENDPOINTS}/{{}}"),
        ("DELETE", "/v1/api-keys/{}"),
        ("GET", "/v1/users/{}"),
        ("GET", "/v1/tenants/{}"),
    ],
)
async def test_an_id_that_is_none_names_nothing(world: World, method: str, path: str) -> None:
    """404 for ids of every make, on every route that takes one."""
    for text in (
        "nothing",
        "\0",
        "a\n",
        "a\nb",
        "a b",
        "é",
        "' OR 1=1 --",
        "%",
        "x" * 500,
        "\u202e",
        "-1",
        "١",
    ):
        row = Row(
            name="",
            method=method,
            path=path.format(quote(text, safe="")),
            status=404,
            word="",
        )

        answer = await send(world, row)

        assert answer.status_code == 404, (text, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


# --------------------------------------------------------------------------- endpoint URLs


URLS = {
    "": "1-2048 characters",
    "example.com/hook": "must begin with https://",
    "//example.com/hook": "must begin with https://",
    "http://example.com/hook": "must begin with https://",
    "ftp://example.com/": "must begin with https://",
    "file:///etc/passwd": "must begin with https://",
    "javascript:alert(1)": "must begin with https://",
    "https://": "must name a host",
    "https:///hook": "host",
    "https://ada:secret@example.com/": "credentials",
    "https://ada@example.com/": "credentials",
    "https://@example.com/": "credentials",
    "https://example.com:0/": "port from 1 to 65535",
    "https://example.com:65536/": "port",
    "https://example.com:-1/": "port",
    "https://example.com:https/": "port",
    "https://example.com/a b": "spaces",
    "https://example.com\\@evil.example/": "backslashes",
    "https://example.com/\r\nx: y": "control characters",
    "https://example.com/\0": "control characters",
    "https://exa mple.com/": "spaces",
    "https://-example.com/": "host name",
    "https://example..com/": "host name",
    "https://[::1/": "valid URL",
    "https://999.1.1.1/": "neither a name nor an address",
    "https://example.com/" + "x" * 2_048: "2048",
}


def creating(url: str, word: str) -> Row:
    """An endpoint with this URL."""
    return Row(
        name=url[:40], path=ENDPOINTS, body={"url": url}, status=422, pointer="/url", word=word
    )


@pytest.mark.parametrize("row", [creating(*each) for each in URLS.items()], ids=lambda r: r.name)
async def test_an_endpoints_url_that_is_not_right_is_refused(world: World, row: Row) -> None:
    """422 that says what would be right."""
    assert_refused(await send(world, row), row)


@pytest.mark.fault("spell an address inside in over a hundred ways", "attackers")
async def test_no_notation_of_a_refused_address_makes_an_endpoint(world: World) -> None:
    """Decimal, octal, hexadecimal, short, mapped, translated, with a zone: 422 each."""
    for host in ALL_REFUSED_HOSTS:
        row = creating(f"https://{host}/hook", "")

        assert_refused(await send(world, row), row)

    listed = await world.http.get(ENDPOINTS, headers=dict(await world.tenant("acme")))
    assert listed.json()["items"] == []
