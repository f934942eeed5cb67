"""What a step keeps of records and lets go as event time passes: windows, processes, joins. Knows none of them."""

from typing import Any, Protocol

from operators.state import Stateful

Fired = tuple[list[Any], list[float]]
"""What was let go, and the timestamp of each."""


class TimedState(Stateful, Protocol):
    """Kept for one step. A generated loop puts the records in; after each of its runs comes `advance`.

    `is_behind`: more is let go by the watermark than one call gives; no record is put in before all is given.
    """

    is_behind: bool

    def lines(self, number: int, names: dict[str, Any]) -> tuple[list[str], list[str]]:
        """Return lines of a loop: once before it, and for each record `x` of `key` at time `t`.

        They may append to `out`. What they call they bind in `names`, under names that end in `number`.
        """
        ...

    def advance(self, watermark_s: float | None) -> Fired:
        """Return what is let go by now, the watermark, where it is known anew, included; math.inf is the end.

        Called until nothing is behind, with None or the same watermark.
        """
        ...
