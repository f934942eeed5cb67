"""The `Inference` port for coroutines: replies come to a loop, bounded; leaving early cancels. Knows no HTTP."""

import asyncio
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from sage.base.errors import RequestCancelled, SageError
from sage.base.inference import Failed, Failure, Inference, Last, Reply, Request, Token

MERGE_ABOVE = 256
MAX_PENDING_CHARS = 64 * 1024


class AskerGone(Exception):
    """Whoever asked is not there any more: there is nobody to answer."""


class Observer(Protocol):
    """Is told how requests go; must return at once and must not raise."""

    def now_s(self) -> float: ...

    def first_token(self, request: Request, submitted_s: float) -> None: ...

    def ended(self, request: Request, last: Last, submitted_s: float) -> None: ...


class Asking:
    """Requests in flight, and their replies as they come; a context manager. Used on one event loop.

    What nobody has read yet is bounded: above MERGE_ABOVE replies, tokens are joined; above MAX_PENDING_CHARS
    characters the requests are cancelled and end as Failed.
    """

    __slots__ = ("_bridge", "_is_gone", "_len_pending", "_no_token_yet", "_open", "_pending", "_submitted_s", "_waiter")

    def __init__(self, bridge: "Bridge", requests: Sequence[Request]) -> None:
        self._bridge = bridge
        self._open = {request.id: request for request in requests}
        self._pending: list[Reply] = []
        self._len_pending = 0
        self._waiter: asyncio.Future[None] | None = None
        self._is_gone = False
        self._no_token_yet = True
        self._submitted_s = bridge.observer.now_s()

    async def next(self) -> list[Reply]:
        """Wait for replies and return all there are, in order; [] once everything has ended and was read.

        Raises: AskerGone once `abandon` was called.
        """
        while not self._pending and self._open and not self._is_gone:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._is_gone:
            raise AskerGone
        replies, self._pending, self._len_pending = self._pending, [], 0
        return replies

    def take(self, replies: Sequence[Reply]) -> None:
        """Take what the plane brings; runs on the loop's thread. Requests that have ended here are passed over."""
        for reply in replies:
            request = self._open.get(reply.request_id)
            if request is None:
                continue
            if isinstance(reply, Token):
                self._take_token(request, reply)
            else:
                self._end(request, reply)
        self._wake()

    def abandon(self) -> None:
        """Cancel whatever is still in flight, at once; `next` raises AskerGone from now on."""
        self._is_gone = True
        self.fail(RequestCancelled("the client left"))

    def fail(self, error: SageError) -> None:
        """End whatever is still in flight with `error`, and cancel it at the plane, at once."""
        requests = list(self._open.values())
        if not requests:
            return
        failure = Failure.of(error)
        for request in requests:
            self._end(request, Failed(request.id, failure))
        self._bridge.inference.cancel([request.id for request in requests])
        self._wake()

    def _take_token(self, request: Request, token: Token) -> None:
        if self._no_token_yet:
            self._no_token_yet = False
            self._bridge.observer.first_token(request, self._submitted_s)
        self._len_pending += len(token.text)
        if self._len_pending > MAX_PENDING_CHARS:
            self.fail(RequestCancelled(f"{self._len_pending} characters of the answer were not read in time"))
            return
        last = self._pending[-1] if len(self._pending) >= MERGE_ABOVE else None
        if isinstance(last, Token) and last.request_id == token.request_id:
            self._pending[-1] = Token(
                token.request_id, last.text + token.text, last.num_tokens + token.num_tokens, last.served
            )
        else:
            self._pending.append(token)

    def _end(self, request: Request, last: Last) -> None:
        del self._open[request.id]
        self._pending.append(last)
        self._bridge.observer.ended(request, last, self._submitted_s)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.fail(RequestCancelled("the client was answered"))
        self._bridge.forget(self)


class Bridge:
    """Asks an `Inference` for the coroutines of one event loop; made on that loop's thread."""

    def __init__(self, inference: Inference, observer: Observer) -> None:
        self.inference = inference
        self.observer = observer
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._asking: set[Asking] = set()

    @property
    def num_asking(self) -> int:
        """How many askings have not been left yet."""
        return len(self._asking)

    def ask(self, requests: Sequence[Request]) -> Asking:
        """Submit `requests` together and return their replies to come; leave it by `with`, which cancels the rest."""
        asking = Asking(self, requests)
        self._asking.add(asking)

        def reply_to(replies: Sequence[Reply]) -> None:
            if threading.get_ident() == self._thread_id:
                asking.take(replies)
            else:
                self._hand_over(asking, replies)

        self.inference.submit(requests, reply_to)
        return asking

    def fail_all(self, error: SageError) -> None:
        """End everything in flight with `error`."""
        for asking in list(self._asking):
            asking.fail(error)

    def forget(self, asking: Asking) -> None:
        """Let go of an asking that was left."""
        self._asking.discard(asking)

    def _hand_over(self, asking: Asking, replies: Sequence[Reply]) -> None:
        try:
            self._loop.call_soon_threadsafe(asking.take, replies)
        except RuntimeError:
            assert self._loop.is_closed()  # the gateway has ended, and whoever asked with it
