"""What a task has sent to the head and the head has not taken: bounded, so that a task waits and not the head fills up.

Knows no message.
"""

from cluster.runtime.control import NUM_UNTAKEN
from cluster.runtime.scheduler import Condition
from sage.base.errors import MembershipOver

_LOOK_EVERY_S = 1.0


class Untaken:
    """Credits of one task; taken by its thread, given by another."""

    def __init__(self, changed: Condition) -> None:
        """`changed`: nobody else's, for threads to wait by."""
        self._changed = changed
        self._num_left = NUM_UNTAKEN
        self._is_over = False

    def take(self) -> None:
        """Take one credit, waiting for it until `end`; raises MembershipOver once that was called."""
        with self._changed:
            while not self._num_left and not self._is_over:
                self._changed.wait(_LOOK_EVERY_S)
            if self._is_over:
                raise MembershipOver("the run was stopped while its records waited for the head")
            self._num_left -= 1

    def give(self, num: int) -> None:
        """Give credits back; more than were taken count for nothing."""
        with self._changed:
            self._num_left = min(NUM_UNTAKEN, self._num_left + num)
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
