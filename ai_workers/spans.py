"""The spans of jobs: asking for one, a run, a model's answer. Names as in `notifications.spans`."""

from collections.abc import Awaitable
from dataclasses import replace

from ai_workers.jobs import End, Failed, Job, Order
from ai_workers.keeping import Desk
from ai_workers.ports import ModelFailed, Question, Reply
from notifications.messages import JOBS_TOPIC
from notifications.spans import sending
from notifications.tracing import Attributes, Kind, Tracer, step


async def submit(tracer: Tracer, desk: Desk, order: Order, parent: str | None) -> tuple[Job, bool]:
    """`Desk.submit`, in a span from which all that becomes of the job follows."""
    message_id = f"{order.tenant_id}:{order.id}"
    span = sending(tracer, JOBS_TOPIC, message_id, _of_order(order), parent)
    with step(tracer, span):
        job, duplicate = await desk.submit(replace(order, traceparent=span.traceparent))
        span.note({"huntaze.duplicate": duplicate})
    return job, duplicate


async def run(tracer: Tracer, job: Job, parent: str | None, ending: Awaitable[End]) -> End:
    """A run to its end, in its span: a step of what `parent` has in hand."""
    attributes = {**_of_order(job.order), "huntaze.run": job.run}
    span = tracer.begin(f"run {job.order.job_type}", Kind.INTERNAL, attributes, parent=parent)
    with step(tracer, span):
        how = await ending
        span.note({"huntaze.outcome": type(how).__name__.lower()})
        if isinstance(how, Failed):
            span.end(how.failure.code)
    return how


async def answer(tracer: Tracer, question: Question, answering: Awaitable[Reply]) -> Reply:
    """A model's answer, in its span, as OpenTelemetry has it of those who generate."""
    attributes = {"gen_ai.operation.name": "chat", "huntaze.job.type": question.job_type}
    span = tracer.begin("chat", Kind.CALL, attributes)
    with step(tracer, span):
        try:
            reply = await answering
        except ModelFailed as error:
            span.end(error.code)
            raise
        span.note(
            {
                "gen_ai.response.model": reply.usage.model,
                "gen_ai.usage.input_tokens": reply.usage.input_tokens,
                "gen_ai.usage.output_tokens": reply.usage.output_tokens,
            }
        )
    return reply


def _of_order(order: Order) -> Attributes:
    return {
        "huntaze.tenant.id": order.tenant_id,
        "huntaze.job.id": order.id,
        "huntaze.job.type": order.job_type,
    }
