"""The checkpoints of tasks that are driven by hand, kept in memory. Pure; knows no task, no disk."""

from collections import deque
from collections.abc import Sequence

from cluster.runtime.saving import TaskState
from sage.base.ids import TaskId

Cut = dict[TaskId, TaskState]
"""What every task of a job holds, as of one checkpoint."""


class Cuts:
    """One checkpoint at a time. `newest` is the newest complete one; `finals` are the last states of tasks."""

    def __init__(self, task_ids: Sequence[TaskId], newest: Cut | None = None) -> None:
        self.newest = newest
        self.finals: Cut = {}
        self.num_complete = 0
        self._task_ids = tuple(task_ids)
        self._cut: Cut = {}
        self._checkpoint_id = 0
        self._awaited: set[TaskId] = set()
        self._is_dropped = False
        self._commits: dict[TaskId, deque[int]] = {task_id: deque() for task_id in task_ids}

    @property
    def is_on_its_way(self) -> bool:
        return bool(self._awaited)

    @property
    def has_all_finals(self) -> bool:
        """Every task has said its last: what is not over waits for a checkpoint to be complete."""
        return len(self.finals) == len(self._task_ids)

    @property
    def to_commit(self) -> list[TaskId]:
        """Tasks that are still to hear that a checkpoint is complete."""
        return [task_id for task_id, ids in self._commits.items() if ids]

    def pop_commit(self, task_id: TaskId) -> int:
        """Return the checkpoint that the task is to hear of now."""
        return self._commits[task_id].popleft()

    def begin(self) -> int | None:
        """Return the id of a new checkpoint; None while one is on its way."""
        if self._awaited:
            return None
        self._checkpoint_id += 1
        self._cut = dict(self.finals)
        self._is_dropped = False
        self._awaited = set(self._task_ids) - self.finals.keys()
        checkpoint_id = self._checkpoint_id
        self._completed()
        return checkpoint_id

    def drop(self) -> int | None:
        """Give up the one on its way; return its id."""
        if not self._awaited:
            return None
        self._is_dropped = True
        return self._checkpoint_id

    def take(self, task_id: TaskId, checkpoint_id: int | None, state: TaskState | None) -> None:
        """Take an answer: None in place of a state says that it was given up. `checkpoint_id` None: a final state."""
        if checkpoint_id is None:
            assert state is not None
            self.finals[task_id] = state
            if task_id not in self._awaited:
                return
        elif task_id in self.finals:
            return  # it passes on barriers while it waits to commit
        assert checkpoint_id in (None, self._checkpoint_id), checkpoint_id
        self._awaited.remove(task_id)
        self._is_dropped = self._is_dropped or state is None
        if state is not None:
            self._cut[task_id] = state
        self._completed()

    def _completed(self) -> None:
        if not self._awaited and self._cut and not self._is_dropped:
            self.newest, self._cut = self._cut, {}
            self.num_complete += 1
            for ids in self._commits.values():
                ids.append(self._checkpoint_id)
