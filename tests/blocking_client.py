"""Microsoft's Python client with threads and its default protocol, driven as `node/realtime.mjs`.

It has a process of its own since it leaves sockets to the garbage collector.
"""

import sys
from collections.abc import Callable
from queue import Queue
from threading import Thread
from typing import Any

import orjson
from azure.messaging.webpubsubclient import WebPubSubClient, WebPubSubClientCredential
from azure.messaging.webpubsubclient.models import CallbackType, WebPubSubDataType


def say(**document: Any) -> None:
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    sys.stdout.buffer.flush()


def attempt(call: Callable[..., Any], *arguments: Any, said: str | None = "done") -> None:
    def run() -> None:
        try:
            call(*arguments)
        except Exception as error:
            say(what="failed", message=str(error))
        else:
            if said:
                say(what=said)

    Thread(target=run, daemon=True).start()


def main() -> None:
    urls: Queue[str] = Queue()

    def url() -> str:
        say(ask="url")
        return urls.get()

    # What comes before it is waited for wakes nobody, be it the end of a try to connect or an ack:
    # the client then sits out these times, by default as long as a session is kept for it, and its
    # pauses, each twice the one before.
    client = WebPubSubClient(
        WebPubSubClientCredential(url),
        start_timeout=2.0,
        ack_timeout=2.0,
        reconnect_retry_backoff_factor=0.05,
        message_retry_backoff_factor=0.05,
    )
    client.subscribe(
        CallbackType.CONNECTED,
        lambda args: say(what="connected", id=args.connection_id, user=args.user_id),
    )
    client.subscribe(
        CallbackType.DISCONNECTED, lambda args: say(what="disconnected", message=args.message)
    )
    for callback, what in (
        (CallbackType.SERVER_MESSAGE, "server"),
        (CallbackType.GROUP_MESSAGE, "group"),
    ):
        client.subscribe(
            callback,
            lambda args, what=what: say(what=what, number=args.sequence_id, data=args.data),
        )
    attempt(client.open, said=None)
    for line in sys.stdin.buffer:
        order = orjson.loads(line)
        if "url" in order:
            urls.put(order["url"])
        elif "join" in order:
            attempt(client.join_group, order["join"])
        elif "send" in order:
            data, kind = order["data"], WebPubSubDataType.JSON
            attempt(client.send_to_group, order["send"], data, kind)
        else:
            break
    client.close()


if __name__ == "__main__":
    main()
