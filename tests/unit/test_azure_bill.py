"""`huntaze cost`: the bill from dated prices, beside the budget."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from notifications.cli.azure_bill import Bill, Use, bill
from notifications.cli.azure_prices import NAMES, SHIPPED, read_prices
from notifications.cli.host import Host
from notifications.cli.main import huntaze
from notifications.errors import ConfigurationError

ROOT = Path(__file__).parents[2]
PRICES = read_prices()


def of(component: str, found: Bill) -> Decimal:
    """The dollars of one component."""
    return next(row.usd for row in found.rows if row.component == component)


def run(*arguments: str) -> str:
    """What the command prints."""
    result = CliRunner().invoke(huntaze, ["cost", *arguments], obj=Host(variables={}))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def test_the_workers_of_a_beta_cost_what_the_budget_says():
    """EP1 146.88 and Service Bus 10: 156.88, as Huntaze's budget has it."""
    found = bill(Use(users=50, events=1_000, jobs=250), PRICES)
    assert of("Functions", found) == Decimal("146.88")
    assert of("Service Bus", found) == Decimal("10.00")
    assert found.workers == Decimal(PRICES.budget["workers"])


def test_production_is_within_the_budget():
    """500 users with their usual events and jobs stay well below 1,300 dollars."""
    events, jobs = PRICES.usual(500)
    assert bill(Use(users=500, events=events, jobs=jobs), PRICES).total < Decimal(650)


def test_the_models_cost_tokens_times_prices():
    """Ten jobs of each share, reckoned by hand."""
    found = bill(Use(users=1, events=0, jobs=100), PRICES)
    video = 300 * (20_000 * Decimal("0.08") + 1_500 * Decimal("0.32"))
    chat = 1_800 * (1_500 * Decimal("0.075") + 300 * Decimal("0.30"))
    ideas = 600 * (2_000 * Decimal("0.19") + 1_200 * Decimal("0.51"))
    figures = 300 * (4_000 * Decimal("0.19") + 1_000 * Decimal("0.51"))
    expected = (video + chat + ideas + figures) / 1_000_000
    assert of("AI models", found) == expected.quantize(Decimal("0.01"))


def test_operations_beyond_those_included_are_paid_for():
    """13 million a month are in Service Bus's base; the next million costs 80 cents."""
    events = (13_000_000 + 1_000_000) // 9 // 30 + 1
    found = bill(Use(users=1, events=events, jobs=0), PRICES)
    assert of("Service Bus", found) == Decimal("10.80")


def test_more_of_anything_never_costs_less():
    """Users, events and jobs: each raises the bill or leaves it."""
    small, base = {"users": 90, "events": 1_000, "jobs": 100}, Decimal(0)
    for _ in range(8):
        for name in small:
            small = {**small, name: small[name] * 3}
            total = bill(Use(**small), PRICES).total
            assert total >= base
            base = total


@pytest.mark.parametrize(("name", "users"), [("beta", 50), ("production", 500)])
def test_what_is_reckoned_is_what_is_deployed(name: str, users: int):
    """Server, its disk, plan and units of the parameter files are those on the bill."""
    document = json.loads((ROOT / "infra" / f"{name}.parameters.json").read_text())
    given = {key: each["value"] for key, each in document["parameters"].items()}
    events, jobs = PRICES.usual(users)
    found = bill(Use(users=users, events=events, jobs=jobs), PRICES)
    amounts = {row.component: row.amount for row in found.rows}
    size = given["databaseSku"].removeprefix("Standard_")
    assert amounts["PostgreSQL"] == f"{size}, {given['databaseStorageGb']} GB"
    assert (
        amounts["Functions"] == f"{given['planSku']}, {given['alwaysReadyInstances']} always there"
    )
    assert amounts["Web PubSub"] == f"{given['realtimeUnits']} of 1,000 connections"
    assert found.beyond == []


@pytest.mark.parametrize("hosting", ["premium", "flex"])
def test_the_most_that_may_be_asked_has_a_bill(hosting: str):
    """It is paid for as far as a service goes, and what goes beyond is said of each."""
    most = Use(users=1_000_000, events=100_000_000, jobs=100_000_000, hosting=hosting)
    found = bill(most, PRICES)
    assert found.total.is_finite()
    beyond = [each.split(":")[0] for each in found.beyond]
    assert beyond == ["Functions", "Service Bus", "Web PubSub", "PostgreSQL"][hosting == "flex" :]
    assert "600.0 thousand browsers at once" in next(row.beyond for row in found.rows[2:3])


def test_the_command_says_what_no_service_gives():
    """To people, and to programs."""
    asked = ("--users", "1000000", "--events-per-day", "100000000")
    assert "more than one service gives: Web PubSub: 600.0 thousand browsers" in run(*asked)
    assert len(json.loads(run(*asked, "--json"))["beyond"]) == 4


def test_flex_is_cheaper_where_little_is_asked():
    """That is what it is offered for."""
    use = {"users": 50, "events": 1_000, "jobs": 250}
    flex = bill(Use(**use, hosting="flex"), PRICES)
    assert of("Functions", flex) < Decimal(20)
    assert flex.total < bill(Use(**use), PRICES).total


def test_the_shares_of_jobs_are_a_whole():
    """Every job is of one type, and each type's model has a price."""
    jobs = PRICES.use["jobs"].values()
    assert sum(Decimal(each["share"]) for each in jobs) == 1
    assert {each["model"] for each in jobs} <= set(PRICES.tokens)
    assert set(PRICES.use["jobs"]) == {path.name for path in (ROOT / "schemas" / "jobs").iterdir()}


def test_tokens_cost_what_the_workers_reckon_with():
    """The bill and the jobs' own costs use one price for each model."""
    table = json.loads((ROOT / "ai_workers" / "models" / "prices.json").read_text())["models"]
    for model, (sent, received) in PRICES.tokens.items():
        newest = max(table[model], key=lambda row: row["since"])
        assert (float(sent), float(received)) == (newest["input"], newest["output"]), model


def test_every_price_has_a_day_and_a_source():
    """Nobody has to guess how old a price is, or where it is from."""
    for name, each in json.loads(SHIPPED.read_text())["prices"].items():
        assert date.fromisoformat(each["since"]), name
        assert each["source"], name
        assert each["per"], name
        assert Decimal(each["usd"]) > 0, name


def test_the_command_prints_components_total_and_budget():
    """One line each; the total is their sum."""
    out = run("--users", "500", "--events-per-day", "10000", "--jobs-per-day", "2500")
    lines = [line.split() for line in out.splitlines() if line and line[0].isalpha()]
    amounts = [Decimal(words[-1]) for words in lines if words[0] not in ("total", "of")]
    total = next(Decimal(words[-1]) for words in lines if words[0] == "total")
    assert sum(amounts) == total
    assert "500 users, 10000 events and 2500 jobs a day" in out
    assert "of the 1300 a month" in out


def test_json_says_the_same():
    """For programs: components, total, and what was assumed."""
    found: dict[str, Any] = json.loads(run("--users", "100", "--json"))
    assert (found["eventsPerDay"], found["jobsPerDay"]) == (2000, 500)
    assert sum(each["usd"] for each in found["components"]) == pytest.approx(found["totalUsd"])
    assert found["workersUsd"] == 156.88


def test_the_page_has_the_table_that_the_command_reckons():
    """`docs/azure.md` shows what a month costs; it is what these prices come to."""
    page = (ROOT / "docs" / "azure.md").read_text()
    columns = [(50, "flex"), *((users, "premium") for users in (50, 100, 500, 5_000))]
    bills = []
    for users, hosting in columns:
        events, jobs = PRICES.usual(users)
        bills.append(bill(Use(users=users, events=events, jobs=jobs, hosting=hosting), PRICES))
    for number, row in enumerate(bills[0].rows):
        figures = " | ".join(str(each.rows[number].usd) for each in bills)
        assert f"| {row.component} | {figures} |" in page
    totals = " | ".join(f"**{each.total}**" for each in bills)
    assert f"| **total** | {totals} |" in page
    low, high = (Decimal(each) for each in PRICES.budget["aws"])
    beta, production = bills[1].total, bills[3].total
    assert f"{beta + low}-{beta + high}, and 500 to {production + low}-{production + high}" in page


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{}", "prices: Field required"),
        ("[", "the file: Invalid JSON"),
        ("[" * 100_000, "the file: Invalid JSON"),
        (b"\xff", "the file: Invalid JSON"),
        ('{"prices": {"x": {"usd": "much", "since": "2026-01-01"}}}', "prices/x/usd: "),
        ('{"prices": []}', "prices: Input should be"),
        (" " * 1_000_001, "no more than 1000000 B"),
    ],
)
def test_a_wrong_file_of_prices_is_named(text: str | bytes | None, words: str, tmp_path: Path):
    """The message has the file and what is wrong with it."""
    path = tmp_path / "mine.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=words) as told:
        read_prices(path)
    assert str(path) in str(told.value)
    result = CliRunner().invoke(huntaze, ["cost", "--prices", str(path)], obj=Host(variables={}))
    assert result.exit_code == 2


def changed(place: str, value: Any) -> str:
    """The shipped file with one value in another's place; without it where it is None."""
    document = json.loads(SHIPPED.read_text())
    *above, last = place.split("/")
    inside = document
    for name in above:
        inside = inside[name]
    if value is None:
        del inside[last]
    else:
        inside[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((f"prices/{name}", None) for name in NAMES),
        *((f"use/{name}", None) for name in PRICES.use),
        ("tokens/models/Phi-4-mini-instruct", None),
        ("prices/realtime.unit/usd", "-1"),
        ("prices/realtime.unit/usd", "NaN"),
        ("prices/realtime.unit/usd", "1e400"),
        ("prices/realtime.unit/since", "yesterday"),
        ("currency", "EUR"),
        ("use/eventsPerSecondAndInstance", 0),
        ("use/peakFactor", -1),
        ("use/connectedUsers", "1.5"),
        ("use/jobs/video.analysis/model", "None-1"),
        ("use/jobs/video.analysis/input", 10**9),
        ("budget/total", "0"),
        ("budget/aws", ["98"]),
        ("daysPerMonth", 0),
    ],
)
def test_a_file_that_would_not_make_a_bill_is_refused(place: str, value: Any, tmp_path: Path):
    """What is missing, negative or absurd is named by its place, before anything is reckoned."""
    path = tmp_path / "mine.json"
    path.write_text(changed(place, value))
    wanted = "None-1" if value == "None-1" else place
    with pytest.raises(ConfigurationError, match=f"mine.json: .*{wanted}") as told:
        read_prices(path)
    assert "\n" not in str(told.value)


def test_shares_of_jobs_that_are_no_whole_are_refused(tmp_path: Path):
    """Else the models' bill would be wrong without a word."""
    path = tmp_path / "mine.json"
    path.write_text(changed("use/jobs/chat.suggest/share", "0.9"))
    with pytest.raises(ConfigurationError, match=r"shares of jobs add up to 1\.3"):
        read_prices(path)
