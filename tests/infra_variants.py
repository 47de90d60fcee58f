"""Deployments of `infra/main.bicep` that between them make everything that it can make."""

import base64
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from tests.bicep_files import INFRA
from tests.bicep_values import Deployment, deployed

SECRETS: Mapping[str, str] = {
    "databasePassword": "Hz1" + "a7" * 24,
    "adminKey": "hz_admin_" + "b8" * 32,
    "encryptionKeys": base64.b64encode(bytes(range(32))).decode(),
    "userTokenSecret": "c9" * 32,
    "emailReportsKey": "d1" * 24,
}
PACKAGES: Mapping[str, str] = {
    "packageUrl": "https://store.blob.core.windows.net/packages/now.zip",
    "stagingPackageUrl": "https://store.blob.core.windows.net/packages/before.zip",
}
DEPLOYER = "44444444-4444-4444-4444-444444444444"
ON_FLEX: Mapping[str, Any] = {"hosting": "flex", "maximumInstances": 2, "alwaysReadyInstances": 0}

OTHER_ORDER: Mapping[str, list[str]] = {
    "video": ["Phi-4-mini-instruct", "Phi-4-multimodal-instruct"],
    "chat": ["DeepSeek-V3.2", "Phi-4-mini-instruct"],
    "suggest": ["DeepSeek-V3.2", "DeepSeek-V4-Flash"],
    "analyze": ["Phi-4-mini-instruct", "DeepSeek-V3.2"],
}

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    # name: what is changed of beta
    "beta": {},
    "again": {**PACKAGES, "deployerId": DEPLOYER},
    "pipeline": {"deployerId": DEPLOYER, "deployerType": "ServicePrincipal"},
    "flex": {**ON_FLEX, "realtime": "signalr", "scaleByBacklog": False},
    "flex-private": {**ON_FLEX, "privateNetwork": True, "alwaysReadyInstances": 2},
    "domain": {"mailDomain": "mail.example.com", "realtimeHub": "toasts"},
    "domain-verified": {"mailDomain": "mail.example.com", "mailDomainVerified": True},
    "no-key": {
        "sendKey": False,
        "appUrl": "",
        "modelOrder": OTHER_ORDER,
        "allowedOrigins": ["https://app.example.com", "https://www.example.com"],
    },
    "private": {"privateNetwork": True, "serviceBusSku": "Premium", "sendKey": False},
    "large": {
        "serviceBusSku": "Premium",
        "serviceBusUnits": 2,
        "zoneRedundant": True,
        "alwaysReadyInstances": 3,
        "maximumInstances": 3,
        "databaseHighAvailability": True,
        "databaseGeoRedundantBackup": True,
        "databaseSku": "Standard_D4ds_v5",
        "databaseTier": "GeneralPurpose",
    },
    "restored": {"restoredServer": "hub-restored", "privateNetwork": True},
}


def parameters(name: str) -> dict[str, Any]:
    """The values of a parameter file."""
    text = json.loads((INFRA / f"{name}.parameters.json").read_text())
    return {key: each["value"] for key, each in text["parameters"].items()}


SHORTEST: Mapping[str, Any] = {
    key: parameters("beta")[key]
    for key in ("alertEmail", "monthlyBudgetUsd", "models", "modelOrder")
}
"""What a parameter file cannot leave out."""


@cache
def variant(name: str) -> Deployment:
    """One of `VARIANTS`, or production as its file has it."""
    if name == "production":
        return made(parameters("production"))
    return made({**parameters("beta"), **VARIANTS[name]})


def made(given: Mapping[str, Any]) -> Deployment:
    """A deployment with secrets."""
    return deployed(INFRA / "main.bicep", **{**SECRETS, **given})
