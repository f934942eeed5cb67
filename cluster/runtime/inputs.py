"""What has come for a task and waits: batches, ends, completions, watermarks, the credit owed for them. Pure."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

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
        self._held: deque[Delivery | End] = deque()
        self._num_open = len(specs)
        self._watermarks = dict.fromkeys(self._credits, -inf)
        self._watermark_s = -inf
        self._news_s: float | None = None

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
        if spec.is_completion:
            self._num_awaited -= 1
        else:
            self._held.append(end)
            self._pass_ends()

    def has_batch(self) -> bool:
        """Say whether a batch may be taken now."""
        return self._num_awaited == 0 and (bool(self._held) or self._news_s is not None)

    def is_awaiting(self) -> bool:
        """Say whether a completion is still to come."""
        return self._num_awaited > 0

    def take(self) -> tuple[Batch, Grant | None]:
        """Return the next batch and the credit to give once it is processed.

        Its watermark is that of the whole task: the least of all links that have not ended, told when it rises.
        """
        if self._news_s is not None:
            watermark_s, self._news_s = self._news_s, None
            return Batch((), watermark_s=watermark_s), None
        delivery = self._held.popleft()
        assert isinstance(delivery, Delivery), "ends are passed as soon as they are first"
        batch, link = delivery.batch, delivery.link
        if batch.watermark_s is not None:
            self._watermarks[link] = max(self._watermarks[link], batch.watermark_s)
            risen_s = self._risen()
            batch = batch if batch.watermark_s == risen_s else replace(batch, watermark_s=risen_s)
        num_batches = self._credits[link].processed()
        self._pass_ends()
        return batch, Grant(link, num_batches) if num_batches else None

    def _pass_ends(self) -> None:
        """Forget the links whose ends are first in turn: they hold the watermark back no more."""
        while self._held and isinstance(self._held[0], End):
            del self._watermarks[self._held[0].link]
            self._held.popleft()
            risen_s = self._risen()
            self._news_s = self._news_s if risen_s is None else risen_s

    def _risen(self) -> float | None:
        """Return the least watermark of all links where it has risen since the last time."""
        least_s = min(self._watermarks.values(), default=-inf)
        if least_s <= self._watermark_s:
            return None
        self._watermark_s = least_s
        return least_s

    def is_over(self) -> bool:
        """Say whether every link has ended and every batch was taken."""
        return self._num_open == 0 and not self._held
