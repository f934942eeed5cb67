"""An OpenAI-compatible server elsewhere, as an Engine. Knows no process and no plane.

HTTP is spoken on an event loop of its own thread; whoever drives the engine is woken by a descriptor.
"""

import contextlib
import os
from collections import deque
from collections.abc import Callable, Sequence

from cluster.serving.engines.checks import (
    cancelled,
    check_prompt,
    check_sampling,
    check_texts,
    failed,
    served_card,
)
from cluster.serving.engines.ending_order import EndingOrder
from cluster.serving.engines.figures import EngineFigures, Said
from cluster.serving.engines.kv_follower import KvFollower
from cluster.serving.engines.loop_thread import LoopThread
from cluster.serving.engines.openai_calls import OpenaiCalls
from cluster.serving.engines.openai_tokenizer import ServerTokenizer
from cluster.serving.engines.openai_upstream import Unreachable, Upstream
from cluster.serving.engines.port import EngineInfo
from cluster.serving.engines.server_process import ServerProcess
from cluster.serving.engines.server_watch import ServerWatch
from sage.base.errors import SageError
from sage.base.ids import RequestId
from sage.base.inference import ModelCard, Reply, Request, TextsRequest, Token

_CLOSE_S = 2.0
_MAX_WAKES = 65_536


class OpenaiEngine:
    """A server's models; an Engine. Requests beyond `info.max_running` wait here."""

    def __init__(
        self,
        info: EngineInfo,
        upstream: Upstream,
        thread: LoopThread,
        process: ServerProcess | None = None,
        *,
        kv_addresses: tuple[str, str] | None = None,
    ) -> None:
        """Own `upstream`, which lives on `thread`, and the thread; and the server itself, where it is a `process`.

        What a server publishes of what it keeps of prompts is followed at the first of `kv_addresses`, and asked for
        again at the second.
        """
        self._info = info
        self._thread = thread
        self._process = process
        self._open: dict[RequestId, int] = {}  # its call: one that was given back may come again
        self._num_calls = 0
        self._of_texts = EndingOrder()
        self._arrived: deque[tuple[int, Reply | Unreachable]] = deque()  # filled on the loop's thread, emptied on ours
        self._replies: list[Reply] = []
        self._lost: Unreachable | None = None
        self._wake, self._waker = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._waker, False)
        self.wake_fd: int | None = self._wake
        self._follower = thread.ask(_following(kv_addresses, self._wake_up), _CLOSE_S) if kv_addresses else None
        self._calls = OpenaiCalls(info, upstream, self._came, self._follower)
        self.tokenizer = ServerTokenizer(info, upstream, thread, self._wake_up)
        self._watch = ServerWatch(upstream, self.has_work, self._saw)
        self._figures: EngineFigures | None = None
        if process is not None:
            thread.loop.call_soon_threadsafe(thread.loop.add_reader, process.ended_fd, self._server_ended)
            thread.loop.call_soon_threadsafe(self._watch.begin)

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        for request in requests:
            try:
                card = _checked(request, self._info)
            except SageError as error:
                self._replies.append(failed(request.id, error))
                continue
            self._num_calls += 1
            self._open[request.id] = self._num_calls
            if isinstance(request, TextsRequest):
                self._of_texts.begin(request.id)
            self._thread.loop.call_soon_threadsafe(self._calls.begin, self._num_calls, request, card)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        for request_id in request_ids:
            if (call := self._open.get(request_id)) is not None:
                self._thread.loop.call_soon_threadsafe(self._calls.end, call)
                self._end(cancelled(request_id))

    def step(self) -> list[Reply]:
        """Return what has come; raises EngineLost, after the replies, once nobody listens at the server's address."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, _MAX_WAKES)
        if self._lost is not None and not self._replies:
            raise self._lost
        while self._arrived:
            call, came = self._arrived.popleft()
            if isinstance(came, Unreachable):
                self._lost = came
            elif self._open.get(came.request_id) == call:
                self._take(came)
        replies, self._replies = self._replies, []
        return replies

    def has_work(self) -> bool:
        return bool(self._open or self._replies)

    def due_in_s(self) -> float | None:
        has_news = self._follower is not None and bool(self._follower.pending)
        return 0.0 if self._replies or self._arrived or has_news or self._lost is not None else None

    def figures(self) -> Said | None:
        if self._follower is not None and (kept := self._follower.pending.taken()) is not None:
            return kept
        figures, self._figures = self._figures, None
        return figures

    def close(self) -> None:
        self._open.clear()
        self._thread.ask(self._watch.end(), _CLOSE_S)
        self._thread.ask(self.tokenizer.close(), _CLOSE_S)
        self._thread.ask(self._calls.close(), _CLOSE_S)
        if self._follower is not None:
            self._thread.ask(_closed(self._follower), _CLOSE_S)
        self._thread.close()
        if self._process is not None:
            self._process.close()
        os.close(self._wake)
        os.close(self._waker)

    def _take(self, reply: Reply) -> None:
        last = self._replies[-1] if self._replies else None
        if not isinstance(reply, Token):
            self._end(reply)
        elif isinstance(last, Token) and last.request_id == reply.request_id:
            self._replies[-1] = Token(last.request_id, last.text + reply.text, last.num_tokens + reply.num_tokens)
        else:
            self._replies.append(reply)

    def _end(self, last: Reply) -> None:
        """Give the end of a request; of embeddings, once those asked before have ended."""
        for reply in self._of_texts.ended(last):
            self._open.pop(reply.request_id, None)
            self._replies.append(reply)

    def _server_ended(self) -> None:
        assert self._process is not None
        self._thread.loop.remove_reader(self._process.ended_fd)
        self._came(0, Unreachable("the server has ended", "Its last words are in the engine's log."))

    def _came(self, call: int, came: Reply | Unreachable) -> None:
        """Take what a call brought, on the loop's thread; 0 is none."""
        self._arrived.append((call, came))
        self._wake_up()

    def _saw(self, figures: EngineFigures) -> None:
        """Take what the server says of itself, on the loop's thread."""
        self._figures = figures
        self._wake_up()

    def _wake_up(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full of wakes that were not heard yet
            os.write(self._waker, b"!")


async def _following(addresses: tuple[str, str], wake_up: Callable[[], None]) -> KvFollower:
    return KvFollower(*addresses, wake_up)


async def _closed(follower: KvFollower) -> None:
    follower.close()


def _checked(request: Request, info: EngineInfo) -> ModelCard:
    card = served_card(request, info)
    if isinstance(request, TextsRequest):
        check_texts(request)
    else:
        check_sampling(request.sampling)
        check_prompt(request)
    return card
