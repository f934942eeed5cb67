"""When the plane has something to do though nothing happens to it. Knows nothing of what is due.

A deadline passes, an engine was told to stop and is silent, one that retires has had its time.
"""

import math
from itertools import chain

from cluster.serving.abandoned import SILENT, Abandoned
from cluster.serving.deadlines import Deadlines
from cluster.serving.events import WakeAt
from cluster.serving.retiring import Retiring
from cluster.serving.ticket import engine_of
from sage.base.ids import EngineId
from sage.base.inference import Failure


class WakeUps:
    """Says when to be woken. While nothing `may_be_due`, nobody need look."""

    def __init__(self, deadlines: Deadlines, abandoned: Abandoned, coming_back: Abandoned, retiring: Retiring) -> None:
        self.may_be_due = False
        self._deadlines = deadlines
        self._abandoned = abandoned
        self._coming_back = coming_back
        self._retiring = retiring
        self._wake_s = math.inf  # what was ordered last

    def woken(self) -> None:
        """Note that the last order was obeyed."""
        self._wake_s = math.inf

    def silent(self, now_s: float) -> dict[EngineId, Failure]:
        """Return the engines that have not stopped what they were told to for too long, each once, and why they end."""
        late = [told.overdue(now_s) for told in (self._abandoned, self._coming_back) if told.earliest_s() <= now_s]
        return dict.fromkeys(map(engine_of, chain.from_iterable(late)), SILENT)

    def order(self) -> WakeAt | None:
        """Return when to wake, where that is sooner than was ordered."""
        told_s = min(self._abandoned.earliest_s(), self._coming_back.earliest_s())
        earliest_s = min(self._deadlines.earliest_s(), told_s, self._retiring.earliest_s())
        self.may_be_due = earliest_s < math.inf
        if earliest_s >= self._wake_s:
            return None
        self._wake_s = earliest_s
        return WakeAt(earliest_s)
