"""What users are shown of exceptions in their code. Knows nothing of who raised or who shows."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.runtime.messages import TaskSpec
from operators.failure import user_traceback
from operators.machine import DeadLetter
from sage.base.errors import RecordFailed, SageError, SourceUnreadable
from sage.flow.runner import DeadLetterRecord

MAX_VALUE_CHARS = 10_000


@contextmanager
def source_errors(spec: TaskSpec) -> Iterator[None]:
    """Turn whatever a source raises, SageErrors apart, into SourceUnreadable that names the user's line."""
    try:
        yield
    except SageError:
        raise
    except Exception as error:
        step = spec.chain.steps[0]
        what = f"the source of step {step.name!r} ({step.where}) failed: {type(error).__name__}: {error}"
        raise SourceUnreadable(what, "".join(traceback.format_tb(error.__traceback__)[-1:]).strip()) from error


def exit_refused(spec: TaskSpec, error: BaseException) -> RecordFailed:
    """Return the error for a function of the user's that raised SystemExit or the like: a task is not its to end."""
    names = " -> ".join(step.name for step in spec.chain.steps)
    what = f"a function of {names} would end the process: {type(error).__name__}: {error}"
    refused = RecordFailed(what, "Let it return, or raise an error of another kind.")
    refused.user_traceback = user_traceback(spec.chain.steps[0], error)
    return refused


def dead_letter_record(letter_id: str, letter: DeadLetter) -> DeadLetterRecord:
    """Return `letter` as it is kept: its value as a repr, cut to MAX_VALUE_CHARS."""
    try:
        value = repr(letter.value)
    except Exception as error:  # noqa: BLE001 - the repr is the user's code too
        value = f"<{type(letter.value).__name__} whose repr raises {error!r}>"
    return DeadLetterRecord(letter_id, letter.step, value[:MAX_VALUE_CHARS], letter.error, letter.traceback)
