"""The watermark of a stream that was just given its event time. Knows no source."""

from math import inf
from typing import Any

from operators.state import StepState
from sage.flow.spec import AssignTimestamps


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
        return [f"{latest} = {clock}.latest_s"], each, [f"if {latest} > {clock}.latest_s: {clock}.latest_s = {latest}"]

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
    """Return the error for what is no moment: nan, infinite, or no number at all."""
    return ValueError(f"{timestamp_s!r} is no event time: give seconds since the epoch")


def lines_of_time(
    number: int, spec: AssignTimestamps, names: dict[str, Any], clock: object
) -> tuple[str, str, list[str]]:
    """Return the names of the latest time and of `clock` in a loop, and its lines for each record `x`, which set its
    time `t`. Adds to `names` what they speak of."""
    latest, own, fn = f"latest{number}", f"clock{number}", f"f{number}"
    names |= {fn: spec.fn, own: clock, "INFINITE": inf, "no_time": no_time}
    each = [
        f"t = {fn}(x)",
        "try:",
        f"    if {latest} < t < INFINITE: {latest} = t",
        f"    elif not t <= {latest}: raise no_time(t)",
        "except TypeError: raise no_time(t) from None",
    ]
    return latest, own, each
