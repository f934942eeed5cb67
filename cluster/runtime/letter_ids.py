"""The ids of dead letters: alike in all runs of a job. Pure.

So a record that is set aside again, by a run that goes on from a checkpoint, has the id that it had.
"""

from sage.base.ids import TaskId


def letter_id(task_id: TaskId, number: int) -> str:
    """Return the id of a task's dead letter; `number`: which of them, from 1 on.

    >>> letter_id(TaskId("job-1~3/parse/0"), 12)
    'job-1/parse/0/12'
    """
    return f"{letters_of(task_id)}/{number}"


def letters_of(task_id: TaskId) -> str:
    """Return how the ids of a task's dead letters begin.

    >>> letters_of(TaskId("job-1~3/parse/0"))
    'job-1/parse/0'
    """
    run_id, slash, task = task_id.partition("/")
    return run_id.partition("~")[0] + slash + task


def letter_number(letter_id: str) -> tuple[str, int]:
    """Return how the ids of the task's dead letters begin, and which of them it is.

    >>> letter_number("job-1/parse/0/12")
    ('job-1/parse/0', 12)
    """
    letters, _, number = letter_id.rpartition("/")
    return letters, int(number)
