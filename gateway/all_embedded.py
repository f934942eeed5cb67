"""Requests that are answered by vectors or scores, asked side by side. Knows no body."""

from collections.abc import Sequence

from gateway.bridge import Bridge
from gateway.exchange import Exchange
from sage.base.ids import RequestId
from sage.base.inference import Embedded, EmbedRequest, Failed, ScoreRequest


async def all_embedded(
    bridge: Bridge, exchange: Exchange, requests: Sequence[EmbedRequest | ScoreRequest]
) -> list[Embedded]:
    """Ask, wait and return the answers in the order of the requests; all are withdrawn where the client leaves.

    Raises the SageError that one failed with.
    """
    parts: dict[RequestId, Embedded] = {}
    with bridge.ask(requests) as asking, exchange.watch(asking.abandon):
        while len(parts) < len(requests):
            for reply in await asking.next():
                match reply:
                    case Embedded():
                        parts[reply.request_id] = reply
                    case Failed(failure=failure):
                        raise failure.error()
                    case _:
                        raise AssertionError(f"a request for vectors was answered by {reply!r}")
        in_order = [parts[request.id] for request in requests]
        exchange.served_by(*in_order)
    return in_order
