"""Dead letters of a job: each once, whatever runs are lost and whichever checkpoints are completed."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.set_aside import MAX_DEAD_LETTERS, JobLetters
from cluster.runtime.letter_ids import letter_id
from sage.base.ids import TaskId
from sage.flow.runner import DeadLetterRecord


def letters(run: int, numbers: Sequence[int], task: str = "parse/0") -> list[DeadLetterRecord]:
    return [
        DeadLetterRecord(letter_id(TaskId(f"job-1~{run}/{task}"), number), "parse", str(number), "ValueError", "")
        for number in numbers
    ]


def saved(run: int, num: int, task: str = "parse/0") -> dict[TaskId, int]:
    return {TaskId(f"job-1~{run}/{task}"): num}


def numbers(held: JobLetters) -> list[str]:
    assert held.num == len(held.newest())
    return [letter.value for letter in held.newest()]


def test_what_came_after_the_checkpoint_is_forgotten_with_its_run() -> None:
    held = JobLetters()
    held.add(letters(1, [1, 2, 3]))
    assert [letter.value for letter in held.cut(saved(1, 2))] == ["1", "2"]
    held.completed(is_good=True)
    held.lose_run()
    assert numbers(held) == ["1", "2"]
    held.add(letters(2, [3]))
    assert [letter.id for letter in held.newest()] == ["job-1/parse/0/1", "job-1/parse/0/2", "job-1/parse/0/3"]


def test_a_checkpoint_that_is_completed_after_its_run_was_lost_counts() -> None:
    held = JobLetters()
    held.add(letters(1, [1, 2]))
    held.cut(saved(1, 1))
    held.lose_run()
    held.completed(is_good=True)
    assert numbers(held) == ["1"]


def test_a_checkpoint_that_is_not_completed_changes_nothing_while_its_run_lives() -> None:
    held = JobLetters()
    held.add(letters(1, [1, 2]))
    held.cut(saved(1, 1))
    held.add(letters(1, [3]))
    held.completed(is_good=False)
    assert numbers(held) == ["1", "2", "3"]
    assert [letter.value for letter in held.cut(saved(1, 3))] == ["1", "2", "3"]


def test_a_checkpoint_that_is_not_completed_holds_nothing_of_a_lost_run() -> None:
    held = JobLetters(letters(1, [1]), 1)
    held.add(letters(1, [2]))
    held.cut(saved(1, 2))
    held.lose_run()
    held.completed(is_good=False)
    assert numbers(held) == ["1"]


def test_too_many_are_counted_and_the_newest_stay() -> None:
    held = JobLetters()
    for number in range(1, MAX_DEAD_LETTERS + 6):
        held.add(letters(1, [number]))
    assert held.num == MAX_DEAD_LETTERS + 5
    assert held.newest()[0].value == "6"
    assert len(held.cut(saved(1, MAX_DEAD_LETTERS + 2))) == MAX_DEAD_LETTERS - 3
    held.completed(is_good=True)
    held.lose_run()
    assert held.num == MAX_DEAD_LETTERS + 2


@given(st.lists(st.sampled_from(["letter", "cut", "complete", "fail", "lose"]), max_size=60))
def test_each_letter_is_there_once_and_none_that_comes_again(happenings: list[str]) -> None:
    """As a task does: it goes on counting from the checkpoint that its run began with."""
    held, run, at, in_checkpoint, pending = JobLetters(), 1, 0, 0, None
    for what in happenings:
        if what == "letter":
            at += 1
            held.add(letters(run, [at]))
        elif what == "cut" and pending is None:
            pending = at
            held.cut(saved(run, at))
        elif what in ("complete", "fail") and pending is not None:
            held.completed(is_good=what == "complete")
            in_checkpoint, pending = (pending if what == "complete" else in_checkpoint), None
        elif what == "lose" and pending is None:  # else the next run waits for the decision
            held.lose_run()
            run, at = run + 1, in_checkpoint
        assert numbers(held) == [str(number) for number in range(1, at + 1)]
