"""One turn of a set-up: requests leave when they are due, whatever is open still, and what came of each is noted.

Used on the loop of the plane that is asked. Knows no policy and no engine.
"""

import asyncio
from collections.abc import Sequence

from benchmarks.replay_figures import ReplayedCall
from sage.base.errors import InternalError
from sage.base.ids import RequestId
from sage.base.inference import ChatRequest, Failed, Inference, Reply, Token

PATIENCE_S = 300.0
"""How long after the last was sent all must have ended."""


class LiveTurn:
    """Used once. `calls` are in the order of what is asked."""

    def __init__(self, plane: Inference, asked: Sequence[tuple[ReplayedCall, ChatRequest]]) -> None:
        self._plane = plane
        self._asked = asked
        self._calls: dict[RequestId, ReplayedCall] = {request.id: call for call, request in asked}
        self._num_open = len(asked)
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._began_s = 0.0
        self._twice: RequestId | None = None

    async def run(self) -> float:
        """Send each request at its time and return how many seconds it took until the last had ended.

        Raises: InternalError where one never does, or twice.
        """
        self._began_s = self._loop.time()
        last_s = 0.0
        for call, request in self._asked:
            last_s = max(last_s, call.arrival.at_s)
            self._loop.call_at(self._began_s + call.arrival.at_s, self._send, call, request)
        try:
            async with asyncio.timeout(last_s + PATIENCE_S):
                await self._over.wait()
        except TimeoutError:
            what = f"{self._num_open} requests had not ended {PATIENCE_S:g} s after the last was sent"
            raise InternalError(what, "Look at the engines.") from None
        if self._twice is not None:
            raise InternalError(f"request {self._twice!r} ended twice", "Please report it.")
        return self._now_s()

    def _now_s(self) -> float:
        return self._loop.time() - self._began_s

    def _send(self, call: ReplayedCall, request: ChatRequest) -> None:
        call.sent_s = self._now_s()
        self._plane.submit([request], self._take)

    def _take(self, replies: Sequence[Reply]) -> None:
        now_s = self._now_s()
        for reply in replies:
            call = self._calls[reply.request_id]
            if isinstance(reply, Token):
                call.piece_s.append(now_s)
                continue
            if call.end_s is not None:
                self._twice = reply.request_id
                self._over.set()
                return
            call.end_s = now_s
            if isinstance(reply, Failed):
                call.why = type(reply.failure.error()).__name__
            else:
                call.usage = reply.usage
            self._num_open -= 1
        if not self._num_open:
            self._over.set()
