"""Until when a node may work without hearing from the head. Knows neither nodes nor heads.

Written by one thread and read by any: a single float. The clock is the machine's monotonic one, which goes on while a
process is stopped: a process that was paused finds its lease over.
"""

from sage.base.clock import Clock
from sage.base.errors import MembershipOver


class Lease:
    """Not held at first."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until_s = float("-inf")

    def extend(self, until_s: float) -> None:
        """Hold until the monotonic time `until_s`; an earlier time than before changes nothing."""
        self._until_s = max(self._until_s, until_s)

    def end(self) -> None:
        """Hold no longer, until it is extended again."""
        self._until_s = float("-inf")

    def left_s(self) -> float:
        """Return for how long it is still held; 0 or less: not at all."""
        return self._until_s - self._clock.monotonic_s()

    def check(self) -> None:
        """Raise MembershipOver unless it is held: asked before anything that others can see."""
        if self.left_s() <= 0.0:
            raise MembershipOver(
                "this node has not heard from the head of its cluster for too long: its work was given to others",
                "Nothing is to be done: it joins again by itself.",
            )
