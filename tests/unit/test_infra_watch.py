"""What is watched on Azure: alerts, budget and workbook, and that they see what they say."""

import ast
import json
import re
from collections.abc import Iterator

import pytest

from notifications.messages import EVENTS_TOPIC
from notifications.retries import HOUR
from tests.bicep_files import INFRA, ROOT
from tests.infra_variants import made, parameters, variant

WORKBOOK = json.loads((INFRA / "workbook.json").read_text())
SOURCES = "\n".join(
    path.read_text()
    for folder in ("notifications", "ai_workers")
    for path in (ROOT / folder).rglob("*.py")
)
FAILING = (INFRA / "queries" / "failing.kql").read_text()
QUERIES = {
    each["name"]: each["content"]["query"] for each in WORKBOOK["items"] if each["type"] == 3
}


def test_alerts_are_about_what_they_say():
    """Metric, threshold, aggregation and window, each topic by itself; and whom they wake."""
    hub = made({**parameters("beta"), "backlogMessages": 123})
    people = hub.one("Microsoft.Insights/actionGroups")
    (owner,) = people.body["properties"]["emailReceivers"]
    assert owner["emailAddress"] == parameters("beta")["alertEmail"]
    assert people.body["properties"]["enabled"] is True
    found = {}
    for each in hub.all("Microsoft.Insights/metricAlerts"):
        properties = each.body["properties"]
        assert each.body["location"] == "global"
        assert " of the topic " in properties["description"]
        assert properties["scopes"][0].endswith(f"namespaces/{hub.outputs['serviceBusName']}")
        (action,) = properties["actions"]
        assert action["actionGroupId"].endswith(f"/actionGroups/{people.name}")
        assert properties["criteria"]["odata.type"] == (
            "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"
        )
        (rule,) = properties["criteria"]["allOf"]
        assert rule["metricNamespace"] == "Microsoft.ServiceBus/namespaces"
        assert rule["name"] in each.name
        assert rule["criterionType"] == "StaticThresholdCriterion"
        assert rule["dimensions"] == [
            {"name": "EntityName", "operator": "Include", "values": ["*"]}
        ], "an idle topic would hide what waits in the other"
        assert (properties["enabled"], properties["autoMitigate"]) == (True, True)
        said = ("metricName", "operator", "threshold", "timeAggregation")
        times = ("evaluationFrequency", "windowSize", "severity")
        found[each.symbol] = [rule[key] for key in said] + [properties[key] for key in times]
    assert found == {
        "deadLetters": ["DeadletteredMessages", "GreaterThan", 0, "Maximum", "PT5M", "PT5M", 1],
        "backlog": ["ActiveMessages", "GreaterThan", 123, "Minimum", "PT5M", "PT15M", 2],
        "waiting": ["ActiveMessages", "GreaterThan", 0, "Minimum", "PT5M", "PT1H", 2],
    }


def test_the_page_says_when_each_alert_of_the_bus_wakes_somebody():
    """Its rows have the numbers and times of the alerts, and the files' own counts."""
    page = (ROOT / "docs" / "azure.md").read_text()
    beta, production = (parameters(name)["backlogMessages"] for name in ("beta", "production"))
    counted, waiting = (
        variant("beta").one("Microsoft.Insights/metricAlerts", symbol).body["properties"]
        for symbol in ("backlog", "waiting")
    )
    assert counted["criteria"]["allOf"][0]["threshold"] == beta
    assert (counted["windowSize"], waiting["windowSize"]) == ("PT15M", "PT1H")
    assert (
        f"| backlog for 15 minutes | more than `backlogMessages` ({beta} in beta,"
        f" {production:,} in production) of a topic at every moment of 15 minutes:"
    ) in page
    assert "| waiting for an hour | for a whole hour, not a moment with none of a topic's" in page
    assert "at every moment of a quarter of an hour" in counted["description"]
    assert "For a whole hour there was no moment" in waiting["description"]


def test_the_alert_of_failures_says_what_its_query_counts():
    """Number and time of the query, of its window, of the text that people get, and of the page."""
    hub = variant("beta")
    rule = hub.one("Microsoft.Insights/scheduledQueryRules")
    properties = rule.body["properties"]
    (criterion,) = properties["criteria"]["allOf"]
    query = criterion.pop("query")
    assert query == FAILING
    (number,) = re.findall(r"failures >= (\d+)\s*$", query)
    assert "failures = count()" in query
    assert re.search(r"by tenant, channel, target$", query, re.MULTILINE)
    # A row for each target that failed so often: any row is one too many.
    assert criterion == {"timeAggregation": "Count", "operator": "GreaterThan", "threshold": 0}
    assert (properties["windowSize"], properties["evaluationFrequency"]) == ("PT30M", "PT15M")
    assert properties["description"].startswith(
        f"{number} failed attempts or more at one target of a tenant in half an hour: "
    )
    page = (ROOT / "docs" / "azure.md").read_text()
    assert re.search(rf"(?m)^\| deliveries fail \| {number} fail[^|]* in half an hour", page)
    assert properties["displayName"] == "Huntaze: deliveries fail"
    assert properties["scopes"][0].endswith(hub.outputs["workspaceId"])
    people = hub.one("Microsoft.Insights/actionGroups")
    assert [each.endswith(people.name) for each in properties["actions"]["actionGroups"]] == [True]
    assert (properties["enabled"], properties["autoMitigate"]) == (True, True)
    assert (properties["severity"], properties["skipQueryValidation"]) == (2, True)


def test_the_budget_warns_before_it_is_spent():
    """80 % of what is spent, 100 % of what is foreseen, of each month's, to the owner."""
    budget = variant("production").one("Microsoft.Consumption/budgets").body["properties"]
    assert (budget["category"], budget["timeGrain"]) == ("Cost", "Monthly")
    assert budget["amount"] == parameters("production")["monthlyBudgetUsd"]
    assert budget["timePeriod"] == {"startDate": "2026-11-01"}
    warnings = [
        (each["thresholdType"], each["threshold"], each["operator"], each["enabled"])
        for each in budget["notifications"].values()
    ]
    assert warnings == [
        ("Actual", 80, "GreaterThanOrEqualTo", True),
        ("Forecasted", 100, "GreaterThanOrEqualTo", True),
    ]
    for each in budget["notifications"].values():
        assert each["contactEmails"] == [parameters("production")["alertEmail"]]


# --------------------------------------------------------------------------- the workbook


def test_the_workbook_shows_what_is_to_be_watched():
    """Throughput, latency, dead letters and cost, each with a query or a metric."""
    items = WORKBOOK["items"]
    titles = " ".join(each["name"].lower() for each in items)
    for word in ("throughput", "latency", "dead letters", "ai cost", "wait"):
        assert word in titles
    assert all(each["content"].get("query") for each in items if each["type"] == 3)


def logged(package: str) -> dict[str, set[str]]:
    """Each record that a package logs, with the words of whoever logs it: its fields among them.

    Of the files that have one of `RECORDS` in them.

    What a record says of an event or a job it has from their `log_context`.
    """
    texts = [path.read_text() for path in (ROOT / package).rglob("*.py")]
    # To parse the others would take two seconds.
    wanted = ("def log_context(", *(f'"{each}"' for each in set().union(*RECORDS.values())))
    trees = [ast.parse(text) for text in texts if any(each in text for each in wanted)]
    functions = [
        each
        for tree in trees
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    words = {each: {*_words(each)} for each in functions}
    context = set[str]().union(*(words[each] for each in functions if each.name == "log_context"))
    found: dict[str, set[str]] = {}
    for function in functions:
        for call in ast.walk(function):
            if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("log."):
                said = call.args[0] if call.args else None
                if isinstance(said, ast.Constant):
                    found.setdefault(str(said.value), set()).update(words[function] | context)
    return found


def _words(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


ASKED = {**QUERIES, "the alert of failures": FAILING}
RECORDS = {
    # query that reads the log: the records that it is about
    "Failed attempts by channel and reason": {"delivery.failed"},
    "AI cost in dollars by day, job type and model": {"job.run_ended"},
    "the alert of failures": {"delivery.failed"},
}


@pytest.fixture(scope="module")
def records() -> dict[str, set[str]]:
    """What hub and workers log."""
    return logged("notifications") | logged("ai_workers")


@pytest.mark.parametrize("name", ASKED)
def test_a_query_asks_for_what_the_hub_logs(name: str, records: dict[str, set[str]]):
    """Each record that it names is logged, and with each of the fields that it names."""
    query = ASKED[name]
    asked = set(re.findall(r"\b[mM]essage == ['\"]([^'\"]+)", query))
    fields = set(re.findall(r"(?:customDimensions|Properties)\.(\w+)", query))
    assert asked == RECORDS.get(name, set())
    assert bool(asked) == bool(re.search(r"(?m)^(traces|AppTraces)$", query))
    assert bool(fields) == bool(asked)
    for record in asked:
        assert fields - records.get(record, set()) == set(), record


def test_the_workbooks_parts_fit_together():
    """Each has its name for a title, and looks at the time and the bus that are chosen above."""
    chosen, *shown = WORKBOOK["items"]
    kinds = {each["name"]: each["type"] for each in chosen["content"]["parameters"]}
    assert kinds == {"range": 4, "bus": 5}  # a time, a resource
    for each in shown:
        content = each["content"]
        assert content["title"] == each["name"]
        assert content["timeContextFromParameter"] == "range"
        assert (each["type"], content["version"]) in {(3, "KqlItem/1.0"), (10, "MetricsItem/2.0")}
        if each["type"] == 3:
            assert content["resourceType"] == "microsoft.insights/components"
            assert content["visualization"] in {"timechart", "table", "barchart"}
            assert (content["size"], content["queryType"]) == (0, 0)
    assert [each["type"] for each in WORKBOOK["items"]] == [9, 3, 3, 3, 10, 10, 3, 3, 3]
    assert WORKBOOK["version"] == "Notebook/1.0"
    (bus,) = [each for each in chosen["content"]["parameters"] if each["name"] == "bus"]
    assert (bus["queryType"], bus["resourceType"]) == (1, "microsoft.resourcegraph/resources")
    assert bus["query"] == "where type == 'microsoft.servicebus/namespaces' | project id"


SHAPES = {
    # type of an item: what it has, in and beside its content
    9: {"version", "parameters"},
    3: {
        *("version", "title", "query", "size", "queryType", "resourceType"),
        *("timeContextFromParameter", "visualization"),
    },
    10: {
        *("version", "title", "size", "chartType", "resourceType", "metricScope"),
        *("timeContextFromParameter", "resourceParameter", "metrics"),
    },
}
CHOICES = {
    # what can be chosen above: the same
    "range": {"id", "version", "name", "label", "type", "isRequired", "value", "typeSettings"},
    "bus": {
        *("id", "version", "name", "label", "type", "isRequired", "query", "queryType"),
        "resourceType",
    },
}


def test_the_workbook_has_the_parts_that_azure_reads():
    """It leaves out without a word what it does not know."""
    assert set(WORKBOOK) == {"version", "items", "fallbackResourceIds", "$schema"}
    assert WORKBOOK["$schema"].endswith(
        "/Application-Insights-Workbooks/blob/master/schema/workbook.json"
    )
    for each in WORKBOOK["items"]:
        assert set(each) == {"type", "name", "content"}
        assert set(each["content"]) == SHAPES[each["type"]]
        assert each["content"].get("size", 0) == 0
    first = WORKBOOK["items"][0]["content"]
    assert first["version"] == "KqlParameterItem/1.0"
    for each in first["parameters"]:
        assert set(each) == CHOICES[each["name"]]
        assert each["version"] == "KqlParameterItem/1.0"
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", each["id"])
        assert each["isRequired"] is True
    times = first["parameters"][0]
    offered = times["typeSettings"]["selectableValues"]
    assert offered == [{"durationMs": hours * HOUR} for hours in (1, 24, 7 * 24, 30 * 24)]
    assert times["value"] in offered


KQL = {
    # operators and functions that the queries use, and the columns of the tables
    *("let", "where", "extend", "summarize", "project", "join", "kind", "inner", "on", "by", "in"),
    *("order", "desc", "take", "count", "sum", "min", "bin", "percentiles", "tostring", "todouble"),
    *("make_set", "requests", "dependencies", "traces", "exceptions", "AppTraces"),
    *("timestamp", "duration", "name", "message", "customDimensions", "type", "outerMessage"),
    *("count_", "Message", "Properties"),
}


@pytest.mark.parametrize("query", [*QUERIES.values(), FAILING])
def test_a_query_is_made_of_words_that_kusto_knows(query: str):
    """Operators, functions, columns, and what the query itself gives a name."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"|\.\w+", "", query)
    given = set(re.findall(r"(\w+) = ", bare))
    assert set(re.findall(r"\b[A-Za-z_]\w*", bare)) - KQL - given == set()
    assert bare.count("(") == bare.count(")")
    assert [line for line in bare.split("\n")[1:] if line and not re.match(r"\| |dep", line)] == []


def test_the_workbook_shows_the_metrics_of_the_alerts():
    """Each topic by itself, the most at any moment: what an alert is about can be found."""
    alerts = {
        each.body["properties"]["criteria"]["allOf"][0]["metricName"]
        for each in variant("beta").all("Microsoft.Insights/metricAlerts")
    }
    shown = {}
    for each in (one["content"] for one in WORKBOOK["items"] if one["type"] == 10):
        (metric,) = each["metrics"]
        kind, _, name = metric["metric"].partition("--")
        assert kind == metric["namespace"] == each["resourceType"]
        assert kind == "microsoft.servicebus/namespaces"
        assert (metric["aggregation"], metric["splitBy"]) == (3, "EntityName")  # 3 is the maximum
        assert (each["resourceParameter"], each["metricScope"], each["chartType"]) == ("bus", 0, 2)
        shown[name] = each["title"]
    assert shown == {
        "DeadletteredMessages": "Dead letters by topic",
        "ActiveMessages": "Messages that wait, by topic",
    }
    assert set(shown) == alerts


def test_latency_is_from_publish_to_delivery():
    """From the span of publishing an event to the end of the attempt that delivered it, in ms."""
    name = next(each for each in QUERIES if each.startswith("Latency"))
    query = QUERIES[name]
    assert name == (
        "Latency per channel, from publish to delivery: 50th, 95th, 99th percentile in ms"
    )
    published, delivered = query.split(";")
    assert published.startswith("let publishes = dependencies")
    assert f"where name == 'send {EVENTS_TOPIC}'" in published
    assert "published = min(timestamp)" in published
    assert "'huntaze.outcome']) == 'delivered'" in delivered
    assert "delivered = timestamp + duration * 1ms" in delivered
    assert "join kind=inner publishes on tenant, event" in delivered
    assert "percentiles((delivered - published) / 1ms, 50, 95, 99) by channel" in delivered
    for part in (published, delivered):
        assert "tenant = tostring(customDimensions['huntaze.tenant.id'])" in part
        assert "event = tostring(customDimensions['huntaze.event.id'])" in part
    assert 'f"send {topic}"' in SOURCES
    assert 'Delivered: "delivered"' in SOURCES


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_names_functions_and_attributes_that_there_are(name: str):
    """A name that nothing writes gives an empty chart, which looks like quiet."""
    query = QUERIES[name]
    functions = re.findall(r'function_name\("(\w+)"\)', (ROOT / "function_app.py").read_text())
    assert set(re.findall(r"'(\w+Worker)'", query)) <= set(functions)
    for attribute in re.findall(r"customDimensions\['([\w.]+)'\]", query):
        assert f'"{attribute}"' in SOURCES, attribute
    table = query.splitlines()[0].rpartition(" ")[2]
    assert table in {"requests", "dependencies", "traces", "exceptions"}
    # The text of a title and what is counted: in hand is how long a function had it.
    if name.startswith("A message in hand"):
        assert "percentiles(duration, 50, 95, 99) by name" in query
        channels = {"NotifySignalRWorker", "NotifyEmailWorker", "NotifyWebhookWorker"}
        assert set(re.findall(r"'(\w+)'", query)) == channels
    if "dollars" in name:
        assert "sum(todouble(customDimensions.costNanoUsd)) / 1e9" in query
        assert "bin(timestamp, 1d)" in query
    if "a minute" in name:
        assert "count() by bin(timestamp, 1m), name" in query
