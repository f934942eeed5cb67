"""Which calls of one task run and which wait for one of them to end. Pure; knows no event loop.

The permits are here, where calls end, and not with the task: what waits begins in the moment in which a call ends,
without the way to the task's thread and back.
"""

from collections import deque
from collections.abc import Sequence

from operators.machine import Call


class CallQueue:
    """Each call takes a permit, of as many as it says that there are; one that says nothing runs at once.

    A call that ended well gives its permit back. One that failed keeps it until its task has decided: the call that is
    made again has it still, or it is freed.
    """

    def __init__(self) -> None:
        self._waiting: deque[Call] = deque()
        self._num_taken = 0

    def add(self, calls: Sequence[Call]) -> list[Call]:
        """Take calls; return those that begin now."""
        again = [call for call in calls if call.has_permit]
        self._waiting.extend(call for call in calls if not call.has_permit)
        return again + self._let()

    def ended(self, *, is_well: bool) -> list[Call]:
        """Account for a call that ended; return those that begin in its place."""
        return self.free(1) if is_well else []

    def free(self, num_permits: int) -> list[Call]:
        """Take back permits of calls that failed and are not made again; return the calls that begin now."""
        self._num_taken -= num_permits
        assert self._num_taken >= 0, num_permits
        return self._let()

    def drop(self) -> None:
        """Let nothing begin any more."""
        self._waiting.clear()

    def _let(self) -> list[Call]:
        begun: list[Call] = []
        while self._waiting and self._has_permit(self._waiting[0].max_at_once):
            self._num_taken += 1
            begun.append(self._waiting.popleft())
        return begun

    def _has_permit(self, max_at_once: int | None) -> bool:
        return max_at_once is None or self._num_taken < max_at_once


def num_permits_left(calls: Sequence[Call], made: Sequence[Call]) -> int:
    """Return how many of `calls` have a permit and are not made: their results are known by now."""
    made_ids = {call.call_id for call in made}
    return sum(call.has_permit and call.call_id not in made_ids for call in calls)
