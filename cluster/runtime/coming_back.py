"""What comes back to the beginning of a loop, and the barrier that goes round it. Pure; knows no machine.

A checkpoint of a loop is taken once its barrier has gone through the whole body: what comes out of the body before the
barrier is in no other task's part of the checkpoint, so it is in that of the beginning.
"""

from collections import deque
from collections.abc import Sequence

from cluster.runtime.credit import ReceiverCredit
from cluster.runtime.inputs import InputSpec
from cluster.runtime.links import Barrier, Delivery, Grant, Link, TaskMessage
from sage.base.batch import Batch
from sage.base.errors import InternalError


class ComingBack:
    """The links on which records come back to one task: most have none.

    They are taken from at all times, also where output waits for credit and there is no room, so that a loop never
    waits for itself; how many records are in it is for its beginning to bound.
    """

    def __init__(self, specs: Sequence[InputSpec], *, num_batches: int) -> None:
        """`num_batches`: credit of each link."""
        self._credits = {spec.link: ReceiverCredit(num_batches) for spec in specs if spec.is_back}
        self._came: deque[Delivery | Barrier] = deque()
        self._out: int | None = None
        self._returned: int | None = None

    @property
    def num_waiting(self) -> int:
        return len(self._came)

    def takes(self, link: Link) -> bool:
        return link in self._credits

    def arrive(self, message: TaskMessage) -> None:
        """Keep what came, until it is taken."""
        match message:
            case Delivery() | Barrier():
                self._came.append(message)
            case _:
                raise InternalError(f"{message} came back to the beginning of a loop, which ends its body itself")

    def take(self) -> tuple[Batch, Grant | None] | None:
        """Return the next batch and the credit to give once it is processed; None where none has come.

        None too once a barrier has come round, until `release`: what comes behind it is of the next checkpoint.
        """
        while self._came and self._returned is None:
            message = self._came.popleft()
            if isinstance(message, Delivery):
                num_batches = self._credits[message.link].processed()
                return message.batch, Grant(message.link, num_batches) if num_batches else None
            if message.checkpoint_id != self._out:
                raise InternalError(f"{message} came round a loop, and {self._out} went in")
            self._returned = message.checkpoint_id
        return None

    # Checkpoints.

    @property
    def is_awaited(self) -> bool:
        """A barrier is on its way round."""
        return self._out is not None

    def send(self, checkpoint_id: int) -> bool:
        """Account for a barrier that is to go round; False where it is on its way already."""
        if self._out == checkpoint_id:
            return False
        assert self._out is None, (self._out, checkpoint_id)
        self._out = checkpoint_id
        return True

    @property
    def has_come_round(self) -> bool:
        """The barrier is back: its checkpoint is to be answered."""
        return self._returned is not None

    def release(self) -> None:
        """Go on after a barrier has come round."""
        self._out = self._returned = None
