"""What Azure's own management packages say of resources: the properties each type has.

Two generators made these packages: the older one's models have an `_attribute_map`, the newer
one's have fields of a class named `_RestField`.
"""

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

ROOTS: dict[str, tuple[str, str]] = {
    "Microsoft.ServiceBus/namespaces": ("servicebus", "SBNamespace"),
    "Microsoft.ServiceBus/namespaces/topics": ("servicebus", "SBTopic"),
    "Microsoft.ServiceBus/namespaces/topics/subscriptions": ("servicebus", "SBSubscription"),
    "Microsoft.ServiceBus/namespaces/topics/subscriptions/rules": ("servicebus", "Rule"),
    "Microsoft.ServiceBus/namespaces/topics/authorizationRules": (
        "servicebus",
        "SBAuthorizationRule",
    ),
    "Microsoft.Storage/storageAccounts": ("storage", "StorageAccountCreateParameters"),
    "Microsoft.Storage/storageAccounts/blobServices": ("storage", "BlobServiceProperties"),
    "Microsoft.Storage/storageAccounts/blobServices/containers": ("storage", "BlobContainer"),
    "Microsoft.KeyVault/vaults": ("keyvault", "Vault"),
    "Microsoft.KeyVault/vaults/secrets": ("keyvault", "Secret"),
    "Microsoft.DBforPostgreSQL/flexibleServers": ("postgresqlflexibleservers", "Server"),
    "Microsoft.DBforPostgreSQL/flexibleServers/databases": (
        "postgresqlflexibleservers",
        "Database",
    ),
    "Microsoft.DBforPostgreSQL/flexibleServers/firewallRules": (
        "postgresqlflexibleservers",
        "FirewallRule",
    ),
    "Microsoft.SignalRService/webPubSub": ("webpubsub", "WebPubSubResource"),
    "Microsoft.SignalRService/webPubSub/hubs": ("webpubsub", "WebPubSubHub"),
    "Microsoft.SignalRService/signalR": ("signalr", "SignalRResource"),
    "Microsoft.Communication/communicationServices": (
        "communication",
        "CommunicationServiceResource",
    ),
    "Microsoft.Communication/emailServices": ("communication", "EmailServiceResource"),
    "Microsoft.Communication/emailServices/domains": ("communication", "DomainResource"),
    "Microsoft.Communication/emailServices/domains/senderUsernames": (
        "communication",
        "SenderUsernameResource",
    ),
    "Microsoft.EventGrid/systemTopics": ("eventgrid", "SystemTopic"),
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": ("eventgrid", "EventSubscription"),
    "Microsoft.CognitiveServices/accounts": ("cognitiveservices", "Account"),
    "Microsoft.CognitiveServices/accounts/deployments": ("cognitiveservices", "Deployment"),
    "Microsoft.Authorization/roleAssignments": ("authorization", "RoleAssignmentCreateParameters"),
    "Microsoft.OperationalInsights/workspaces": ("loganalytics", "Workspace"),
    "Microsoft.Insights/components": ("applicationinsights", "ApplicationInsightsComponent"),
    "Microsoft.Insights/workbooks": ("applicationinsights", "Workbook"),
    "Microsoft.Insights/actionGroups": ("monitor", "ActionGroupResource"),
    "Microsoft.Insights/metricAlerts": ("monitor", "MetricAlertResource"),
    "Microsoft.Insights/scheduledQueryRules": ("monitor", "ScheduledQueryRuleResource"),
    "Microsoft.Consumption/budgets": ("consumption", "Budget"),
    "Microsoft.ManagedIdentity/userAssignedIdentities": ("msi.v2024_11_30", "Identity"),
    "Microsoft.Network/networkSecurityGroups": ("network", "NetworkSecurityGroup"),
    "Microsoft.Network/virtualNetworks": ("network", "VirtualNetwork"),
    "Microsoft.Network/privateEndpoints": ("network", "PrivateEndpoint"),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": ("network", "PrivateDnsZoneGroup"),
    "Microsoft.Network/privateDnsZones": ("privatedns", "PrivateZone"),
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": (
        "privatedns",
        "VirtualNetworkLink",
    ),
    "Microsoft.Web/serverfarms": ("web", "AppServicePlan"),
    "Microsoft.Web/sites": ("web", "Site"),
    "Microsoft.Web/sites/slots": ("web", "Site"),
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": (
        "web",
        "CsmPublishingCredentialsPoliciesEntity",
    ),
}

CONFIGS = {"appsettings": "StringDictionary", "slotConfigNames": "SlotConfigNamesResource"}
"""Of `Microsoft.Web/sites/config` and its slots': the model depends on the name."""

BY_HAND: dict[str, Any] = {
    # azure-mgmt-monitor 7 has no model of it.
    "Microsoft.Insights/diagnosticSettings": {
        "properties": {
            "workspaceId": None,
            "logs": {"category": None, "categoryGroup": None, "enabled": None},
            "metrics": {"category": None, "enabled": None},
        }
    }
}


Fields = dict[str, Any]
"""Property to the models or enums of its value; () where it is a plain value, None where anything
goes."""


@dataclass(frozen=True, slots=True)
class Map:
    """Of a value whose keys are ours: the models of what stands under them."""

    kinds: tuple[type, ...]


def root(kind: str, name: Any) -> tuple[type, ...] | Fields:
    """The model of a resource type.

    Raises:
        KeyError: There is none here: add it.
    """
    if kind in BY_HAND:
        return BY_HAND[kind]
    if kind in ("Microsoft.Web/sites/config", "Microsoft.Web/sites/slots/config"):
        return (_model("web", CONFIGS[name]),)
    return (_model(*ROOTS[kind]),)


@cache
def fields(model: type) -> Fields:
    """The properties of a model and of all that are made from it."""
    found: Fields = {}
    for each in (model, *_made_from(model)):
        for name, kinds in _own(each):
            # Flattened: properties.x stands for an x in an object of that name.
            at = found
            *path, last = re.split(r"(?<!\\)\.", name)
            for step in path:
                at = at.setdefault(step, {})
                if not isinstance(at, dict):
                    break
            else:
                at.setdefault(last.replace("\\.", "."), kinds)
    return found


def _own(model: type) -> Iterator[tuple[str, Any]]:
    if hasattr(model, "_attribute_map"):
        said = dict(
            re.findall(r"(?m):vartype (\w+): str or\s+~[\w.]+\.(\w+)$", model.__doc__ or "")
        )
        for name, each in model._attribute_map.items():
            words = re.findall(r"\w+", each["type"])
            # Of an enum the map says `str`, and the text of the class which.
            words += [said[name]] if each["type"] == "str" and name in said else []
            yield each["key"], _named(model, words, each["type"])
        return
    for base in reversed(model.__mro__):
        hints = inspect.get_annotations(base)
        for name, field in base.__dict__.items():
            if type(field).__name__ == "_RestField":
                hint = str(hints.get(name, ""))
                yield field._rest_name_input or name, _named(model, _words(hint), hint)


def _words(hint: str) -> list[str]:
    return re.findall(r"_models\.(\w+)", hint)


def _named(model: type, words: list[str], text: str) -> Any:
    """The models and enums that a type's text names; None for plain objects."""
    module = importlib.import_module(re.sub(r"\._models(_py3)?$", "", model.__module__))
    named = [getattr(module, word, None) for word in words]
    kinds = tuple(
        kind for kind in named if isinstance(kind, type) and (_is_model(kind) or is_enum(kind))
    )
    if text.startswith("{") or "dict[" in text:
        return Map(kinds) if kinds else None
    return None if text == "object" or "Any" in text else kinds


def is_enum(kind: Any) -> bool:
    """Whether it is a list of the values that Azure takes."""
    return isinstance(kind, type) and issubclass(kind, Enum)


def _is_model(kind: type) -> bool:
    return hasattr(kind, "_attribute_map") or any(
        base.__name__ == "_MyMutableMapping" for base in kind.__mro__
    )


def _made_from(model: type) -> Iterator[type]:
    for each in model.__subclasses__():
        yield each
        yield from _made_from(each)


def _model(package: str, name: str) -> type:
    module = importlib.import_module(f"azure.mgmt.{package}.models")
    found = getattr(module, name)
    assert isinstance(found, type)
    return found
