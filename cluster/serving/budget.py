"""So many tokens of a tenant in each hour, day or month of the calendar (UTC). Knows no queue and no clock.

A request is charged to the period in which it was let in, for the longest that it may take; what it did not need is
given back to that, once it ends. So what is let in within a period takes no more than its budget, however long answers
last. What a request takes beyond (its prompt is measured by its length, an answer without `max_tokens` is assumed) is
of the period in which it ends.
"""

from datetime import UTC, datetime, timedelta
from typing import Literal

Period = Literal["hour", "day", "month"]


def period_at(unix_s: float, period: Period) -> tuple[float, float]:
    """Return when the period around `unix_s` begins and when the next one does, in seconds since the epoch."""
    at = datetime.fromtimestamp(unix_s, UTC).replace(minute=0, second=0, microsecond=0)
    match period:
        case "hour":
            begins, ends = at, at + timedelta(hours=1)
        case "day":
            begins = at.replace(hour=0)
            ends = begins + timedelta(days=1)
        case "month":
            begins = at.replace(day=1, hour=0)
            ends = (begins + timedelta(days=31)).replace(day=1)
    return begins.timestamp(), ends.timestamp()


class Budget:
    """The tokens of one tenant. Times are seconds since the epoch, and never go back."""

    __slots__ = ("_begins_s", "_ends_s", "_period", "_used", "tokens")

    def __init__(self, tokens: int, period: Period, unix_s: float) -> None:
        self.tokens = tokens
        self._period: Period = period
        self._used = 0
        self._begins_s, self._ends_s = period_at(unix_s, period)

    def left(self, unix_s: float) -> int:
        """Return what may be taken yet in this period; below zero something was taken beyond."""
        self._go_on(unix_s)
        return self.tokens - self._used

    def ends_s(self, unix_s: float) -> float:
        """Return when it begins anew."""
        self._go_on(unix_s)
        return self._ends_s

    def is_whole(self, unix_s: float) -> bool:
        """Say whether nothing was taken in this period."""
        return self.left(unix_s) >= self.tokens

    def take(self, tokens: int, unix_s: float) -> None:
        """Charge a request that is let in now."""
        self._go_on(unix_s)
        self._used += tokens

    def settle(self, charged: int, used: int, since_s: float, unix_s: float) -> None:
        """Put right what a request was charged at `since_s`, which took `used`."""
        self._go_on(unix_s)
        if used > charged or since_s >= self._begins_s:
            self._used += used - charged

    def _go_on(self, unix_s: float) -> None:
        if unix_s >= self._ends_s:
            self._begins_s, self._ends_s = period_at(unix_s, self._period)
            self._used = 0
