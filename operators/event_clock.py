"""The watermark of a stream that was just given its event time. Knows no source."""

from math import inf

from operators.state import StepState


class EventClock:
    """Follows the latest timestamp at a fixed distance; a generated loop sets `latest_s`."""

    def __init__(self, max_out_of_order_s: float) -> None:
        self._max_out_of_order_s = max_out_of_order_s
        self._watermark_s = -inf
        self.latest_s = -inf

    def watermark_s(self) -> float | None:
        """Return the watermark where it has risen since the last time."""
        watermark_s = self.latest_s - self._max_out_of_order_s
        if watermark_s <= self._watermark_s:
            return None
        self._watermark_s = watermark_s
        return watermark_s

    def snapshot(self) -> StepState:
        return StepState(keyed={"latest_s": self.latest_s})

    def restore(self, state: StepState) -> None:
        """Where more instances go on than were, the others begin anew: their watermark is lower, never too high."""
        self.latest_s = dict(state.keyed or {}).get("latest_s", -inf)


def no_time(timestamp_s: object) -> ValueError:
    """Return the error for what is no moment: nan, or infinite."""
    return ValueError(f"{timestamp_s!r} is no event time: give seconds since the epoch")
