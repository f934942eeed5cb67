"""When the records of a source are due, and what all that comes of each has in common. Knows no source."""

from collections.abc import Callable, Sequence
from typing import Any

from cluster.runtime.messages import TaskSpec
from sage.base.dues import DueRecord
from sage.base.ids import TaskId
from sage.flow.graph import DueRole
from sage.flow.spec import Read


class DueMarks:
    """Marks what one task reads."""

    def __init__(self, task_id: TaskId, due_in_s: float, unix_s: Callable[[], float]) -> None:
        """`unix_s` returns seconds since the epoch."""
        self._task_id = task_id
        self._due_in_s = due_in_s
        self._unix_s = unix_s
        self._num_read = 0

    def mark(self, values: Sequence[Any]) -> list[DueRecord]:
        """Return records that came now. No two have one id, also where a source is read again after a restart."""
        now_s = self._unix_s()
        due_s, came = now_s + self._due_in_s, f"{self._task_id}@{now_s:.6f}."
        first, self._num_read = self._num_read, self._num_read + len(values)
        return [DueRecord(value, f"{came}{number}", due_s) for number, value in enumerate(values, first)]


def dues_of(spec: TaskSpec, unix_s: Callable[[], float]) -> DueMarks | None:
    """Return what marks the records that a task reads; None where they are due at no time."""
    first = spec.chain.steps[0]
    if not isinstance(first.spec, Read) or first.spec.due_in_s is None or first.dues is not DueRole.ON_WAY:
        return None
    return DueMarks(spec.id, first.spec.due_in_s, unix_s)
