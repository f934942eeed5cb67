"""Follows what a vLLM server of ours publishes of its cache, on one event loop. Decides nothing.

Where that cannot be followed (a message is gone, or cannot be read), it says so once, and nothing more until the server
has cleared its cache: till then what it keeps is guessed by its answers, as of any other.
"""

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence

import zmq

from cluster.serving.engines.figures import KeptBlocks
from cluster.serving.engines.kept_prompts import KeptChange, KeptPrompts
from cluster.serving.engines.kv_events import KvEvent
from cluster.serving.engines.kv_order import KvOrder
from cluster.serving.size import PromptPrefix, TextSizing
from sage.base.errors import RequestFailed
from sage.base.inference import ChatRequest, GenerateRequest

MAX_MESSAGES = 10_000
"""That wait for us; more are dropped by ZeroMQ, which is noticed by their numbers. vLLM keeps as many to send again."""

MAX_PENDING = 262_144
"""Blocks that changed and were not taken yet."""

AGAIN_S = 10.0
"""Within it the server has sent again what it keeps; it looks for who asks ten times a second."""


class PendingChanges:
    """What changed and was not taken yet, as one message: put on one thread, taken on another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_kept: dict[int, bool] = {}
        self._is_first = False
        self._is_over = False

    def __bool__(self) -> bool:
        return self._is_first or self._is_over or bool(self._is_kept)

    def begin(self) -> None:
        with self._lock:
            self._is_first = True

    def put(self, change: KeptChange) -> None:
        """Raises RequestFailed where nobody takes what changed."""
        with self._lock:
            if len(self._is_kept) + len(change.stored) + len(change.removed) > MAX_PENDING:
                raise RequestFailed(f"more than {MAX_PENDING:,} changes wait")
            self._is_kept.update(dict.fromkeys(change.stored, True))
            self._is_kept.update(dict.fromkeys(change.removed, False))

    def end(self) -> None:
        """Take back what was not taken yet: nothing is known any more."""
        with self._lock:
            self._is_kept, self._is_first, self._is_over = {}, False, True

    def taken(self) -> KeptBlocks | None:
        """Return what changed since it was taken last; an end before what begins anew."""
        with self._lock:
            if self._is_over:
                self._is_over = False
                return KeptBlocks(is_over=True)
            if not self:
                return None
            is_kept, is_first = self._is_kept, self._is_first
            self._is_kept, self._is_first = {}, False
        stored = tuple(block for block, is_now in is_kept.items() if is_now)
        return KeptBlocks(stored, tuple(block for block, is_now in is_kept.items() if not is_now), is_first)


class KvFollower:
    """Connected at once; made, used and closed on one event loop. `pending` is for whoever takes what changed."""

    def __init__(self, address: str, again_address: str, wake_up: Callable[[], object]) -> None:
        """Follow what is published at `address`; what is missing is asked for at `again_address`. `wake_up` is called
        when there is something to take."""
        self.pending = PendingChanges()
        self._wake_up = wake_up
        self._sizing = TextSizing()
        self._order = KvOrder()
        self._kept = KeptPrompts()
        self._loop = asyncio.get_running_loop()
        self._zmq = zmq.Context(io_threads=1)
        self._published = self._connected(zmq.SUB, address)
        self._published.setsockopt(zmq.SUBSCRIBE, b"")
        self._again = self._connected(zmq.DEALER, again_address)
        self._patience: asyncio.TimerHandle | None = None
        self._is_followed = False  # whether it was said that all changes are told
        self._ask_again()

    def asks_tokens(self, request: ChatRequest | GenerateRequest) -> bool:
        """Take that a prompt is asked for; say whether its tokens are to be told."""
        return self._kept.asks_tokens(self._prefix(request))

    def prompted(
        self, request: ChatRequest | GenerateRequest, token_ids: Sequence[int], adapter: str | None = None
    ) -> None:
        """Take that the server has begun with a prompt, with its tokens where they were asked for."""
        self._kept.prompted(self._prefix(request), self._sizing.size(request).prompt_tokens, token_ids, adapter)
        self._readable()

    def close(self) -> None:
        if self._zmq.closed:
            return
        if self._patience is not None:
            self._patience.cancel()
        for socket in (self._published, self._again):
            self._loop.remove_reader(socket.fileno())
            socket.close(linger=0)
        self._zmq.term()

    def _prefix(self, request: ChatRequest | GenerateRequest) -> PromptPrefix:
        return self._sizing.prefix(request)

    def _connected(self, kind: int, address: str) -> "zmq.Socket[bytes]":
        socket = self._zmq.socket(kind)
        socket.setsockopt(zmq.RCVHWM, MAX_MESSAGES)
        socket.setsockopt(zmq.SNDHWM, 1)
        socket.connect(address)
        self._loop.add_reader(socket.fileno(), self._readable)
        return socket

    def _ask_again(self) -> None:
        """Ask for all from the first that is missing; a request that nobody takes is given up with the rest."""
        self._patience = self._loop.call_later(AGAIN_S, self._lost, "what is missing was not sent again in time")
        try:
            self._again.send_multipart([b"", self._order.missing.to_bytes(8, "big")], zmq.NOBLOCK)
        except zmq.Again:
            self._lost("what is missing cannot be asked for")

    def _readable(self) -> None:
        """Take all that has come: a descriptor says so once only."""
        while not self._zmq.closed:
            is_again = self._order.asks_again
            socket = self._again if is_again else self._published
            if not socket.poll(0):
                break
            frames = socket.recv_multipart(zmq.NOBLOCK)
            try:
                events = self._order.again(frames[1:]) if is_again else self._order.published(frames)
                self._take(events, is_again=is_again)
            except RequestFailed as error:
                self._lost(error.what)
        self._tell()

    def _take(self, events: Sequence[KvEvent], *, is_again: bool) -> None:
        self._kept.take(events)
        if self._order.asks_again and not is_again:
            self._ask_again()
        elif not self._order.asks_again and self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if not (self._is_followed or self._order.asks_again or self._order.is_lost):
            self._is_followed = True
            self.pending.begin()

    def _tell(self) -> None:
        """Have what changed taken; what nobody may know yet is told with the first."""
        if not self._is_followed:
            if self._order.is_lost:
                self._kept.changes()  # of what is not kept, nothing is to be told later
            return
        try:
            change = self._kept.changes()
            if change.stored or change.removed:
                self.pending.put(change)
        except RequestFailed as error:
            self._lost(error.what)
        if self.pending:
            self._wake_up()

    def _lost(self, why: str) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        was_lost = self._order.is_lost
        self._order.lose()
        self._kept.begin_again()
        if self._is_followed:
            self._is_followed = False
            self.pending.end()
            self._wake_up()
        if not was_lost:
            print(f"what vLLM keeps of prompts is not followed until it is cleared: {why}", file=sys.stderr, flush=True)
