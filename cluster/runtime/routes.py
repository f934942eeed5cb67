"""Which tasks are on which other node, and in which epoch of their job. Knows no socket.

Written and read by any thread: single operations on dicts, which are atomic.
"""

from collections.abc import Iterable
from typing import NamedTuple

from cluster.runtime.record_types import RecordTypes
from sage.base.ids import NodeId, TaskId


class Route(NamedTuple):
    """A task that is elsewhere. A message counts only where both ends name the same epoch.

    `types` are those classes of its flow that may travel.
    """

    peer: NodeId
    epoch: int
    types: RecordTypes


class Routes:
    """The routing table of one node."""

    def __init__(self) -> None:
        self._routes: dict[TaskId, Route] = {}
        self._gone: dict[TaskId, int] = {}

    def add(self, task_id: TaskId, route: Route) -> None:
        """Say where a task is; replaces what was said before."""
        self._gone.pop(task_id, None)
        self._routes[task_id] = route

    def remove(self, task_ids: Iterable[TaskId]) -> None:
        """Forget tasks; unknown ones are passed over."""
        for task_id in task_ids:
            self._routes.pop(task_id, None)
            self._gone.pop(task_id, None)

    def remove_peer(self, peer: NodeId) -> None:
        """Forget all tasks of a node."""
        self.remove([task_id for task_id, route in list(self._routes.items()) if route.peer == peer])

    def find(self, task_id: TaskId) -> Route | None:
        """Return where the task is, ended or not; None where it is not known to be elsewhere."""
        return self._routes.get(task_id)

    def has_ended(self, task_id: TaskId) -> bool:
        """Say whether the task's node has told that it is not there any more."""
        return task_id in self._gone

    def end(self, task_id: TaskId, peer: NodeId, epoch: int) -> bool:
        """Note what `peer` told; False where it is old news: another peer or epoch has the task by now."""
        route = self._routes.get(task_id)
        if route is None or route[:2] != (peer, epoch) or task_id in self._gone:
            return False
        self._gone[task_id] = epoch
        return True
