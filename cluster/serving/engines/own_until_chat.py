"""Embeddings that have their device to themselves until chat runs beside them: an Engine that then gives way.

Encoders that can give way take three times the memory and some seconds of a core to prepare, and are slower for one
text alone. So they are made only once embeddings have been beside chat for about as long. Knows no gate and no model.
"""

import select
import sys
import threading
import traceback
from collections.abc import Callable, Sequence

from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.embed_jobs import EmbedJobs
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import Engine, EngineInfo
from cluster.serving.engines.shared_embed import SharedEmbed
from sage.base.clock import Clock
from sage.base.ids import RequestId
from sage.base.inference import Reply, Request

WORTH_S = 4.0  # of work beside chat: what preparing takes of a core (4 s an encoder, MiniLM int8, measured 2026-11-23)
_CLOSE_S = 2.0


class OwnUntilChat:
    """One embedding model on a device that chat engines of the same board may come to."""

    def __init__(
        self,
        jobs: EmbedJobs,
        own: Engine,
        make_shared: Callable[[], SharedEmbed],
        board: DeviceBoard,
        clock: Clock,
    ) -> None:
        """`own` and what `make_shared` returns work on `jobs`; `make_shared` is called on a thread. Owns `board`."""
        self._jobs = jobs
        self._own = own
        self._make_shared = make_shared
        self._board = board
        self._clock = clock
        self._shared: SharedEmbed | None = None
        self._made: SharedEmbed | None = None
        self._making: threading.Thread | None = None
        self._beside_s = 0.0
        self._is_shared = False
        self._wakers = select.epoll()
        self.wake_fd: int | None = self._wakers.fileno()
        self.tokenizer = jobs.desk

    def info(self) -> EngineInfo:
        return self._own.info()

    def add(self, requests: Sequence[Request]) -> None:
        self._jobs.add(requests, self._clock.monotonic_s())

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._jobs.cancel(request_ids)

    def step(self) -> list[Reply]:
        began_s = self._clock.monotonic_s()
        is_beside = self._board.chat_now(began_s).num_running > 0
        shared = self._shared_by_now()
        self._is_shared = shared is not None and (is_beside or shared.is_working())
        if shared is not None and self._is_shared:
            return shared.step()
        replies = self._own.step()
        ended_s = self._clock.monotonic_s()
        if shared is not None:
            shared.begin_line(ended_s)
        elif is_beside:
            self._was_beside(ended_s - began_s)
        return replies

    def has_work(self) -> bool:
        return self._jobs.has_work()

    def due_in_s(self) -> float | None:
        engine = self._shared if self._shared is not None and self._is_shared else self._own
        return engine.due_in_s()

    def figures(self) -> EngineFigures | None:
        return None

    def close(self) -> None:
        if self._making is not None:
            self._making.join(_CLOSE_S)  # one that takes longer ends with the process
        shared = self._shared_by_now()
        self._own.close()
        if shared is None:
            self._board.close()
        else:
            shared.close()
        self._wakers.close()

    def _was_beside(self, took_s: float) -> None:
        """Note so much work beside chat; once it is worth it, begin to prepare for giving way."""
        self._beside_s += took_s
        if self._beside_s >= WORTH_S and self._making is None:
            self._making = threading.Thread(target=self._make, name="embed-maker", daemon=True)
            self._making.start()

    def _make(self) -> None:
        try:
            self._made = self._make_shared()
        except Exception:  # noqa: BLE001 - a library's own: embeddings go on as before, and the log says why
            print("embeddings cannot give way to chat here, and go on beside it:", file=sys.stderr)
            traceback.print_exc()

    def _shared_by_now(self) -> SharedEmbed | None:
        if self._shared is None and self._made is not None:
            self._shared = self._made
            assert self._shared.wake_fd is not None
            self._wakers.register(self._shared.wake_fd, select.EPOLLIN)
        return self._shared
