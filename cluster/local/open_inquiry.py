"""One inquiry until it is answered: which requests are out, what came, what is asked again. Knows no thread.

A machine: its shell submits what `due` returns, gives it every reply, and calls again after `wait_s`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from cluster.local.inquiries import Inquiry
from cluster.local.retries import RetryBudget, wait_before_retry_s
from sage.base.errors import DeadlineExceeded, SageError
from sage.base.ids import RequestId
from sage.base.inference import Failed, Last, Reply, Request, TextsRequest, Token

MAX_OUT = 16
"""Requests of one inquiry that are out at a time: others' requests come in between."""

LATE_S = 5.0
"""The plane says itself that a deadline has passed; it is not waited for longer than this."""


@dataclass(slots=True)
class _Part:
    """One request. `due_s`: when it is to be asked (again); None while it is out, and once it is over."""

    request: Request
    due_s: float | None
    num_retries: int = 0
    has_token: bool = False
    last: Last | None = None


@dataclass(frozen=True, slots=True)
class InquiryPorts:
    """What is shared by the inquiries of a cluster. `draw`: of [0, 1)."""

    next_id: Callable[[], RequestId]
    draw: Callable[[], float]
    budget: RetryBudget


class OpenInquiry:
    """Used by one thread at a time."""

    def __init__(self, inquiry: Inquiry, ports: InquiryPorts, now_s: float) -> None:
        self._inquiry = inquiry
        self._ports = ports
        self._until_s = None if inquiry.deadline_s is None else now_s + inquiry.deadline_s
        self._parts = [_Part(request, now_s) for request in inquiry.requests]
        self._out: dict[RequestId, _Part] = {}
        self._list_id: RequestId | None = None  # of which all parts are, where there are several
        self._tokens: list[Token] = []
        self.error: SageError | None = None
        ports.budget.asked()

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes: all is answered, or `error` says why not."""
        return self.error is not None or all(part.last is not None for part in self._parts)

    @property
    def model(self) -> str:
        return self._inquiry.requests[0].model

    def due(self, now_s: float) -> tuple[Request, ...]:
        """Return what is to be submitted now."""
        if self._until_s is not None and now_s >= self._until_s + LATE_S and self.error is None:
            self.error = DeadlineExceeded(f"no answer came within {self._inquiry.deadline_s:g} s")
        if self.error is not None:
            return ()
        wanted = [part for part in self._parts if part.due_s is not None and part.due_s <= now_s]
        return tuple(self._send(part, now_s) for part in wanted[: MAX_OUT - len(self._out)])

    def wait_s(self, now_s: float) -> float | None:
        """Return in how many seconds `due` has something new, unless a reply comes before; None: not before that."""
        times = [self._until_s + LATE_S] if self._until_s is not None else []
        if len(self._out) < MAX_OUT:
            times += [part.due_s for part in self._parts if part.due_s is not None]
        return max(0.0, min(times) - now_s) if times else None

    def take(self, reply: Reply, now_s: float) -> None:
        """Take what came; replies to what is not out any more are passed over."""
        part = self._out.get(reply.request_id)
        if part is None:
            return
        if isinstance(reply, Token):
            part.has_token = True
            self._tokens.append(reply)
            return
        del self._out[reply.request_id]
        if isinstance(reply, Failed):
            self._failed(part, reply.failure.error(), now_s)
        else:
            part.last = reply

    def take_tokens(self) -> list[Token]:
        """Return the tokens that nobody took yet."""
        tokens, self._tokens = self._tokens, []
        return tokens

    def lasts(self) -> list[Last]:
        """Return how the requests ended, in their order."""
        return [part.last for part in self._parts if part.last is not None]

    def out(self) -> tuple[RequestId, ...]:
        """Return what is out: to be cancelled where nobody waits any more."""
        return tuple(self._out)

    def fail(self, error: SageError) -> None:
        """End with `error`, unless it has ended."""
        if not self.is_over:
            self.error = error

    def _send(self, part: _Part, now_s: float) -> Request:
        timeout_s = None if self._until_s is None else max(0.001, self._until_s - now_s)
        request = msgspec.structs.replace(part.request, id=self._ports.next_id(), timeout_s=timeout_s)
        if isinstance(request, TextsRequest) and len(self._parts) > 1:
            self._list_id = self._list_id or request.id
            request = msgspec.structs.replace(request, part_of=self._list_id)
        part.due_s = None
        self._out[request.id] = part
        return request

    def _failed(self, part: _Part, error: SageError, now_s: float) -> None:
        if self.error is not None:
            return
        wait_s = None
        if not part.has_token and part.num_retries < self._inquiry.retries:
            wait_s = wait_before_retry_s(error, part.num_retries, self._ports.draw())
        is_late = wait_s is not None and self._until_s is not None and now_s + wait_s >= self._until_s
        if wait_s is None or is_late or not self._ports.budget.take():
            self.error = error
            return
        part.num_retries += 1
        part.due_s = now_s + wait_s
