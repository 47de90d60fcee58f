"""`huntaze cost`: what the hub costs on Azure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from notifications.cli.access import read_settings
from notifications.cli.azure_bill import HOSTINGS, Bill, Use, bill
from notifications.cli.azure_prices import SHIPPED, Prices, read_prices

_MOST = 100_000_000


@click.command()
@click.option(
    "--users",
    type=click.IntRange(1, 1_000_000),
    default=50,
    show_default=True,
    help="People with an account.",
)
@click.option(
    "--events-per-day",
    type=click.IntRange(0, _MOST),
    help="Events of all users, those of jobs not counted.  [default: 20 for each user]",
)
@click.option(
    "--jobs-per-day",
    type=click.IntRange(0, _MOST),
    help="AI jobs of all users.  [default: 5 for each user]",
)
@click.option(
    "--hosting",
    type=click.Choice(HOSTINGS),
    default="premium",
    show_default=True,
    help="Always warm, or paid by the second.",
)
@click.option(
    "--prices",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file of prices in place of the one that is shipped.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def cost(
    context: click.Context,
    users: int,
    events_per_day: int | None,
    jobs_per_day: int | None,
    hosting: str,
    prices: Path | None,
    as_json: bool,
) -> None:
    """Say what the hub costs on Azure in a month, by component.

    Prices are list prices of one day, in a file that says where each is from; they are an
    estimate, and the bill is Azure's.
    """
    read_settings(context)
    known = read_prices(prices or SHIPPED)
    events, jobs = known.usual(users)
    use = Use(
        users=users,
        events=events if events_per_day is None else events_per_day,
        jobs=jobs if jobs_per_day is None else jobs_per_day,
        hosting=hosting,
    )
    found = bill(use, known)
    if as_json:
        click.echo(json.dumps(_document(found, use, known), indent=2))
        return
    click.echo("\n".join(_lines(found, use, known)))


def _lines(found: Bill, use: Use, prices: Prices) -> Sequence[str]:
    budget = prices.budget
    shares = (
        f"of the {budget['total']} a month: {found.total * 100 / budget['total']:.0f} %;"
        f" Functions and Service Bus {found.workers} where the budget has {budget['workers']}"
    )
    asked = f"{use.users} users, {use.events} events and {use.jobs} jobs a day, {use.hosting}"
    return [
        f"{asked}; USD a month, prices of {prices.since}",
        "",
        *(f"{row.component:<22}{row.amount:<36}{row.usd:>10}" for row in found.rows),
        f"{'total':<58}{found.total:>10}",
        "",
        shares,
        *(f"more than one service gives: {each}" for each in found.beyond),
    ]


def _document(found: Bill, use: Use, prices: Prices) -> dict[str, Any]:
    return {
        "users": use.users,
        "eventsPerDay": use.events,
        "jobsPerDay": use.jobs,
        "hosting": use.hosting,
        "pricesSince": prices.since,
        "components": [
            {"component": row.component, "amount": row.amount, "usd": float(row.usd)}
            for row in found.rows
        ],
        "totalUsd": float(found.total),
        "workersUsd": float(found.workers),
        "beyond": list(found.beyond),
        "budgetUsd": float(prices.budget["total"]),
    }
