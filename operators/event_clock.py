"""The watermark of a stream that was just given its event time. Knows no source."""

from math import inf
from typing import Any

from operators.state import StepState
from sage.flow.spec import AssignTimestamps

FARTHEST_S = 1e12
"""No time of a record is as far from 1970 as this, the year 33,658: what is, counts other units than seconds.

A float tells times apart by 0.12 ms there, and the ends of windows are exact; from 1e17 on, one second is lost.
"""

NAMES_OF_TIME = {"EARLIEST": -FARTHEST_S, "LATEST": FARTHEST_S}
"""What lines of a loop speak of that give records their time, beside `no_time`."""

_UNITS = ((1e14, "milliseconds", "1e3"), (1e17, "microseconds", "1e6"), (1e20, "nanoseconds", "1e9"))


class EventClock:
    """Follows the latest timestamp at a fixed distance; a generated loop sets `latest_s`."""

    def __init__(self, max_out_of_order_s: float) -> None:
        self._max_out_of_order_s = max_out_of_order_s
        self._watermark_s = -inf
        self._stated_s = -inf
        self.latest_s = -inf

    def lines(
        self, number: int, spec: AssignTimestamps, names: dict[str, Any]
    ) -> tuple[list[str], list[str], list[str]]:
        """Return lines of a loop: once before it, for each record `x`, which set its time `t`, and once after it."""
        latest, clock, each = lines_of_time(number, spec, names, self)
        before = [f"{latest} = max({clock}.latest_s, EARLIEST)"]
        return before, each, [f"if EARLIEST < {latest} > {clock}.latest_s: {clock}.latest_s = {latest}"]

    def stated(self, watermark_s: float) -> None:
        """Take what the source says."""
        self._stated_s = max(self._stated_s, watermark_s)

    def watermark_s(self) -> float | None:
        """Return the watermark where it has risen since the last time."""
        watermark_s = max(self.latest_s - self._max_out_of_order_s, self._stated_s)
        if watermark_s <= self._watermark_s:
            return None
        self._watermark_s = watermark_s
        return watermark_s

    @property
    def stated_s(self) -> float:
        return self._stated_s

    def snapshot(self) -> StepState:
        """Once event time is over there is nothing to go on from: its end, told again, would let all go once more."""
        return StepState(heard=[(self.latest_s, self._stated_s)] if self._stated_s < inf else [])

    def restore(self, state: StepState) -> None:
        """Where another number of instances goes on, each does so from the least time: never too high for any."""
        kept = dict(state.keyed or {})  # as it was kept until 2026-11-23
        heard = [*state.heard, *([(kept.get("latest_s", -inf), kept.get("stated_s", -inf))] if kept else [])]
        self.latest_s = min((latest_s for latest_s, _ in heard), default=-inf)
        self._stated_s = min((stated_s for _, stated_s in heard), default=-inf)


def no_time(timestamp_s: object) -> ValueError:
    """Return the error for what is no moment: nan, infinite, too far away, or no number at all."""
    what = f"{timestamp_s!r:.80} is no event time: give seconds since the epoch"
    if isinstance(timestamp_s, int | float):
        for end, unit, divisor in _UNITS:
            if FARTHEST_S <= abs(timestamp_s) < end:
                return ValueError(f"{what}; where these are {unit}, divide by {divisor}")
    return ValueError(what)


def lines_of_time(
    number: int, spec: AssignTimestamps, names: dict[str, Any], clock: object
) -> tuple[str, str, list[str]]:
    """Return the names of the latest time and of `clock` in a loop, and its lines for each record `x`, which set its
    time `t`, a float. The latest begins at EARLIEST or above. Adds to `names` what they speak of."""
    latest, own, fn = f"latest{number}", f"clock{number}", f"f{number}"
    names |= {fn: spec.fn, own: clock, "no_time": no_time, **NAMES_OF_TIME}
    each = [
        f"t = {fn}(x)",
        "try:",
        "    t += 0.0",  # a Decimal, and what else knows no floats, fails here and not in a window
        f"    if {latest} < t < LATEST: {latest} = t",
        f"    elif not EARLIEST < t <= {latest}: raise no_time(t)",
        "except (TypeError, OverflowError): raise no_time(t) from None",
    ]
    return latest, own, each
