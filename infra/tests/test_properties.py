"""Every property of the Bicep is one that Azure's management packages know."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.tests.azure_models import OF_BICEP, Map, fields, root
from tests.bicep_files import INFRA, Declaration, Expression, read, resources, walk


def unknown(value: Any, kinds: Any, path: str) -> Iterator[str]:
    """The paths in a value that no model has."""
    if isinstance(value, Expression | list):
        for each in value.objects if isinstance(value, Expression) else value:
            yield from unknown(each, kinds, path)
    elif isinstance(value, dict) and kinds is not None:
        known = dict.fromkeys(value, kinds.kinds) if isinstance(kinds, Map) else merged(kinds)
        for key, inner in value.items():
            here = f"{path}.{key}"
            if key in known:
                yield from unknown(inner, known[key], here)
            else:
                yield here


def merged(kinds: Any) -> dict[str, Any]:
    """The properties of any of several models."""
    known: dict[str, Any] = {}
    for kind in kinds if isinstance(kinds, tuple) else (kinds,):
        known |= fields(kind) if isinstance(kind, type) else kind
    return known


def of_resource(each: Declaration) -> list[str]:
    """What is wrong with one."""
    body = {key: value for key, value in each.body.items() if key not in OF_BICEP}
    return list(unknown(body, root(each.type, each.body["name"]), each.symbol))


@pytest.mark.parametrize("each", resources(), ids=lambda each: f"{each.file}-{each.symbol}")
def test_every_property_exists(each: Declaration):
    """A misspelt property would be ignored by Azure, or refused after ten minutes."""
    assert of_resource(each) == []


def test_what_is_said_once_for_two_apps_exists_too():
    """The site's configuration stands in a variable, for the app and its slot."""
    site = read(INFRA / "modules" / "function-app-premium.bicep").variables["site"]
    wrapped = {"properties": {"siteConfig": site}}
    assert list(unknown(wrapped, root("Microsoft.Web/sites", ""), "site")) == []


def test_the_bus_of_the_topology_has_properties_that_exist():
    """The entries of topology.json are Azure's, too."""
    bus = json.loads((INFRA / "topology.json").read_text())
    kind = "Microsoft.ServiceBus/namespaces/topics"
    found: list[str] = []
    for topic in bus["topics"]:
        found += unknown({"properties": topic["properties"]}, root(kind, ""), topic["name"])
    for entry in bus["subscriptions"]:
        of = {"properties": entry["properties"]}
        found += unknown(of, root(f"{kind}/subscriptions", ""), entry["name"])
        of = {"properties": entry["rule"]["properties"]}
        found += unknown(of, root(f"{kind}/subscriptions/rules", ""), entry["name"])
    assert found == []


OURS = {"most", "all", "${identityId}"}
"""Keys that we name: of notifications of the budget, and of identities."""


@pytest.mark.parametrize("each", resources(), ids=lambda each: f"{each.file}-{each.symbol}")
def test_a_misspelt_property_is_found_wherever_it_is(each: Declaration):
    """The check can fail: one letter more in any property's name is reported."""
    body = {key: value for key, value in each.body.items() if key not in OF_BICEP}
    unseen = []
    for found in [one for one in walk(body) if isinstance(one, dict) and one is not body]:
        for key in list(found):
            found[f"{key}x"] = found[key]
            if not any(f".{key}x" in path for path in of_resource(each)):
                unseen.append(key)
            del found[f"{key}x"]
    if not each.type.endswith("/config"):
        assert set(unseen) <= OURS
