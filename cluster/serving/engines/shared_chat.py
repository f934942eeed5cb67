"""A generation engine on a device that embeddings run on too: it says how it is, and lets them run between steps.

Wraps any Engine; decides nothing, see `sharing`.
"""

import contextlib
import os
import select
from collections.abc import Callable, Sequence

from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.figures import Said
from cluster.serving.engines.port import Engine, EngineInfo
from cluster.serving.sharing import ChatNow, ChatPace, SharingMode, TurnBudget
from sage.base.clock import Clock
from sage.base.ids import RequestId
from sage.base.inference import Reply, Request, Token

_LOOK_AGAIN_S = 0.0003  # whether embeddings are done with their turn
_MAX_OVERRUN_S = 0.05  # then it is not waited for any longer
_TARGET_OF_CHUNKS = 1.3  # of a step that reads a prompt: the target where none is given


class SharedChat:
    """An Engine that shares its device with the embedding engines on the same board; owns both."""

    def __init__(
        self, engine: Engine, board: DeviceBoard, *, cpus: frozenset[int], clock: Clock, sleep: Callable[[float], None]
    ) -> None:
        """`cpus`: those that it may run on, all but the last of them where embeddings have a core of their own."""
        self._engine = engine
        self._board = board
        self._cpus = cpus
        self._clock = clock
        self._sleep = sleep
        self._pace = ChatPace()
        self._turns = TurnBudget()
        self._running: set[RequestId] = set()
        self._lacking: set[RequestId] = set()
        self._is_pinned = False
        self.wake_fd = engine.wake_fd
        self.tokenizer = engine.tokenizer

    def info(self) -> EngineInfo:
        return self._engine.info()

    def add(self, requests: Sequence[Request]) -> None:
        ids = [request.id for request in requests]
        self._running.update(ids)
        self._lacking.update(ids)
        self._show(self._clock.monotonic_s())  # at once: a prompt begins with the next step
        self._engine.add(requests)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._engine.cancel(request_ids)

    def step(self) -> list[Reply]:
        if self._running:
            self._let_others()
        has_read, began_s = bool(self._lacking), self._clock.monotonic_s()
        had_work = bool(self._running)
        replies = self._engine.step()
        ended_s = self._clock.monotonic_s()
        if had_work:
            self._pace.stepped(began_s, ended_s, has_read=has_read)
        for reply in replies:
            self._lacking.discard(reply.request_id)
            if not isinstance(reply, Token):
                self._running.discard(reply.request_id)
        if had_work:
            self._show(ended_s)
        return replies

    def has_work(self) -> bool:
        return self._engine.has_work()

    def due_in_s(self) -> float | None:
        return self._engine.due_in_s()

    def figures(self) -> Said | None:
        return self._engine.figures()

    def close(self) -> None:
        self._board.close()
        self._engine.close()

    def _let_others(self) -> None:
        """Do as embeddings want to share: keep off their core, or give them a turn before the next step."""
        now_s = self._clock.monotonic_s()
        mode, target_s = self._board.embedding_mode(now_s)
        self._pin(mode is SharingMode.PINNED)
        if mode is SharingMode.ALTERNATING and not self._lacking and self._pace.step_s:
            target_s = target_s or _TARGET_OF_CHUNKS * max(self._pace.chunk_s, self._pace.step_s)
            budget_s = self._turns.budget_s(target_s, self._pace.step_s)
            if budget_s and self._board.texts_wait(now_s):
                self._give_turn(budget_s)

    def _give_turn(self, budget_s: float) -> None:
        until_s = self._clock.monotonic_s() + budget_s
        self._show(until_s - budget_s, turn_until_s=until_s)
        while (now_s := self._clock.monotonic_s()) < until_s + _MAX_OVERRUN_S:
            is_working = self._board.num_in_work(now_s) > 0
            if not is_working and (now_s >= until_s or not self._board.texts_wait(now_s)):
                break
            self._sleep(_LOOK_AGAIN_S)
        self._turns.overran(max(0.0, now_s - until_s))
        self._show(now_s)

    def _show(self, now_s: float, *, turn_until_s: float = 0.0) -> None:
        pace = self._pace
        chat = ChatNow(len(self._running), len(self._lacking), pace.busy, pace.step_s, pace.chunk_s, turn_until_s)
        self._board.show_chat(chat, now_s)

    def _pin(self, is_pinned: bool) -> None:
        if is_pinned == self._is_pinned or len(self._cpus) < 2:
            return
        self._is_pinned = is_pinned
        keep_to(self._cpus - {max(self._cpus)} if is_pinned else self._cpus)


def pause(seconds: float) -> None:
    """Leave this thread's core to others for so long."""
    select.select((), (), (), seconds)


def keep_to(cpus: frozenset[int]) -> None:
    """Have every thread of this process run on `cpus` only, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread), cpus)


def usable_cpus() -> frozenset[int]:
    """Return the CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))
