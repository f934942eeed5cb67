"""Which request's deadline comes next. Knows nothing of what happens when one passes."""

import heapq
import math

from cluster.serving.ticket import Ticket
from sage.base.errors import DeadlineExceeded
from sage.base.inference import Request


class Deadlines:
    """A heap of deadlines; answered tickets are skipped, and swept out once they are the most."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Ticket]] = []
        self._num_answered = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, ticket: Ticket) -> bool:
        """Watch the deadline of `ticket`; say whether it has one."""
        if ticket.deadline_s == math.inf:
            return False
        heapq.heappush(self._heap, (ticket.deadline_s, ticket.arrival, ticket))
        return True

    def answered(self, ticket: Ticket) -> None:
        """Note that `ticket` was answered, so that its deadline means nothing any more."""
        if ticket.deadline_s == math.inf:
            return
        self._num_answered += 1
        if self._num_answered > len(self._heap) // 2 + 64:
            self._heap = [place for place in self._heap if not place[2].is_answered]
            heapq.heapify(self._heap)
            self._num_answered = 0

    def earliest_s(self) -> float:
        """Return the next deadline of an unanswered ticket; infinite where there is none."""
        while self._heap and self._heap[0][2].is_answered:
            heapq.heappop(self._heap)
            self._num_answered = max(self._num_answered - 1, 0)
        return self._heap[0][0] if self._heap else math.inf

    def due(self, now_s: float) -> list[Ticket]:
        """Remove and return the unanswered tickets whose deadline is not after `now_s`."""
        if not self._heap:
            return []
        passed = []
        while self.earliest_s() <= now_s:
            passed.append(heapq.heappop(self._heap)[2])
        return passed


def deadline_exceeded(request: Request, where: str) -> DeadlineExceeded:
    """Return the error of a request whose deadline passed while it did what `where` says."""
    what = f"the deadline of {request.timeout_s:g} s had passed when the request {where}"
    if where != "arrived":
        what = f"the deadline of {request.timeout_s:g} s passed while the request {where}"
    return DeadlineExceeded(what, "Give it more time, or ask for less.")


def never_in_time(request: Request, least_s: float) -> DeadlineExceeded:
    """Return the error of a request whose answer would not be whole in time, even if it began at once."""
    what = f"a short answer takes {least_s:.1f} s once it has begun, and the deadline is {request.timeout_s:g} s"
    return DeadlineExceeded(what, "Give it more time, or ask for less: max_tokens bounds an answer.")
