"""Where other threads hand requests to the plane's thread: bounded, and one knock for many. Knows no thread's kind."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sage.base.errors import NoEngine, Overloaded, SageError
from sage.base.ids import RequestId
from sage.base.inference import Failed, Failure, ModelCard, ReplyTo, Request

MAX_REQUESTS = 20_000  # handed in and not yet fetched: twice what waits in the plane by default


@dataclass(frozen=True, slots=True)
class HandedIn:
    requests: tuple[Request, ...]
    reply_to: ReplyTo


@dataclass(frozen=True, slots=True)
class Withdrawn:
    request_ids: tuple[RequestId, ...]


class Door:
    """An Inference for any thread. What is refused here is answered on the caller's own thread, within the call."""

    def __init__(
        self,
        knock: Callable[[], bool],
        models: Callable[[], tuple[ModelCard, ...]],
        *,
        max_requests: int = MAX_REQUESTS,
    ) -> None:
        """`knock` has the plane's thread call `fetch` soon, and returns False where that thread has ended."""
        self._knock = knock
        self._models = models
        self._max_requests = max_requests
        self._lock = threading.Lock()
        self._entries: list[HandedIn | Withdrawn] = []
        self._num_requests = 0
        self._has_knocked = False
        self._is_closed = False

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        error = self._enter(HandedIn(tuple(requests), reply_to), len(requests))
        if error is not None:
            _refuse(requests, reply_to, error)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        """End these requests; withdrawals count against no bound, since there are no more of them than requests."""
        self._enter(Withdrawn(tuple(request_ids)), 0)

    def models(self) -> tuple[ModelCard, ...]:
        return self._models()

    def fetch(self) -> list[HandedIn | Withdrawn]:
        """Return what was handed in, in order; called on the plane's thread after a knock."""
        with self._lock:
            entries, self._entries = self._entries, []
            self._num_requests = 0
            self._has_knocked = False
        return entries

    def close(self) -> None:
        """Refuse what waits here and what still comes."""
        with self._lock:
            self._is_closed = True
        for entry in self.fetch():
            if isinstance(entry, HandedIn):
                _refuse(entry.requests, entry.reply_to, _closed())

    def _enter(self, entry: HandedIn | Withdrawn, num_requests: int) -> SageError | None:
        with self._lock:
            if self._is_closed:
                return _closed()
            if self._num_requests + num_requests > self._max_requests:
                what = f"{self._num_requests} requests were handed to the control plane and not yet looked at"
                return Overloaded(what, "Try again in 1 s.", retry_after_s=1.0)
            self._entries.append(entry)
            self._num_requests += num_requests
            must_knock, self._has_knocked = not self._has_knocked, True
        if must_knock and not self._knock():
            self.close()
        return None


def _closed() -> SageError:
    return NoEngine("the control plane is closed")


def _refuse(requests: Sequence[Request], reply_to: ReplyTo, error: SageError) -> None:
    failure = Failure.of(error)
    reply_to([Failed(request.id, failure) for request in requests])
