"""The dead letters of a job, each once over all of its runs. Pure; knows no disk.

A run that is lost takes those along that came after the newest checkpoint: they come again. What a checkpoint holds
stays, and goes with the job to a head that takes it up, or to the next process that goes on with its flow.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from cluster.runtime.letter_ids import letter_number, letters_of
from sage.base.ids import TaskId
from sage.flow.runner import DeadLetterRecord

MAX_DEAD_LETTERS = 10_000
"""Dead letters of a job that are kept; the newest stay, all are counted."""


class _Newest:
    """The newest of some letters. `num`: how many there were."""

    def __init__(self, letters: Iterable[DeadLetterRecord] = (), num: int = 0) -> None:
        self.letters: deque[DeadLetterRecord] = deque(letters, maxlen=MAX_DEAD_LETTERS)
        self.num = max(num, len(self.letters))

    def add(self, other: "_Newest") -> None:
        self.letters += other.letters
        self.num += other.num


class JobLetters:
    """Used by the manager's thread."""

    def __init__(self, held: Sequence[DeadLetterRecord] = (), num_held: int = 0) -> None:
        """`held`: the newest of those that the checkpoint holds from which the job goes on, `num_held` in all."""
        self._held = _Newest(held, num_held)
        self._pending = _Newest()  # in a checkpoint that is being completed
        self._since = _Newest()
        self._is_run_lost = False

    @property
    def num(self) -> int:
        return self._held.num + self._pending.num + self._since.num

    @property
    def num_held(self) -> int:
        """How many the newest checkpoint holds, with the one that is being completed."""
        return self._held.num + self._pending.num

    def newest(self) -> list[DeadLetterRecord]:
        """Return them, the newest last."""
        return [*self._held.letters, *self._pending.letters, *self._since.letters][-MAX_DEAD_LETTERS:]

    def add(self, letters: Sequence[DeadLetterRecord]) -> None:
        self._since.add(_Newest(letters, len(letters)))

    def cut(self, num_of_tasks: Mapping[TaskId, int]) -> list[DeadLetterRecord]:
        """A checkpoint is being completed; return which letters it adds to those before.

        `num_of_tasks`: how many letters each task had reported when it was saved.
        """
        counts = {letters_of(task_id): num for task_id, num in num_of_tasks.items()}
        later = [letter for letter in self._since.letters if _is_later(letter, counts)]
        self._pending = _Newest(
            (letter for letter in self._since.letters if not _is_later(letter, counts)), self._since.num - len(later)
        )
        self._since = _Newest(later)
        self._is_run_lost = False
        return list(self._pending.letters)

    def held(self) -> list[DeadLetterRecord]:
        """Return the newest of all that the checkpoint holds which is being completed."""
        return [*self._held.letters, *self._pending.letters][-MAX_DEAD_LETTERS:]

    def completed(self, *, is_good: bool) -> None:
        """The checkpoint is complete, or was not to be: then what its run had set aside since the last is as before."""
        pending, self._pending = self._pending, _Newest()
        if is_good:
            self._held.add(pending)
        elif not self._is_run_lost:
            pending.add(self._since)
            self._since = pending

    def lose_run(self) -> None:
        """The run is no more; what no checkpoint holds comes again."""
        self._since = _Newest()
        self._is_run_lost = True


def _is_later(letter: DeadLetterRecord, counts: Mapping[str, int]) -> bool:
    task, number = letter_number(letter.id)
    return number > counts.get(task, 0)
