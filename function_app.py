"""The hub on Azure Functions: decorators and one call each.

All bodies are binary: the host would copy the fields of a JSON body over the message's own.
Names are those of the workers in Huntaze's migration plan.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import azure.functions as func

from ai_workers.extension import AiWorkers
from notifications.bootstrap import open_local_hub
from notifications.bus.topology import (
    CHAT_SUGGESTIONS,
    CONTENT_ANALYSIS,
    CONTENT_SUGGESTIONS,
    EVENTS_TOPIC,
    JOBS_TOPIC,
    METRICS,
    NOTIFY_EMAIL,
    NOTIFY_SIGNALR,
    NOTIFY_WEBHOOK,
    VIDEO_ANALYSIS,
)
from notifications.functions import FunctionsHub
from notifications.owner import own
from notifications.policies import functions_policy
from notifications.settings import Settings, load_or_create_secrets
from notifications.worker import Guard

CONNECTION = "SERVICEBUS_CONNECTION"
DATA = Path(".huntaze")

app = func.FunctionApp()


@asynccontextmanager
async def _open() -> AsyncIterator[Mapping[str, Guard]]:
    settings = Settings.read(os.environ)
    with own(DATA) as folder:
        secrets = load_or_create_secrets(folder.path, settings)
        policy, beside = functions_policy(settings), AiWorkers()
        async with open_local_hub(settings, secrets, folder, policy, beside) as hub:
            yield hub.guards


hub = FunctionsHub(_open)


@app.function_name("NotifySignalRWorker")
@app.service_bus_topic_trigger("message", CONNECTION, EVENTS_TOPIC, NOTIFY_SIGNALR, "binary")
async def notify_signalr(message: func.ServiceBusMessage) -> None:
    """Toasts and inbox."""
    await hub.handle(NOTIFY_SIGNALR, message)


@app.function_name("NotifyEmailWorker")
@app.service_bus_topic_trigger("message", CONNECTION, EVENTS_TOPIC, NOTIFY_EMAIL, "binary")
async def notify_email(message: func.ServiceBusMessage) -> None:
    """Mails."""
    await hub.handle(NOTIFY_EMAIL, message)


@app.function_name("NotifyWebhookWorker")
@app.service_bus_topic_trigger("message", CONNECTION, EVENTS_TOPIC, NOTIFY_WEBHOOK, "binary")
async def notify_webhook(message: func.ServiceBusMessage) -> None:
    """Signed webhooks."""
    await hub.handle(NOTIFY_WEBHOOK, message)


@app.function_name("MetricsWorker")
@app.service_bus_topic_trigger("message", CONNECTION, EVENTS_TOPIC, METRICS, "binary")
async def metrics(message: func.ServiceBusMessage) -> None:
    """Counts each event once."""
    await hub.handle(METRICS, message)


@app.function_name("VideoAnalysisWorker")
@app.service_bus_topic_trigger("message", CONNECTION, JOBS_TOPIC, VIDEO_ANALYSIS, "binary")
async def video_analysis(message: func.ServiceBusMessage) -> None:
    """Analyses videos."""
    await hub.handle(VIDEO_ANALYSIS, message)


@app.function_name("ChatSuggestionsWorker")
@app.service_bus_topic_trigger("message", CONNECTION, JOBS_TOPIC, CHAT_SUGGESTIONS, "binary")
async def chat_suggestions(message: func.ServiceBusMessage) -> None:
    """Suggests replies."""
    await hub.handle(CHAT_SUGGESTIONS, message)


@app.function_name("ContentSuggestionsWorker")
@app.service_bus_topic_trigger("message", CONNECTION, JOBS_TOPIC, CONTENT_SUGGESTIONS, "binary")
async def content_suggestions(message: func.ServiceBusMessage) -> None:
    """Suggests content."""
    await hub.handle(CONTENT_SUGGESTIONS, message)


@app.function_name("ContentAnalysisWorker")
@app.service_bus_topic_trigger("message", CONNECTION, JOBS_TOPIC, CONTENT_ANALYSIS, "binary")
async def content_analysis(message: func.ServiceBusMessage) -> None:
    """Analyses content by its figures."""
    await hub.handle(CONTENT_ANALYSIS, message)
