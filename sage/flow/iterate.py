"""What the two ends of a loop are told. Knows nothing of how a loop runs, nor of what is in its body."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

INSIDE = "inside the loop"
"""The side of an `iterate` by which records go into the body."""


@dataclass(frozen=True, slots=True)
class Iterate:
    """Send each record through the body until `until(what came of it)` holds, `max_rounds` times at most.

    The main stream is what leaves the loop. What leaves it because of `max_rounds` goes to the side `unfinished_to`,
    where that is given. At most `max_in_flight` records are in the body. `loop`: the number of the loop in its flow.
    """

    until: Callable[[Any], object]
    max_rounds: int
    max_in_flight: int = 1000
    unfinished_to: str | None = None
    loop: int = 0

    @property
    def sides(self) -> tuple[str, ...]:
        """The tags of what leaves beside the main stream."""
        return (INSIDE,) if self.unfinished_to is None else (INSIDE, self.unfinished_to)


@dataclass(frozen=True, slots=True)
class Again:
    """End the body of the loop of this number: what comes here comes back to its `iterate`."""

    loop: int
