"""What has come for a task and waits: batches, ends, completions, and the credit owed for them. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from cluster.runtime.credit import ReceiverCredit
from cluster.runtime.links import Delivery, End, Grant, Link
from sage.base.batch import Batch
from sage.base.errors import InternalError


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One incoming link. `is_completion`: it carries only an end, and no record is taken before that has come."""

    link: Link
    is_completion: bool = False


class Inputs:
    """All incoming links of a task."""

    def __init__(self, specs: Sequence[InputSpec], *, num_batches: int) -> None:
        """`num_batches`: credit of each link."""
        self._open = {spec.link: spec for spec in specs}
        self._credits = {spec.link: ReceiverCredit(num_batches) for spec in specs if not spec.is_completion}
        self._num_awaited = sum(spec.is_completion for spec in specs)
        self._held: deque[Delivery] = deque()
        self._num_open = len(specs)

    def add(self, delivery: Delivery) -> None:
        """Keep a batch that came, until it is taken."""
        spec = self._open.get(delivery.link)
        if spec is None or spec.is_completion:
            raise InternalError(f"a batch came on a link that carries none: {delivery.link}")
        self._held.append(delivery)

    def end(self, end: End) -> None:
        """Account for an end; it counts once what came before it was taken."""
        spec = self._open.pop(end.link, None)
        if spec is None:
            raise InternalError(f"an end came twice, or on an unknown link: {end.link}")
        self._num_open -= 1
        self._num_awaited -= spec.is_completion

    def has_batch(self) -> bool:
        """Say whether a batch may be taken now."""
        return self._num_awaited == 0 and bool(self._held)

    def is_awaiting(self) -> bool:
        """Say whether a completion is still to come."""
        return self._num_awaited > 0

    def take(self) -> tuple[Batch, Grant | None]:
        """Return the next batch and the credit to give once it is processed."""
        delivery = self._held.popleft()
        num_batches = self._credits[delivery.link].processed()
        return delivery.batch, Grant(delivery.link, num_batches) if num_batches else None

    def is_over(self) -> bool:
        """Say whether every link has ended and every batch was taken."""
        return self._num_open == 0 and not self._held
