"""`huntaze webhooks verify`: does a receiver accept what it should, and nothing else?"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

import click
import orjson
from yarl import URL

from notifications.catalogue import EventType
from notifications.channels.webhooks.signatures import (
    SignatureError,
    new_secret,
    private_key_text,
    public_key_text,
    read_private_key,
    read_secret,
    secret_text,
)
from notifications.cli.access import read_settings
from notifications.cli.looks import terminal
from notifications.cli.webhook_checks import Checks, Keys
from notifications.cli.webhook_report import likely_cause, show
from notifications.cli.webhook_verifier import Judged, Verdict
from notifications.cli.webhook_verifier import verify as send_checks
from notifications.errors import ConfigurationError
from notifications.settings import Settings
from notifications.shipped import load_catalogue
from notifications.timing import SystemClock, SystemDice

_TENANT = "verify"


@click.command()
@click.argument("url")
@click.option("--secret", help="The secret that the receiver verifies v1 with: whsec_…")
@click.option(
    "--private-key",
    help="The private key whose public key the receiver verifies v1a with: whsk_…",
)
@click.option(
    "--type",
    "event_type",
    default="webhook.test",
    show_default=True,
    help="The type of the events that valid webhooks carry.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def verify(
    context: click.Context,
    url: str,
    secret: str | None,
    private_key: str | None,
    event_type: str,
    as_json: bool,
) -> None:
    """Check a receiver of yours: does it accept what it should, and nothing else?

    POSTs some thirty webhooks to URL, one after the other: valid, expired, forged, malformed and
    oversized ones. Valid ones carry an example, so a receiver acts on it as on any other. Takes
    any address, http and this machine among them, since you name it yourself; follows no redirect.

    Exits with 1 if the receiver accepts what it should refuse, or refuses what it should accept,
    and with 2 if nothing answers at URL.
    """
    settings = read_settings(context)
    _check_url(url)
    keys = _keys(secret, private_key)
    event = _event(_type(event_type))
    checks = Checks(keys, event, SystemClock().wall, SystemDice())
    judged = asyncio.run(_verify(url, checks, settings))
    if as_json:
        click.echo(orjson.dumps(_figures(url, judged), option=orjson.OPT_INDENT_2))
    else:
        show(terminal(), url, judged)
    if any(each.verdict is Verdict.WRONG for each in judged):
        context.exit(1)


def _check_url(text: str) -> None:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise click.BadParameter("an http or https URL", param_hint="URL")


def _keys(secret: str | None, private_key: str | None) -> Keys:
    if secret is None and private_key is None:
        fresh = new_secret(SystemDice())
        raise ConfigurationError(
            "give --secret, what the receiver verifies v1 with, or --private-key, for v1a.\n"
            f"a fresh secret to try with: {secret_text(fresh)}\n"
            f"a fresh private key: {private_key_text(fresh)}\n"
            f"its public key: {public_key_text(fresh)}"
        )
    try:
        return Keys(
            secret=None if secret is None else read_secret(secret),
            private_key=None if private_key is None else read_private_key(private_key),
        )
    except SignatureError as error:
        raise click.UsageError(str(error)) from error


def _type(name: str) -> EventType:
    known = {each.name: each for each in load_catalogue().types()}
    if name not in known:
        raise click.BadParameter(f"one of {', '.join(sorted(known))}", param_hint="--type")
    return known[name]


def _event(event_type: EventType) -> Mapping[str, Any]:
    now = SystemClock().wall().isoformat()
    return {**event_type.example, "tenantid": _TENANT, "time": now}


async def _verify(url: str, checks: Checks, settings: Settings) -> list[Judged]:
    tls = ssl.create_default_context()
    if settings.webhook_ca_file is not None:
        tls.load_verify_locations(cafile=settings.webhook_ca_file)
    return [
        judged
        async for judged in send_checks(url, checks, timeout=settings.webhook_timeout, tls=tls)
    ]


def _figures(url: str, judged: Sequence[Judged]) -> dict[str, Any]:
    return {
        "url": url,
        "passed": all(each.verdict is not Verdict.WRONG for each in judged),
        "cause": likely_cause(judged) or None,
        "checks": [
            {
                "sent": each.check.name,
                "expected": "accepted" if each.check.accept else "refused",
                "status": each.answer.status,
                "problem": each.answer.problem or None,
                "durationMs": each.answer.duration_ms,
                "verdict": each.verdict.value,
                "why": each.why or None,
            }
            for each in judged
        ],
    }
