"""The transport between tasks of one process: a call. Knows nothing of other processes."""

from cluster.runtime.links import TaskMessage, recipient_of
from cluster.runtime.transport import Receive
from sage.base.errors import InternalError
from sage.base.ids import TaskId


class InprocTransport:
    """Hands messages over by reference: a batch sent must not be touched again."""

    def __init__(self) -> None:
        self._receivers: dict[TaskId, Receive] = {}  # single dict operations: atomic between threads

    def connect(self, task_id: TaskId, receive: Receive) -> None:
        if self._receivers.setdefault(task_id, receive) is not receive:
            raise InternalError(f"task {task_id} is connected twice")

    def disconnect(self, task_id: TaskId) -> None:
        self._receivers.pop(task_id, None)

    def send(self, message: TaskMessage) -> bool:
        receive = self._receivers.get(recipient_of(message))
        return receive is not None and receive(message)
