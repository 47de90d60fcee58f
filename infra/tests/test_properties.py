"""Every property of the Bicep, and every value of a list, is one that Azure's packages know."""

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from infra.tests.azure_models import Map, fields, is_enum, root
from tests.bicep_files import INFRA, resources, walk
from tests.bicep_values import Made, deployed
from tests.infra_variants import VARIANTS, variant

OF_BICEP = ("location", "tags")
"""What every resource may have; `identity`, `sku` and `kind` are the models' own."""


def unknown(value: Any, kinds: Any, path: str) -> Iterator[str]:
    """The paths in a value that no model has, and the values that no enum has."""
    if isinstance(value, list):
        for each in value:
            yield from unknown(each, kinds, path)
    elif isinstance(value, dict) and kinds is not None:
        known = dict.fromkeys(value, kinds.kinds) if isinstance(kinds, Map) else merged(kinds)
        for key, inner in value.items():
            here = f"{path}.{key}"
            if key in known:
                yield from unknown(inner, known[key], here)
            else:
                yield here
    elif isinstance(value, str) and (values := listed(kinds)) and value not in values:
        yield f"{path} = {value}"


def listed(kinds: Any) -> set[str] | None:
    """The values that Azure takes; None where it has no list of them."""
    enums = [kind for kind in kinds if is_enum(kind)] if isinstance(kinds, tuple) else []
    return {each.value for kind in enums for each in kind} or None


def merged(kinds: Any) -> dict[str, Any]:
    """The properties of any of several models."""
    known: dict[str, Any] = {}
    for kind in kinds if isinstance(kinds, tuple) else (kinds,):
        if not is_enum(kind):
            known |= fields(kind) if isinstance(kind, type) else kind
    return known


def of_resource(each: Made) -> list[str]:
    """What is wrong with one."""
    body = {key: value for key, value in each.body.items() if key not in OF_BICEP}
    return list(unknown(body, root(each.type, each.name.rpartition("/")[2]), each.symbol))


@cache
def made() -> tuple[Made, ...]:
    """What the templates make, in every way that they can: each different body once."""
    reports = deployed(
        INFRA / "delivery-reports.bicep",
        reportsTopic="topic",
        vaultName="vault",
        hubUrl="https://h",
    )
    every = [one for name in (*VARIANTS, "production") for one in variant(name).resources]
    by_body = {
        f"{one.file}-{one.symbol}-{json.dumps(one.body)}": one
        for one in (*every, *reports.resources)
    }
    return tuple(by_body.values())


def test_nothing_that_is_declared_is_left_out():
    """Every resource of every file is made in one way or another."""
    assert {(each.file, each.symbol) for each in made()} == {
        (each.file, each.symbol) for each in resources()
    }


def test_every_property_and_every_value_of_a_list_exists():
    """A misspelt property would be ignored by Azure, or refused after ten minutes."""
    assert sorted({wrong for each in made() for wrong in of_resource(each)}) == []


OURS = {"most", "all"}
"""Keys that we name: of notifications of the budget; beside them identities' ids."""


def one_of_each() -> list[Made]:
    """One body for each declaration: the largest."""
    found: dict[tuple[str, str], Made] = {}
    for each in sorted(made(), key=lambda each: len(json.dumps(each.body))):
        found[each.file, each.symbol] = each
    return list(found.values())


@pytest.mark.parametrize("each", one_of_each(), ids=lambda each: f"{each.file}-{each.symbol}")
def test_a_misspelt_property_is_found_wherever_it_is(each: Made):
    """The check can fail: one letter more in any property's name is reported."""
    found = copy.deepcopy(each)
    body = {key: value for key, value in found.body.items() if key not in OF_BICEP}
    unseen = []
    for inner in [one for one in walk(body) if isinstance(one, dict) and one is not body]:
        for key in list(inner):
            inner[f"{key}x"] = inner[key]
            if not any(f".{key}x" in path for path in of_resource(found)):
                unseen.append(key)
            del inner[f"{key}x"]
    if not each.type.endswith("/config"):
        assert {key for key in unseen if not key.startswith("/subscriptions/")} <= OURS


ENUMS = (
    # what is in a list of the packages: a misspelling of it is found
    ("Microsoft.ServiceBus/namespaces", "Standard"),
    ("Microsoft.DBforPostgreSQL/flexibleServers", "Burstable"),
    ("Microsoft.Storage/storageAccounts", "Standard_LRS"),
    ("Microsoft.KeyVault/vaults", "standard"),
    ("Microsoft.OperationalInsights/workspaces", "PerGB2018"),
    ("Microsoft.EventGrid/systemTopics/eventSubscriptions", "EventGridSchema"),
    ("Microsoft.Insights/metricAlerts", "Minimum"),
    ("Microsoft.SignalRService/signalR", "ServiceMode"),
)


@pytest.mark.parametrize(("kind", "value"), ENUMS)
def test_a_misspelt_value_of_a_list_is_found(kind: str, value: str):
    """The check can fail: it knows the lists of both generators' models."""
    each = next(one for one in made() if one.type == kind and f'"{value}"' in json.dumps(one.body))
    body = json.loads(json.dumps(each.body).replace(f'"{value}"', f'"{value}x"'))
    name = each.name.rpartition("/")[2]
    assert [one for one in unknown(body, root(kind, name), "") if one.endswith(f"= {value}x")]
