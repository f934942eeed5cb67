"""What the collecting sinks of one job bring, from when it comes until somebody has taken it. Pure; knows no socket.

A client that collects gets every message, and takes each by its number: what it has not taken comes again when it, or
another connection of its, returns. While it is expected back nothing is given up, and the tasks wait. Where nobody
collects the newest messages are kept, up to a bound, for whoever asks.
"""

from dataclasses import dataclass
from typing import NamedTuple

from cluster.runtime.channel import PeerId
from cluster.runtime.control import RunCollected
from cluster.runtime.control_clients import CollectedNews
from sage.base.ids import JobId, TaskId

MAX_KEPT_BYTES = 16 * 1024 * 1024
"""Of one job, where nobody collects; the newest stay."""

PAGE_BYTES = 4 * 1024 * 1024


class Credit(NamedTuple):
    """A task may send so many more messages."""

    task_id: TaskId
    num: int


@dataclass(slots=True)
class _Task:
    """Numbers of its newest message, of the newest one for which it has its credit back, of the oldest one held."""

    last: int = 0
    credited: int = 0
    oldest: int = 1


class CollectedRecords:
    """Of one job; of its runs the newest alone counts."""

    def __init__(self, job_id: JobId, collector: PeerId | None) -> None:
        """`collector`: the client that takes what comes; None: nobody does."""
        self._job_id = job_id
        self.collector = collector
        self._expected_until_s: float | None = None
        self.begin_run()

    def begin_run(self) -> None:
        """Forget what an older run brought."""
        self._tasks: dict[TaskId, _Task] = {}
        self._held: dict[tuple[TaskId, int], tuple[int, CollectedNews]] = {}
        self._num_come = 0
        self.num_bytes = 0
        self.num_dropped = 0

    # From nodes.

    def came(self, message: RunCollected) -> tuple[CollectedNews, list[Credit]]:
        """Number and keep what a task brought; return it for the collector, and the credit that the task gets now."""
        task = self._tasks.setdefault(message.task_id, _Task())
        task.last += 1
        self._num_come += 1
        news = CollectedNews(
            job_id=self._job_id,
            run_id=message.run_id,
            task_id=message.task_id,
            step=message.step,
            number=task.last,
            records=message.records,
            num_records=message.num_records,
        )
        self._held[message.task_id, task.last] = (self._num_come, news)
        self.num_bytes += len(news.records)
        return news, [] if self.is_expected else self._let_go()

    # From clients.

    def taken(self, task_id: TaskId, number: int) -> list[Credit]:
        """Let go of what was taken of a task; return the credit that it gets back."""
        task = self._tasks.get(task_id)
        if task is None:
            return []
        number = min(number, task.last)
        for each in range(task.oldest, number + 1):
            self._drop((task_id, each))
        task.oldest = max(task.oldest, number + 1)
        return self._credit(task_id, task, number)

    def collected_by(self, peer: PeerId) -> list[CollectedNews]:
        """Have `peer` collect from now on; return what nobody has taken, in order."""
        self.collector, self._expected_until_s = peer, None
        return [news for _, news in self._held.values()]

    def left_by_collector(self, expected_until_s: float | None) -> list[Credit]:
        """Nobody collects now; who did is expected back until then, or not at all. Return the credit to give back."""
        self.collector, self._expected_until_s = None, expected_until_s
        return [] if self.is_expected else self._let_go()

    def expect_no_longer(self, now_s: float) -> list[Credit]:
        """Let the tasks go on if nobody came back in time."""
        if self._expected_until_s is None or now_s < self._expected_until_s:
            return []
        return self.left_by_collector(None)

    def page(self, after: int) -> tuple[tuple[CollectedNews, ...], int | None]:
        """Return what is kept after the message that came as number `after`, and where the next page begins."""
        pieces: list[CollectedNews] = []
        num_bytes = 0
        for come, news in self._held.values():
            if come <= after:
                continue
            if pieces and num_bytes + len(news.records) > PAGE_BYTES:
                return tuple(pieces), after
            pieces.append(news)
            num_bytes += len(news.records)
            after = come
        return tuple(pieces), None

    def forget_kept(self) -> None:
        """Let go of everything: others are newer."""
        for key in list(self._held):
            self._drop(key, counts=True)

    @property
    def is_expected(self) -> bool:
        """Say whether somebody collects, or is to come back."""
        return self.collector is not None or self._expected_until_s is not None

    def _let_go(self) -> list[Credit]:
        """Give every task its credit back, and keep the newest messages alone."""
        while self.num_bytes > MAX_KEPT_BYTES and len(self._held) > 1:
            self._drop(next(iter(self._held)), counts=True)
        return [credit for task_id, task in self._tasks.items() for credit in self._credit(task_id, task, task.last)]

    def _credit(self, task_id: TaskId, task: _Task, number: int) -> list[Credit]:
        num = number - task.credited
        task.credited = max(task.credited, number)
        return [Credit(task_id, num)] if num > 0 else []

    def _drop(self, key: tuple[TaskId, int], *, counts: bool = False) -> None:
        if (found := self._held.pop(key, None)) is not None:
            self.num_bytes -= len(found[1].records)
            self.num_dropped += found[1].num_records if counts else 0
