"""The hub on Azure Functions: decorators and one call each.

All bodies are binary: the host would copy the fields of a JSON body over the message's own.
Workers have the names of Huntaze's migration plan. HUNTAZE_FUNCTIONS chooses what is there, so that
the same code may be two apps; whichever it is opens the same hub, when something first comes.
"""

import os

import azure.functions as func

from ai_workers.loading import load_for_functions
from notifications.bus import topology as bus
from notifications.functions import FunctionsHub
from notifications.functions_settings import parts

BUS, EVENTS, JOBS = "SERVICEBUS_CONNECTION", bus.EVENTS_TOPIC, bus.JOBS_TOPIC

hub = FunctionsHub(os.environ, load_for_functions)
web = func.AsgiMiddleware(hub.answer)
app = func.FunctionApp(func.AuthLevel.ANONYMOUS)  # the hub has keys of its own
channels, workers = func.Blueprint(), func.Blueprint()


@app.function_name("Api")
@app.route("/{*route}", "request", methods=list(func.HttpMethod))
async def api(request: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    """API and console."""
    return await web.handle_async(request, context)


@channels.function_name("NotifySignalRWorker")
@channels.service_bus_topic_trigger("message", BUS, EVENTS, bus.NOTIFY_SIGNALR, "binary")
async def notify_signalr(message: func.ServiceBusMessage) -> None:
    """Toasts and inbox."""
    await hub.handle(bus.NOTIFY_SIGNALR, message)


@channels.function_name("NotifyEmailWorker")
@channels.service_bus_topic_trigger("message", BUS, EVENTS, bus.NOTIFY_EMAIL, "binary")
async def notify_email(message: func.ServiceBusMessage) -> None:
    """Mails."""
    await hub.handle(bus.NOTIFY_EMAIL, message)


@channels.function_name("NotifyWebhookWorker")
@channels.service_bus_topic_trigger("message", BUS, EVENTS, bus.NOTIFY_WEBHOOK, "binary")
async def notify_webhook(message: func.ServiceBusMessage) -> None:
    """Signed webhooks."""
    await hub.handle(bus.NOTIFY_WEBHOOK, message)


@channels.function_name("MetricsWorker")
@channels.service_bus_topic_trigger("message", BUS, EVENTS, bus.METRICS, "binary")
async def metrics(message: func.ServiceBusMessage) -> None:
    """Counts each event once."""
    await hub.handle(bus.METRICS, message)


@workers.function_name("VideoAnalysisWorker")
@workers.service_bus_topic_trigger("message", BUS, JOBS, bus.VIDEO_ANALYSIS, "binary")
async def video_analysis(message: func.ServiceBusMessage) -> None:
    """Analyses videos."""
    await hub.handle(bus.VIDEO_ANALYSIS, message)


@workers.function_name("ChatSuggestionsWorker")
@workers.service_bus_topic_trigger("message", BUS, JOBS, bus.CHAT_SUGGESTIONS, "binary")
async def chat_suggestions(message: func.ServiceBusMessage) -> None:
    """Suggests replies."""
    await hub.handle(bus.CHAT_SUGGESTIONS, message)


@workers.function_name("ContentSuggestionsWorker")
@workers.service_bus_topic_trigger("message", BUS, JOBS, bus.CONTENT_SUGGESTIONS, "binary")
async def content_suggestions(message: func.ServiceBusMessage) -> None:
    """Suggests content."""
    await hub.handle(bus.CONTENT_SUGGESTIONS, message)


@workers.function_name("ContentAnalysisWorker")
@workers.service_bus_topic_trigger("message", BUS, JOBS, bus.CONTENT_ANALYSIS, "binary")
async def content_analysis(message: func.ServiceBusMessage) -> None:
    """Analyses content by its figures."""
    await hub.handle(bus.CONTENT_ANALYSIS, message)


@channels.function_name("Sweep")
@channels.timer_trigger("tick", "0 * * * * *")
async def sweep(tick: func.TimerRequest) -> None:
    """Moves what should have moved: outbox, lanes, jobs and their dead letters."""
    await hub.sweep()


@channels.function_name("Replays")
@channels.timer_trigger("tick", "30 * * * * *")
async def replays(tick: func.TimerRequest) -> None:
    """Works replays off."""
    await hub.replay()


@channels.function_name("DeadLetterCounts")
@channels.timer_trigger("tick", "15 */5 * * * *")
async def dead_letter_counts(tick: func.TimerRequest) -> None:
    """Writes down how many dead letters there are."""
    await hub.count_dead_letters()


@channels.function_name("Retention")
@channels.timer_trigger("tick", "45 7 * * * *")
async def retention(tick: func.TimerRequest) -> None:
    """Removes what is kept no longer."""
    await hub.tidy()


for part in parts(os.environ):
    app.register_functions({"channels": channels, "workers": workers}[part])
