"""What of a task's sinks waits for a checkpoint to be complete. Pure: calls nothing itself.

All checkpoints after the task's last answer hold its final state, so that the first of them to be complete commits it.
"""

from collections.abc import Callable, Sequence

from operators.state import State

Commit = Callable[[], None]


class Commits:
    """Of several checkpoints only the newest complete one counts: its commits show what those before would have."""

    def __init__(self) -> None:
        self._of: dict[int, Sequence[Commit]] = {}
        self._newest = 0
        self.is_awaiting_last = False

    def prepared(self, checkpoint_id: int | None, state: State) -> bool:
        """Account for a state that is being saved, None: the final one; return whether it is to be committed."""
        found = commits_of(state)
        if checkpoint_id is None:
            self._of[self._newest + 1] = found  # any later checkpoint has it
            self.is_awaiting_last = any(self._of.values())
            return self.is_awaiting_last
        self._newest = checkpoint_id
        self._of[checkpoint_id] = found
        return bool(found)

    def complete(self, checkpoint_id: int) -> Sequence[Commit]:
        """Return what is to be called now, in order."""
        ready = [number for number in self._of if number <= checkpoint_id]
        if self._newest < checkpoint_id:
            self.is_awaiting_last = False
        found = self._of[ready[-1]] if ready else ()
        for number in ready:
            del self._of[number]
        return found


def commits_of(state: State) -> list[Commit]:
    """Return what is to be called once `state` is saved for good."""
    return [step.commit for step in state.values() if step.commit is not None]
