"""An embedding engine in virtual time, on a device that a chat engine has too: when it may go is decided by `sharing`.

What decides there, and which texts go together, is the code that serves; here are only the times. A micro-batch is some
work of one worker, done at a rate that changes with what else the device does.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.contention import Beside, Contention
from benchmarks.simulator.engine import EngineModel
from cluster.serving.engines.cost import CostModel
from cluster.serving.engines.micro_batch import next_texts
from cluster.serving.sharing import (
    ChatNow,
    Go,
    OldestText,
    SharingMode,
    held_until_s,
    most_beside,
    must_rest,
    next_go,
    num_workers,
)
from sage.base.errors import ConfigInvalid
from sage.base.ids import RequestId
from sage.base.inference import ServiceClass

_WINDOW_TEXTS = 128  # waiting texts among which those of one length are looked for, as `embed_jobs` does
SIMULATED_MODES = (SharingMode.GATED, SharingMode.PINNED, SharingMode.OFF)
_DONE_S = 1e-9
_ALONE = Beside(1.0, 1.0, 1.0)


@dataclass(slots=True, eq=False)
class TextsJob:
    """A request about texts, which came at `came_s`."""

    id: RequestId
    arrival: Arrival
    came_s: float
    num_left: int
    is_cancelled: bool = False


@dataclass(slots=True, eq=False)
class _Batch:
    jobs: list[TextsJob]
    left_s: float
    go: Go
    held_until_s: float
    rate: float = 0.0


class TextsModel:
    """Told of texts and that chat has changed; says when a micro-batch will be done, and slows chat meanwhile."""

    def __init__(self, chat: EngineModel, costs: CostModel, contention: Contention, mode: SharingMode) -> None:
        """Raises ConfigInvalid by modes in which chat grants turns between its steps: those are not simulated."""
        if mode not in SIMULATED_MODES:
            raise ConfigInvalid(
                f"sharing by {mode.value!r} is not simulated",
                f"Take one of {', '.join(SIMULATED_MODES)}.",
                param="sharing",
            )
        self._chat = chat
        self._costs = costs
        self._contention = contention
        self._mode = mode
        self._num_workers = num_workers(mode, None, contention.num_cpus)
        self._jobs: dict[RequestId, TextsJob] = {}
        self._waiting: deque[tuple[TextsJob, int]] = deque()
        self._in_work: list[_Batch] = []
        self._told_s = 0.0
        self._first_s = 0.0  # since when the text that waits longest is first in line
        self._next_s = math.inf

    def next_s(self) -> float:
        """Return when it is to be told the time again, should chat not change before; infinite where never."""
        return self._next_s

    def add(self, id: RequestId, arrival: Arrival, now_s: float) -> TextsJob:
        """Take a request; `settle` is to be called."""
        job = TextsJob(id, arrival, now_s, len(arrival.texts))
        self._jobs[id] = job
        self._waiting.extend((job, tokens) for tokens in arrival.texts)
        return job

    def cancel(self, job: TextsJob) -> None:
        """Begin with no more texts of a request; `settle` is to be called."""
        job.is_cancelled = True
        self._jobs.pop(job.id, None)

    def settle(self, now_s: float) -> list[TextsJob]:
        """Account for the time since the last call, in which chat did not change; return the requests that ended."""
        ended = self._progress(now_s)
        chat = ChatNow(self._chat.num_running, self._chat.num_lacking)
        while self._begin(chat, now_s):
            pass
        self._share(chat, now_s)
        self._next_s = min(self._wakes_s(chat, now_s), default=math.inf)
        return ended

    def _progress(self, now_s: float) -> list[TextsJob]:
        passed_s, self._told_s = now_s - self._told_s, now_s
        ended: list[TextsJob] = []
        for batch in self._in_work:
            batch.left_s -= passed_s * batch.rate
            for job in batch.jobs if batch.left_s <= _DONE_S else ():
                job.num_left -= 1
                if not job.num_left and not job.is_cancelled:
                    del self._jobs[job.id]
                    ended.append(job)
        self._in_work = [batch for batch in self._in_work if batch.left_s > _DONE_S]
        return ended

    def _begin(self, chat: ChatNow, now_s: float) -> bool:
        """Give a worker the next micro-batch, where there is one and chat lets it go; say whether."""
        oldest = self._oldest()
        if oldest is None:
            return False
        until_s = self._held_until_s(oldest)
        go = next_go(self._mode, chat, OldestText(oldest.arrival.service_class, until_s), now_s)
        if go is None or not self._has_room(go):
            return False
        self._first_s = now_s
        taken = self._take(go.budget_tokens)
        work_s = sum(self._costs.text_ms(tokens) for _, tokens in taken) / 1e3
        self._in_work.append(_Batch([job for job, _ in taken], work_s, go, until_s))
        return True

    def _has_room(self, go: Go) -> bool:
        beside = sum(batch.go.is_alone == go.is_alone for batch in self._in_work)
        return len(self._in_work) < self._num_workers and beside < most_beside(go, self._contention.num_cpus)

    def _oldest(self) -> TextsJob | None:
        while self._waiting and self._waiting[0][0].is_cancelled:
            self._waiting.popleft()
        return self._waiting[0][0] if self._waiting else None

    def _held_until_s(self, job: TextsJob) -> float:
        is_waited_for = any(each.arrival.service_class is ServiceClass.INTERACTIVE for each in self._jobs.values())
        first_s = 0.0 if is_waited_for else self._first_s
        return held_until_s(job.arrival.service_class, None, job.came_s, None, first_s=first_s)

    def _take(self, budget_tokens: int) -> list[tuple[TextsJob, int]]:
        num = min(_WINDOW_TEXTS, len(self._waiting))
        window = [each for each in islice(self._waiting, num) if not each[0].is_cancelled]
        chosen = set(next_texts([tokens for _, tokens in window], budget_tokens))
        for _ in range(num):
            self._waiting.popleft()
        self._waiting.extendleft(each for at, each in reversed(list(enumerate(window))) if at not in chosen)
        return [each for at, each in enumerate(window) if at in chosen]

    def _share(self, chat: ChatNow, now_s: float) -> None:
        """Give each its part of the device."""
        at_work = [batch for batch in self._in_work if not _rests(batch, chat, now_s)]
        num_meek = sum(batch.go.is_meek for batch in at_work)
        beside = self._contention.beside(len(at_work) - num_meek, num_meek) if chat.num_running else None
        for batch in self._in_work:
            batch.rate = 0.0
        for batch in at_work:
            batch.rate = 1.0 if beside is None else (self._contention.meek if batch.go.is_meek else beside).rate
        slowed = beside or _ALONE
        self._chat.slow(slowed.decode, slowed.read, now_s)

    def _wakes_s(self, chat: ChatNow, now_s: float) -> Sequence[float]:
        found = [now_s + batch.left_s / batch.rate for batch in self._in_work if batch.rate]
        found += [batch.held_until_s for batch in self._in_work if not batch.rate]
        oldest = self._oldest()
        if oldest is not None and (until_s := self._held_until_s(oldest)) > now_s:
            found.append(until_s)
        return found


def _rests(batch: _Batch, chat: ChatNow, now_s: float) -> bool:
    return batch.go.rests and must_rest(chat, batch.held_until_s, now_s)
