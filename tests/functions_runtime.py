"""Microsoft's Python worker library in this process, spoken to as the Functions host speaks to it.

`azure-functions-runtime` is the code that a worker on Azure runs: it finds the functions of
`function_app.py`, turns what the host sends into their arguments, calls them, and answers. The
host talks to it in protobuf messages; the library takes any objects of the same names and fields,
which `_Protos` are.

A process can find an app's functions once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import azure_functions_runtime as runtime

ROOT = Path(__file__).parent.parent


class _Message:
    """A protobuf message: what it is made with are its fields, and one of them is set."""

    Failure = 0
    Success = 1
    inout, out, undefined = 2, 1, 0  # of BindingInfo
    SameSite = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def WhichOneof(self, _group: str) -> str | None:  # noqa: N802 - protobuf's name
        return next((name for name in self.__dict__ if name != "name"), None)


class _Protos:
    """Classes of messages, by any name."""

    def __getattr__(self, name: str) -> type[_Message]:
        return _Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the worker said of an invocation.

    Attributes:
        failure: The exception's type and message where it failed, as the host logs it.
        trace: Its stack.
        http: The HTTP answer of an HTTP trigger.
    """

    failure: str | None
    trace: str = ""
    http: Any = None

    @property
    def completes(self) -> bool:
        """Whether the host completes the message; else it gives it back at once."""
        return self.failure is None


class Worker:
    """The library with the app loaded.

    Attributes:
        bindings: The raw bindings of each function, as the host reads them.
    """

    def __init__(self, bindings: Mapping[str, Sequence[Mapping[str, Any]]], ids: Any) -> None:
        self.bindings = bindings
        self._ids = ids
        self._invocations = count(1)

    @classmethod
    async def start(cls, folder: Path = ROOT) -> Self:
        """Load the app of a folder.

        Raises:
            AssertionError: It cannot be indexed; with the library's words.
        """
        init = _Message(capabilities={}, function_app_directory=str(folder))
        started = await runtime.worker_init_request(
            _Message(
                request=_Message(worker_init_request=init),
                properties={"host": "127.0.0.1", "protos": _Protos()},
            )
        )
        assert started.result.status == _Message.Success, started.result.exception.message
        asked = _Message(functions_metadata_request=_Message(function_app_directory=str(folder)))
        found = await runtime.functions_metadata_request(_Message(request=asked))
        ids = {each.name: each.function_id for each in found.function_metadata_results}
        for each in ids.values():
            load = _Message(function_load_request=_Message(function_id=each))
            loaded = await runtime.function_load_request(_Message(request=load))
            assert loaded.result.status == _Message.Success
        bindings = {
            each.name: [json.loads(raw) for raw in each.raw_bindings]
            for each in found.function_metadata_results
        }
        return cls(bindings, ids)

    async def invoke(
        self,
        name: str,
        data: _Message,
        metadata: Mapping[str, _Message] | None = None,
        *,
        traceparent: str = "",
    ) -> Answer:
        """Call a function with what its trigger brought."""
        trigger = next(each for each in self.bindings[name] if each["type"].endswith("Trigger"))
        asked = _Message(
            invocation_id=f"invocation-{next(self._invocations)}",
            function_id=self._ids[name],
            input_data=[_Message(name=trigger["name"], data=data)],
            trigger_metadata=metadata or {},
            trace_context=_Message(trace_parent=traceparent, trace_state="", attributes={}),
            retry_context=_Message(retry_count=0, max_retry_count=0, exception=None),
        )
        answered = await runtime.invocation_request(
            _Message(request=_Message(invocation_request=asked))
        )
        if answered.result.status == _Message.Failure:
            wrong = answered.result.exception
            return Answer(failure=wrong.message, trace=wrong.stack_trace)
        return Answer(failure=None, http=getattr(answered.return_value, "http", None))


# ------------------------------------------------------------------ what the host sends


def service_bus(
    body: bytes,
    *,
    properties: Mapping[str, Any],
    message_id: str = "",
    delivery_count: int = 1,
    sequence_number: int = 1,
    enqueued: str = "2026-11-01T12:00:00",
    **more: str,
) -> tuple[_Message, dict[str, _Message]]:
    """A Service Bus message with a binary body, cardinality one, and its trigger metadata.

    As the host types them: strings as strings; integers, dates and bags as JSON; dates without a
    zone; what is null is left out. `more` are further strings, e.g. `Subject`.
    """
    bag = _Message(json=json.dumps(dict(properties)))
    strings = {"MessageId": message_id, "LockToken": "0" * 32, **more}
    metadata = {
        "DeliveryCount": _Message(json=str(delivery_count)),
        "SequenceNumber": _Message(json=str(sequence_number)),
        "EnqueuedTimeUtc": _Message(json=json.dumps(enqueued)),
        "ExpiresAtUtc": _Message(json=json.dumps("2026-11-02T12:00:00")),
        "ApplicationProperties": bag,
        "UserProperties": bag,
        **{name: _Message(string=text) for name, text in strings.items() if text},
    }
    # Of an empty body the host sets no field at all.
    return (_Message(bytes=body) if body else _Message()), metadata


def overlaid(metadata: Mapping[str, _Message], body: Mapping[str, Any]) -> dict[str, _Message]:
    """Metadata as the host would leave it of a *string* body: its fields over the message's own."""
    own = {name.lower(): name for name in metadata}
    over = {
        own.get(name.lower(), name): _Message(string=str(value))
        for name, value in body.items()
        if not isinstance(value, list)
    }
    return {**metadata, **over}


def timer(*, late: bool = False) -> _Message:
    """A timer's tick."""
    status = {"Last": "2026-11-01T12:00:00", "Next": "2026-11-01T12:01:00"}
    tick = {"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": late}
    return _Message(json=json.dumps(tick))


def http(
    method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> _Message:
    """A request; header names come in lower case, and no body is no field."""
    _, _, asked = url.partition("?")
    query = dict(pair.split("=", 1) for pair in asked.split("&") if pair)
    names = {name.lower(): value for name, value in (headers or {}).items()}
    return _Message(
        http=_Message(
            method=method,
            url=url,
            headers=names,
            params={"route": url.partition("?")[0].split("/", 3)[3]},
            query=query,
            body=_Message(bytes=body) if body else _Message(),
        )
    )
