"""Says on replies by which policy and route, and at which engine, they were served. Knows nothing of who asked."""

from collections.abc import Iterable

from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, Finished, Last, Request, Served, Token


class Stamps:
    """Of the requests that engines work on."""

    def __init__(self) -> None:
        self._served: dict[RequestId, Served] = {}
        self._before_first: set[RequestId] = set()  # no token of theirs came yet

    def sent(self, requests: Iterable[Request], policy: str, route: str, engine_id: EngineId) -> None:
        """Take note of who serves these from now on; one that is known already was taken back before."""
        served = Served(policy, route, engine_id)
        for request in requests:
            before = self._served.get(request.id)
            again = None if before is None else Served(policy, route, engine_id, before.num_taken_back + 1)
            self._served[request.id] = again or served
            self._before_first.add(request.id)

    def is_before_first(self, request_id: RequestId) -> bool:
        """Say whether an engine has it and no token of it came yet."""
        return request_id in self._before_first

    def first(self, token: Token) -> Token | None:
        """Return the first token of a request, stamped; None for any other."""
        if token.request_id not in self._before_first:
            return None
        self._before_first.remove(token.request_id)
        return Token(token.request_id, token.text, token.num_tokens, self._served.get(token.request_id))

    def last(self, last: Last) -> Last:
        """Return how a request ended, stamped where it was answered, and know it no more."""
        self._before_first.discard(last.request_id)
        served = self._served.pop(last.request_id, None)
        match last:
            case Finished(request_id, reason, usage, engine_id):
                return Finished(request_id, reason, usage, engine_id, served)
            case Embedded(request_id, vectors, dim, usage, engine_id, text_tokens):
                return Embedded(request_id, vectors, dim, usage, engine_id, text_tokens, served)
            case _:
                return last

    def clear(self) -> None:
        self._served.clear()
        self._before_first.clear()
