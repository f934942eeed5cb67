"""How tasks reach each other, as a port. Knows nothing of what tasks do with what they get."""

from collections.abc import Callable
from typing import Protocol

from cluster.runtime.links import TaskMessage
from sage.base.ids import TaskId

Receive = Callable[[TaskMessage], bool]
"""Takes a message for a task, on any thread, without waiting; False where the task has ended."""


class Transport(Protocol):
    """Carries messages between tasks. Messages of one link arrive in order, each once, or not at all."""

    def connect(self, task_id: TaskId, receive: Receive) -> None:
        """Let messages for `task_id` arrive at `receive`; raises InternalError where it is connected already."""
        ...

    def disconnect(self, task_id: TaskId) -> None:
        """Let nothing arrive any more; unknown tasks are passed over."""
        ...

    def send(self, message: TaskMessage) -> bool:
        """Hand `message` over without waiting; False where nobody of that id is connected: it is gone."""
        ...
