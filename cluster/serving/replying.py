"""Who asked, and what goes to them: each piece of an answer once, by whom it was served. Knows no plane and no engine.

Of a request that an engine is to give back nothing is passed on any more: if it ends there all the same, it gets what
was kept; if another engine begins it anew, what was kept is forgotten. So nobody ever sees two beginnings.
"""

from collections.abc import Iterable, Sequence

from cluster.serving.outbox import Outbox
from cluster.serving.stamps import Stamps
from sage.base.errors import InvalidRequest, SageError
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Last, Reply, ReplyTo, Request, Token


class Replying:
    """Used by one thread."""

    def __init__(self) -> None:
        self._askers: dict[RequestId, ReplyTo] = {}
        self._stamps = Stamps()
        self._outbox = Outbox()
        self._kept: dict[RequestId, list[Token]] = {}

    def __contains__(self, request_id: RequestId) -> bool:
        return request_id in self._askers

    def __bool__(self) -> bool:
        """Say whether there is something to deliver."""
        return bool(self._outbox)

    def refusal(self, request: Request) -> SageError | None:
        """Return why a request cannot be told from one that is open, if it cannot."""
        if request.id not in self._askers:
            return None
        what = f"a request with the id {request.id!r} is still being worked on"
        return InvalidRequest(what, "Give each request an id of its own.", param="id")

    def open_ids(self) -> tuple[RequestId, ...]:
        return tuple(self._askers)

    def asked(self, request_id: RequestId, reply_to: ReplyTo) -> None:
        self._askers[request_id] = reply_to

    def give(self, reply_to: ReplyTo, reply: Reply) -> None:
        """Keep a reply for its asker until `deliver`."""
        self._outbox.give(reply_to, reply)

    def sent(self, requests: Sequence[Request], policy: str, route: str, engine_id: EngineId) -> None:
        """Take note of who begins with these now."""
        for request in requests if self._kept else ():
            self._kept.pop(request.id, None)
        self._stamps.sent(requests, policy, route, engine_id)

    def token(self, token: Token) -> bool:
        """Pass a token on; say whether it is the first that is, of its request."""
        reply_to = self._askers.get(token.request_id)
        if reply_to is None:
            return False
        if self._kept and (kept := self._kept.get(token.request_id)) is not None:
            kept.append(token)
            return False
        stamped = self._stamps.first(token)
        self._outbox.give(reply_to, stamped or token)
        return stamped is not None

    def take_back(self, request_ids: Iterable[RequestId]) -> tuple[RequestId, ...]:
        """Pass on nothing more of those of these that nobody has a token of; return them."""
        silent = tuple(id for id in request_ids if id in self._askers and self._stamps.is_before_first(id))
        self._kept.update((id, []) for id in silent)
        return silent

    def last(self, last: Last) -> None:
        """Pass on how a request ended, after what was kept of it."""
        kept = self._kept.pop(last.request_id, ()) if self._kept else ()
        for token in () if isinstance(last, Failed) else kept:
            self.token(token)
        stamped = self._stamps.last(last)
        reply_to = self._askers.pop(last.request_id, None)
        if reply_to is not None:
            self._outbox.give(reply_to, stamped)

    def fail_all(self, error: SageError) -> None:
        failure = Failure.of(error)
        askers, self._askers = self._askers, {}
        self._stamps.clear()
        self._kept.clear()
        for request_id, reply_to in askers.items():
            self._outbox.give(reply_to, Failed(request_id, failure))

    def deliver(self) -> None:
        """Call each asker with all that is for it."""
        self._outbox.deliver()
