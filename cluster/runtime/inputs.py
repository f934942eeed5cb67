"""What has come for a task and waits: batches, barriers, ends, completions, watermarks, the credit owed. Pure."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

import msgspec

from cluster.runtime.credit import ReceiverCredit
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link
from sage.base.batch import Batch
from sage.base.errors import InternalError


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One incoming link. `is_completion`: it carries only an end, and no record is taken before that has come.

    `port`: which input of a machine with two it is; its records are taken as `(port, record)`. `is_timeless`: its event
    time is not that of the task. `is_back`: it ends the body of the loop that begins here (`coming_back`).
    """

    link: Link
    is_completion: bool = False
    port: int | None = None
    is_timeless: bool = False
    is_back: bool = False


class Inputs:
    """All incoming links of a task.

    Barriers align: what comes on a link behind its barrier is set aside until every link has had its barrier or has
    ended and everything before the barriers was taken. Then `aligned` says so, and `release` goes on.
    """

    def __init__(self, specs: Sequence[InputSpec], *, num_batches: int) -> None:
        """`num_batches`: credit of each link."""
        self._open = {spec.link: spec for spec in specs}
        self._credits = {spec.link: ReceiverCredit(num_batches) for spec in specs if not spec.is_completion}
        self._num_awaited = sum(spec.is_completion for spec in specs)
        self._held: deque[Delivery | Idle | End | Batch] = deque()
        self._barred: set[Link] = set()
        self._aside: deque[Delivery | Idle | End] = deque()
        self._checkpoint_id: int | None = None
        self._is_dropped = False
        self._num_open = len(specs)
        self._watermarks = {spec.link: -inf for spec in specs if not (spec.is_completion or spec.is_timeless)}
        self._idle: set[Link] = set()
        self._watermark_s = -inf
        self._news_s: float | None = None

    @property
    def watermark_s(self) -> float:
        """What the machine was told last."""
        return self._watermark_s

    @property
    def num_waiting(self) -> int:
        """How many messages have come and were not taken."""
        return len(self._held) + len(self._aside)

    def restore(self, batches: Iterable[Batch], watermark_s: float) -> None:
        """Go on from a checkpoint: these batches came before it and wait first. The watermark is told once more."""
        # Without their watermarks: their links will tell these again.
        self._held.extend(msgspec.structs.replace(batch, watermark_s=None) for batch in batches)
        self._watermark_s = watermark_s
        self._news_s = watermark_s if watermark_s > -inf else None

    def add(self, delivery: Delivery) -> None:
        """Keep a batch that came, until it is taken."""
        spec = self._open.get(delivery.link)
        if spec is None or spec.is_completion:
            raise InternalError(f"a batch came on a link that carries none: {delivery.link}")
        if spec.port is not None:
            values = [(spec.port, record) for record in delivery.batch.values]
            keys = delivery.batch.keys if delivery.batch.keys is not None else (None,) * len(values)
            delivery = replace(delivery, batch=msgspec.structs.replace(delivery.batch, values=values, keys=keys))
        self._keep(delivery)

    def end(self, end: End) -> None:
        """Account for an end; it counts once what came before it was taken."""
        spec = self._open.pop(end.link, None)
        if spec is None:
            raise InternalError(f"an end came twice, or on an unknown link: {end.link}")
        self._num_open -= 1
        if spec.is_completion:
            self._num_awaited -= 1
        else:
            self._keep(end)
            self._pass_marks()

    def idle(self, idle: Idle) -> None:
        """Account for a link on which nothing is to be expected until something comes."""
        spec = self._open.get(idle.link)
        if spec is None or spec.is_completion:
            raise InternalError(f"a link that is over, or carries nothing, is said to be idle: {idle.link}")
        self._keep(idle)
        self._pass_marks()

    def is_idle(self) -> bool:
        """Say whether nothing waits and nothing is to be expected on any link that has not ended."""
        return not self._held and len(self._idle) == len(self._watermarks) > 0

    def _keep(self, message: Delivery | Idle | End) -> None:
        is_behind = message.link in self._barred and not self._is_dropped
        if is_behind:
            self._aside.append(message)
        else:
            self._held.append(message)

    def has_batch(self) -> bool:
        """Say whether a batch may be taken now."""
        return self._num_awaited == 0 and (bool(self._held) or self._news_s is not None)

    def is_awaiting(self) -> bool:
        """Say whether a completion is still to come."""
        return self._num_awaited > 0

    def take(self) -> tuple[Batch, Grant | None]:
        """Return the next batch and the credit to give once it is processed.

        Its watermark is that of the whole task, told when it rises: the least of all links that have not ended and are
        not idle.
        """
        if self._news_s is not None:
            watermark_s, self._news_s = self._news_s, None
            return Batch((), watermark_s=watermark_s), None
        taken = self._held.popleft()
        assert not isinstance(taken, Idle | End), "they are passed as soon as they are first"
        if isinstance(taken, Batch):
            self._pass_marks()
            return taken, None  # nobody spent credit on it: it was restored
        batch, link = taken.batch, taken.link
        self._idle.discard(link)
        if link not in self._watermarks:
            batch = batch if batch.watermark_s is None else msgspec.structs.replace(batch, watermark_s=None)
        elif batch.watermark_s is not None:
            self._watermarks[link] = max(self._watermarks[link], batch.watermark_s)
            risen_s = self._risen()
            batch = batch if batch.watermark_s == risen_s else msgspec.structs.replace(batch, watermark_s=risen_s)
        num_batches = self._credits[link].processed()
        self._pass_marks()
        return batch, Grant(link, num_batches) if num_batches else None

    def _pass_marks(self) -> None:
        """Take the ends and idle links that are first in turn: they hold the watermark back no more."""
        while self._held and isinstance(mark := self._held[0], Idle | End):
            self._held.popleft()
            if isinstance(mark, End):
                self._watermarks.pop(mark.link, None)
                self._idle.discard(mark.link)
            elif mark.link in self._watermarks:
                self._idle.add(mark.link)
            risen_s = self._risen()
            self._news_s = self._news_s if risen_s is None else risen_s

    def _risen(self) -> float | None:
        """Return the least watermark of all links that count, where it has risen since the last time."""
        awake = self._watermarks
        if self._idle:
            awake = {link: time_s for link, time_s in awake.items() if link not in self._idle}
        least_s = min(awake.values(), default=-inf)
        if least_s <= self._watermark_s:
            return None
        self._watermark_s = least_s
        return least_s

    def is_over(self) -> bool:
        """Say whether every link has ended, every batch was taken and no barrier is to be answered."""
        return self._num_open == 0 and not self._held and self._checkpoint_id is None

    # Checkpoints.

    def bar(self, barrier: Barrier) -> None:
        """Account for a barrier."""
        spec = self._open.get(barrier.link)
        if spec is None or spec.is_completion or barrier.link in self._barred:
            raise InternalError(f"a barrier came twice, or on a link that carries none: {barrier.link}")
        if self._checkpoint_id not in (None, barrier.checkpoint_id):
            raise InternalError(f"{barrier} came while {self._checkpoint_id} is on its way")
        self._checkpoint_id = barrier.checkpoint_id
        self._barred.add(barrier.link)

    def drop(self) -> None:
        """Let nothing wait for barriers any more: their checkpoint was given up. They are still awaited."""
        self._is_dropped = True
        self._take_back()

    def aligned(self) -> int | None:
        """Return the checkpoint of which every barrier has come and everything before them was taken, or None.

        Where a completion is awaited, so that nothing is taken, what waits before the barriers is part of the snapshot.
        """
        if self._checkpoint_id is None or (self.has_batch() and not self._is_dropped):
            return None
        is_whole = all(link in self._barred or spec.is_completion for link, spec in self._open.items())
        return self._checkpoint_id if is_whole else None

    def waiting(self) -> tuple[Batch, ...]:
        """Return what has come before the barriers and was not taken: most often nothing."""
        held = [held for held in self._held if not isinstance(held, Idle | End)]  # restored senders say so again
        return tuple(held.batch if isinstance(held, Delivery) else held for held in held)

    def release(self) -> None:
        """Go on after `aligned`."""
        self._is_dropped = False
        self._barred.clear()
        self._checkpoint_id = None
        self._take_back()

    def _take_back(self) -> None:
        self._held.extend(self._aside)
        self._aside.clear()
        self._pass_marks()
