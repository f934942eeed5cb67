"""Where a task's batches go: routing, credit, and what waits for credit. Pure; knows neither threads nor transport."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from msgspec import structs

from cluster.runtime.credit import SenderCredit
from cluster.runtime.link_pace import LinkPace
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.flow.iterate import INSIDE
from sage.flow.plan import Routing, Side

Send = Callable[[Delivery | Idle | Barrier | End], object]
Split = Callable[[Batch, int], Iterable[tuple[int, Batch]]]
"""Parts a keyed batch: `(partition, its records)` for each partition that gets some."""


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """One outgoing channel as one task sees it: a link to each instance that it may reach, in their order."""

    routing: Routing
    links: tuple[Link, ...]
    side: Side | None = None


class Outputs:
    """All outgoing channels of a task. What has no credit waits here; the task takes no input while anything does."""

    def __init__(
        self, specs: Sequence[OutputSpec], send: Send, split: Split, *, num_batches: int, max_records: int
    ) -> None:
        """`num_batches`: credit of each link. `max_records`: batches that wait are joined up to this many."""
        self._channels = [_Channel(spec, send, num_batches, max_records) for spec in specs]
        self._data = [channel for channel in self._channels if channel.routing is not Routing.COMPLETION]
        self._of_side: dict[Side | None, list[_Channel]] = {}
        for channel in self._data:
            self._of_side.setdefault(channel.side, []).append(channel)
        self._split = split
        self._is_idle = False
        self._by_link = {link: channel for channel in self._channels for link in channel.links}

    def emit(self, batch: Batch, side: Side | None = None) -> None:
        """Send `batch` to every channel of the main stream, or of a side, or keep it until there is credit."""
        if len(batch) == 0 and batch.watermark_s is None:
            return
        self._is_idle = False
        for number, channel in enumerate(self._of_side.get(side, ())):
            own = batch if number == 0 else _copied(batch)
            if channel.routing is Routing.BROADCAST:
                for partition in range(len(channel.links)):
                    channel.add(own if partition == 0 else _copied(batch), partition)
            elif channel.routing is Routing.KEYED and len(channel.links) > 1:
                for partition, part in self._split(own, len(channel.links)):
                    channel.add(part, partition)
            else:
                channel.add(own, 0)

    def grant(self, grant: Grant, now_s: float) -> None:
        """Take credit and send what it lets go."""
        channel = self._by_link.get(grant.link)
        if channel is None:
            raise InternalError(f"credit for an unknown link {grant.link}")
        channel.grant(grant, now_s)

    def is_stalled(self) -> bool:
        """Say whether anything waits for credit."""
        for channel in self._data:  # noqa: SIM110 - asked before each batch, and any() takes three times as long
            if channel.waits():
                return True
        return False

    def idle(self) -> bool:
        """Tell every receiver, once, to expect nothing until something is sent; False while one is owed something.

        Nobody in the body of a loop is told: watermarks count records there, and none may be passed over.
        """
        if self._is_idle:
            return True
        if any(channel.waits() or channel.owes() for channel in self._data):
            return False
        self._is_idle = True
        for channel in self._data:
            if channel.side is None or channel.side[1] != INSIDE:
                channel.idle()
        return True

    def barrier(self, checkpoint_id: int) -> None:
        """Send a barrier behind everything that was emitted; nothing may wait any more."""
        assert not self.is_stalled()
        for channel in self._data:
            channel.barrier(checkpoint_id)

    def end(self) -> None:
        """Tell every receiver that nothing more comes; nothing may wait any more."""
        assert not self.is_stalled()
        for channel in self._channels:
            channel.end()


class _Channel:
    """One channel: a queue for each receiver, or one for all where any of them will do."""

    def __init__(self, spec: OutputSpec, send: Send, num_batches: int, max_records: int) -> None:
        self.routing = spec.routing
        self.side = spec.side
        self.links = spec.links
        self._send = send
        self._max_records = max_records
        self._credits = {link: SenderCredit(num_batches) for link in spec.links}
        self._is_shared = spec.routing is Routing.ROUND_ROBIN
        self._pace = LinkPace(spec.links, max_records) if self._is_shared and len(spec.links) > 1 else None
        self._numbers = {link: number for number, link in enumerate(spec.links)}
        self._queues: list[deque[Batch]] = [deque() for _ in spec.links]
        self._next = 0
        self._owed: dict[Link, float] = {}

    def add(self, batch: Batch, partition: int) -> None:
        queue = self._queues[partition]
        if queue and (len(batch) == 0 or len(queue[-1]) + len(batch) <= self._max_records):
            queue[-1] = _joined(queue[-1], batch)
        else:
            queue.append(batch)
        self._flush(partition)

    def grant(self, grant: Grant, now_s: float) -> None:
        self._credits[grant.link].grant(grant.num_batches)
        if self._pace is not None:
            self._pace.granted(grant.link, grant.num_batches, now_s)
        self._flush(0 if self._is_shared else self._numbers[grant.link])
        if grant.link in self._owed:
            self._pay(grant.link)

    def waits(self) -> bool:
        return any(self._queues)

    def owes(self) -> bool:
        """Say whether some links are still to be told of a watermark."""
        return bool(self._owed)

    def idle(self) -> None:
        for link in self.links:
            self._send(Idle(link))

    def barrier(self, checkpoint_id: int) -> None:
        for link in self.links:
            self._send(Barrier(link, checkpoint_id))

    def end(self) -> None:
        self._owed.clear()  # the end says more
        for link in self.links:
            self._send(End(link))

    def _flush(self, partition: int) -> None:
        queue = self._queues[partition]
        while queue and (link := self._link_for(partition)) is not None:
            batch = queue.popleft()
            if self._pace is not None and len(batch) > self._pace.num_records:
                batch, rest = _cut(batch, self._pace.num_records)
                queue.appendleft(rest)
            self._deliver(link, batch)
            if self._is_shared and batch.watermark_s is not None:
                self._owe(link, batch.watermark_s)

    def _owe(self, told: Link, watermark_s: float) -> None:
        """Tell every other link too: each has got its share of the records before the watermark."""
        self._owed = dict.fromkeys(self.links, watermark_s)
        del self._owed[told]
        for link in list(self._owed):
            self._pay(link)

    def _pay(self, link: Link) -> None:
        if not self._credits[link].is_stalled():
            self._deliver(link, Batch((), watermark_s=self._owed.pop(link)))

    def _deliver(self, link: Link, batch: Batch) -> None:
        self._credits[link].spend()
        if self._pace is not None:
            self._pace.sent(link, len(batch))
        self._send(Delivery(link, batch))

    def _link_for(self, partition: int) -> Link | None:
        """Return the link that the next batch takes: its own, or any with credit in turn."""
        if not self._is_shared:
            link = self.links[partition]
            return None if self._credits[link].is_stalled() else link
        for offset in range(len(self.links)):
            link = self.links[(self._next + offset) % len(self.links)]
            if not self._credits[link].is_stalled():
                self._next = (self._next + offset + 1) % len(self.links)
                return link
        return None


def _copied(batch: Batch) -> Batch:
    """Return a batch whose lists are its own; sequences that cannot change are shared."""
    values = list(batch.values) if isinstance(batch.values, list) else batch.values
    keys = list(batch.keys) if isinstance(batch.keys, list) else batch.keys
    times = list(batch.timestamps_s) if isinstance(batch.timestamps_s, list) else batch.timestamps_s
    return Batch(values, keys, times, batch.watermark_s)


def _cut(batch: Batch, num_records: int) -> tuple[Batch, Batch]:
    """Return the first `num_records`, and the rest with the watermark that follows all."""
    keys, times = batch.keys, batch.timestamps_s
    first = Batch(
        batch.values[:num_records],
        None if keys is None else keys[:num_records],
        None if times is None else times[:num_records],
    )
    rest = Batch(
        batch.values[num_records:],
        None if keys is None else keys[num_records:],
        None if times is None else times[num_records:],
        batch.watermark_s,
    )
    return first, rest


def _joined(first: Batch, second: Batch) -> Batch:
    """Return both as one, which ends at the later watermark; either may hold a watermark alone."""
    watermark_s = first.watermark_s if second.watermark_s is None else second.watermark_s
    if len(first) == 0 or len(second) == 0:
        return structs.replace(second if len(first) == 0 else first, watermark_s=watermark_s)
    keys = None if first.keys is None or second.keys is None else [*first.keys, *second.keys]
    times: list[float] | None = None
    if first.timestamps_s is not None and second.timestamps_s is not None:
        times = [*first.timestamps_s, *second.timestamps_s]
    return Batch([*first.values, *second.values], keys, times, watermark_s)
