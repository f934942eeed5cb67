"""Counts what was asked of the control plane and what came back. Knows no flow and no engine."""

from collections.abc import Callable, Sequence

from sage.base.clock import Clock
from sage.base.ids import RequestId
from sage.base.inference import Inference, ModelCard, Reply, ReplyTo, Request, Token


class RequestLedger:
    """An Inference before another: every request must get exactly one Last, and nothing after it."""

    def __init__(self, inference: Inference, clock: Clock, asking: Callable[[], str]) -> None:
        """`asking` names whoever calls."""
        self.latest_s = 0.0  # how long after its deadline a request was answered, of all the longest
        self._inference = inference
        self._clock = clock
        self._due_s: dict[RequestId, float] = {}
        self._asking = asking
        self._num_lasts: dict[RequestId, int] = {}
        self._open: dict[RequestId, str] = {}  # neither ended nor withdrawn, and who asked
        self._askers: dict[ReplyTo, ReplyTo] = {}
        self._wrong: list[str] = []

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        for request in requests:
            if request.id in self._num_lasts:
                self._wrong.append(f"request {request.id} was submitted twice")
            self._num_lasts[request.id] = 0
            self._open[request.id] = self._asking()
            if request.timeout_s is not None:
                self._due_s[request.id] = self._clock.monotonic_s() + request.timeout_s
        self._inference.submit(requests, self._asker(reply_to))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            self._open.pop(request_id, None)
        self._inference.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return self._inference.models()

    def owners(self) -> set[str]:
        """Return who asked what has neither ended nor been withdrawn."""
        return set(self._open.values())

    def wrong(self) -> list[str]:
        """Say what is wrong, once all is over."""
        open_ids = [request_id for request_id, num in self._num_lasts.items() if num == 0]
        return [*self._wrong, *([f"requests without an end: {open_ids}"] if open_ids else [])]

    def _asker(self, reply_to: ReplyTo) -> ReplyTo:
        """Return what counts and hands on: one for each asker, since the plane gathers replies by asker."""

        def count(replies: Sequence[Reply]) -> None:
            for reply in replies:
                self._count(reply)
            reply_to(replies)

        return self._askers.setdefault(reply_to, count)

    def _count(self, reply: Reply) -> None:
        num = self._num_lasts.get(reply.request_id)
        if num != 0:
            self._wrong.append(f"{reply} came for a request that {'ended before' if num else 'nobody made'}")
        elif not isinstance(reply, Token):
            self._num_lasts[reply.request_id] = 1
            self._open.pop(reply.request_id, None)
            now_s = self._clock.monotonic_s()
            self.latest_s = max(self.latest_s, now_s - self._due_s.pop(reply.request_id, now_s))
