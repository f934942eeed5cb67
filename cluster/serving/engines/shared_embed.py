"""Embeddings on a device that chat runs on too: an Engine that gives way. Decides nothing; see `sharing`.

Micro-batches go to worker threads; before each, the board says how chat is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.embed_jobs import EmbedJob, EmbedJobs, Text
from cluster.serving.engines.embed_workers import EmbedWorkers, RowEncoder
from cluster.serving.engines.figures import Said
from cluster.serving.engines.port import EngineInfo
from cluster.serving.engines.spec import SharingOptions
from cluster.serving.sharing import (
    ChatNow,
    Go,
    OldestText,
    held_until_s,
    mode_for,
    most_beside,
    must_rest,
    next_go,
    num_workers,
)
from sage.base.clock import Clock
from sage.base.ids import RequestId
from sage.base.inference import Reply, Request

_LOOK_AGAIN_S = 0.003  # while chat holds texts back: each look takes it 0.1 ms of a core
_LOOK_AFTER_S = 0.02  # while a meek worker may not come to its texts
_RESCUE_AFTER_S = 0.1  # a micro-batch takes 16 ms of a core


@dataclass(slots=True, eq=False)
class _Batch:
    """Texts at a worker, which chat could hold back until `held_until_s`. `is_rescued`: another was given them too."""

    texts: list[Text]
    go: Go
    held_until_s: float
    is_rescued: bool = False


class SharedEmbed:
    """One embedding model; an Engine that shares its device with the chat engines on the same board."""

    def __init__(
        self,
        info: EngineInfo,
        jobs: EmbedJobs,
        make_encoder: Callable[[], RowEncoder],
        board: DeviceBoard,
        options: SharingOptions,
        *,
        num_cpus: int,
        clock: Clock,
        sleep: Callable[[float], None],
        is_meek: bool = False,
    ) -> None:
        """Load as many encoders as its mode may have at work at once. Owns `board`.

        `sleep` leaves the caller's core to others. `is_meek`: load them in time that nobody else wants.
        """
        self._info = info
        self._jobs = jobs
        self._board = board
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._num_cpus = num_cpus
        self._workers: EmbedWorkers[_Batch] = EmbedWorkers(
            make_encoder, num_workers(options.mode, options.target_s, num_cpus), is_meek=is_meek
        )
        self._in_work: list[_Batch] = []
        self._is_held = False
        self._is_closing = False
        self._first_s = 0.0  # since when the text that waits longest is first in line
        self.wake_fd: int | None = self._workers.wake_fd
        self.tokenizer = jobs.desk

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        self._jobs.add(requests, self._clock.monotonic_s())

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._jobs.cancel(request_ids)

    def step(self) -> list[Reply]:
        for batch, vectors in self._workers.take_done():
            self._jobs.done(batch.texts, vectors)
            self._in_work.remove(batch)
        now_s = self._clock.monotonic_s()
        chat = self._board.chat_now(now_s)
        while self._begin(chat, now_s):
            pass
        self._rescue(now_s)
        self._tell(chat, now_s)
        return self._jobs.replies()

    def has_work(self) -> bool:
        return self._jobs.has_work()

    def due_in_s(self) -> float | None:
        if self._jobs.has_replies():
            return 0.0
        if self._is_held:
            return _LOOK_AGAIN_S
        return _LOOK_AFTER_S if any(batch.go.is_meek for batch in self._in_work) else None

    def begin_line(self, now_s: float) -> None:
        """Count how long the first text in line is held back from now on: others were taken before it till now."""
        self._first_s = now_s

    def is_working(self) -> bool:
        """Say whether a worker has texts."""
        return bool(self._in_work)

    def figures(self) -> Said | None:
        return None

    def close(self) -> None:
        self._jobs.clear()
        self._is_closing = True
        self._workers.close()
        self._board.close()

    def _begin(self, chat: ChatNow, now_s: float) -> bool:
        """Give a worker the next micro-batch, where there is one and chat lets it go; say whether."""
        oldest = self._jobs.oldest()
        if oldest is None:
            self._is_held = False
            return False
        mode = mode_for(chat, self._options.mode, self._options.target_s)
        held_until_s = self._held_until_s(oldest)
        go = next_go(mode, chat, OldestText(oldest.service_class, held_until_s), now_s)
        self._is_held = go is None
        if go is None or not self._has_room(go):
            return False
        self._first_s = now_s
        self._give(_Batch(self._jobs.take(go.budget_tokens), go, held_until_s))
        return True

    def _has_room(self, go: Go) -> bool:
        """Those that go alone have a slot of their own."""
        beside = sum(batch.go.is_alone == go.is_alone for batch in self._in_work)
        return self._workers.num_free() > 0 and beside < most_beside(go, self._num_cpus)

    def _give(self, batch: _Batch) -> None:
        self._in_work.append(batch)
        rest = partial(self._rest, batch) if batch.go.rests else None
        self._workers.give(batch, [text.ids for text in batch.texts], is_meek=batch.go.is_meek, rest=rest)

    def _rest(self, batch: _Batch) -> None:
        """Wait, amid a micro-batch, while chat holds it back; on a worker's thread."""
        while not self._is_closing:
            now_s = self._clock.monotonic_s()
            if not must_rest(self._board.chat_now(now_s), batch.held_until_s, now_s):
                break
            self._sleep(_LOOK_AGAIN_S)

    def _rescue(self, now_s: float) -> None:
        """Embed once more, at the usual priority, what a meek worker did not come to in time."""
        for batch in self._in_work:
            is_late = batch.held_until_s + _RESCUE_AFTER_S <= now_s
            if batch.go.is_meek and is_late and not batch.is_rescued and self._has_room(Go(0, is_alone=True)):
                batch.is_rescued = True
                self._give(_Batch(batch.texts, Go(0, is_alone=True), batch.held_until_s))
                break

    def _held_until_s(self, job: EmbedJob) -> float:
        first_s = 0.0 if self._jobs.has_interactive() else self._first_s  # those before it hold it back too
        max_held_s = self._options.max_held_s
        return held_until_s(job.service_class, job.timeout_s, job.came_s, max_held_s, first_s=first_s)

    def _tell(self, chat: ChatNow, now_s: float) -> None:
        mode = mode_for(chat, self._options.mode, self._options.target_s)
        wants = self._jobs.oldest() is not None
        target_s, num = self._options.target_s, len(self._in_work)
        self._board.show_embedding(mode, target_s, now_s, wants=wants, num_in_work=num)
