"""Which request of a trace comes next: by its time, or once the calls of its record before it have ended. Pure."""

import heapq
import math
from collections.abc import Sequence

from benchmarks.simulator.arrival import Arrival


class Coming:
    """Arrivals by their positions in the trace."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self._arrivals = arrivals
        self._first = [at for at, arrival in enumerate(arrivals) if arrival.call is None or not arrival.call.after]
        self._num_come = 0  # of those
        self._ready: list[tuple[float, int]] = []  # what follows others that have ended: since when, position
        self._lacks: dict[int, int] = {}  # how many calls before it have not ended
        self._followers: dict[tuple[int, int], list[int]] = {}  # record and number of a call: what waits for it
        self._began_s: dict[int, float] = {}
        for at, arrival in enumerate(arrivals):
            call = arrival.call
            if call is not None and call.after:
                self._lacks[at] = len(call.after)
                for number in call.after:
                    self._followers.setdefault((call.record, number), []).append(at)

    def next_s(self) -> float:
        """Return when the next comes; infinite where none does before something ends."""
        first_s = self._arrivals[self._first[self._num_come]].at_s if self._num_come < len(self._first) else math.inf
        return min(first_s, self._ready[0][0]) if self._ready else first_s

    def take(self) -> int:
        """Return the position of what comes at `next_s`."""
        if self._ready and self._ready[0][0] <= self.next_s():
            return heapq.heappop(self._ready)[1]
        at = self._first[self._num_come]
        self._num_come += 1
        if (call := self._arrivals[at].call) is not None:
            self._began_s.setdefault(call.record, self._arrivals[at].at_s)
        return at

    def due_in_s(self, at: int, now_s: float) -> float | None:
        """Return in how many seconds the record of a call is due."""
        call = self._arrivals[at].call
        if call is None or call.due_in_s is None:
            return None
        return self._began_s[call.record] + call.due_in_s - now_s

    def ended(self, at: int, now_s: float) -> None:
        """Note that a request was answered: what follows it may come now."""
        call = self._arrivals[at].call
        for follower in () if call is None else self._followers.pop((call.record, call.number), ()):
            if follower in self._lacks:
                self._lacks[follower] -= 1
                if not self._lacks[follower]:
                    del self._lacks[follower]
                    heapq.heappush(self._ready, (now_s, follower))

    def failed(self, at: int) -> list[int]:
        """Note that a request failed; return what will never come by that, each once."""
        never: list[int] = []
        failed = [at]
        while failed:
            call = self._arrivals[failed.pop()].call
            for follower in () if call is None else self._followers.pop((call.record, call.number), ()):
                if self._lacks.pop(follower, None) is not None:
                    never.append(follower)
                    failed.append(follower)
        return never
