"""How many records a batch takes with it where any of several receivers will do. Pure; knows no transport.

Receivers that take long over a record get few at once, so that all have work to the end and none keeps much from the
others; quick ones get whole batches. What a batch takes is known by the credit that comes back for it.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from cluster.runtime.links import Link

FIRST_RECORDS = 16
GROW_BELOW_S = 0.005
SHRINK_ABOVE_S = 0.010
STIFF_RATIO = 1.5
"""Half the records taking so much longer each: what takes long is the batch, and smaller ones do not help."""


@dataclass(slots=True)
class _Flight:
    """What one receiver has been sent and has not given credit for. `since_s`: since when it was busy with it."""

    sizes: deque[int] = field(default_factory=deque)
    since_s: float | None = None


class LinkPace:
    """One for all links of a channel: their receivers are instances of one step."""

    def __init__(self, links: Sequence[Link], max_records: int) -> None:
        self._max_records = max_records
        self._flights = {link: _Flight() for link in links}
        self._each_s = inf  # what a record took when batches were last made smaller
        self._is_stiff = False
        self.num_records = min(FIRST_RECORDS, max_records)

    def sent(self, link: Link, num_records: int) -> None:
        """Account for a batch that was sent."""
        self._flights[link].sizes.append(num_records)

    def granted(self, link: Link, num_batches: int, now_s: float) -> None:
        """Account for credit for the oldest `num_batches` of a link."""
        flight = self._flights[link]
        num_records = sum(flight.sizes.popleft() for _ in range(num_batches))
        since_s, flight.since_s = flight.since_s, now_s if flight.sizes else None
        if since_s is None:
            since_s = None if flight.sizes else now_s  # who knows since when it was busy; or it waits for us
        if since_s is not None and num_records:
            took_s = now_s - since_s
            self._took(took_s / num_batches, num_records / num_batches, took_s / num_records)

    def _took(self, batch_s: float, len_batch: float, each_s: float) -> None:
        """Judge by batches that were made as large as they are made now: what went before was judged already."""
        if batch_s < GROW_BELOW_S and 2 * len_batch > self.num_records:
            self.num_records = min(self._max_records, 2 * self.num_records)
        elif batch_s > SHRINK_ABOVE_S and len_batch <= self.num_records and not self._is_stiff:
            self._shrink(each_s)

    def _shrink(self, each_s: float) -> None:
        if each_s > STIFF_RATIO * self._each_s:
            self._is_stiff, self.num_records = True, self._max_records
        else:
            self._each_s, self.num_records = each_s, max(1, self.num_records // 2)
