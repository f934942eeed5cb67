"""What users are shown of exceptions in their code. Knows nothing of who raised or who shows."""

import traceback
from types import TracebackType

from cluster.runtime.messages import TaskSpec
from operators.failure import user_traceback
from operators.machine import DeadLetter
from sage.base.errors import RecordFailed, SageError, SourceUnreadable
from sage.flow.runner import DeadLetterRecord
from sage.flow.spec import AssignTimestamps, Filter, FlatMap, KeyBy, Map, Read

MAX_VALUE_CHARS = 10_000
MAX_KEY_CHARS = 1_000

ONE_BY_ONE = (Map, Filter, FlatMap, KeyBy, AssignTimestamps)
"""Steps that a source is fused with into one loop, so that records are counted as they are read."""


class SourceErrors:
    """`with` it, whatever a source raises, SageErrors apart, becomes SourceUnreadable that names the user's line.

    One serves for all reads of a task: a generator each time takes 1 us, a tenth of all that is done for a batch.
    """

    __slots__ = ("_step",)

    def __init__(self, spec: TaskSpec) -> None:
        self._step = spec.chain.steps[0]

    def __enter__(self) -> None:
        """Nothing is to be done before."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and not isinstance(error, SageError):
            raise self.told(error) from error

    def told(self, error: Exception) -> SourceUnreadable:
        """Return what is raised in place of what a source raised."""
        step = self._step
        what = f"the source of step {step.name!r} ({step.where}) failed: {type(error).__name__}: {error}"
        return SourceUnreadable(what, "".join(traceback.format_tb(error.__traceback__)[-1:]).strip())


def exit_refused(spec: TaskSpec, error: BaseException) -> RecordFailed:
    """Return the error for a function of the user's that raised SystemExit or the like: a task is not its to end."""
    names = " -> ".join(step.name for step in spec.chain.steps)
    what = f"a function of {names} would end the process: {type(error).__name__}: {error}"
    refused = RecordFailed(what, "Let it return, or raise an error of another kind.")
    refused.user_traceback = user_traceback(spec.chain.steps[0], error)
    return refused


def dead_letter_record(letter_id: str, letter: DeadLetter, lineage: str = "") -> DeadLetterRecord:
    """Return `letter` as it is shown: its value as a repr, cut to MAX_VALUE_CHARS."""
    return DeadLetterRecord(
        letter_id,
        letter.step,
        _shown(letter.value, MAX_VALUE_CHARS),
        letter.error,
        letter.traceback,
        key="" if letter.key is None else _shown(letter.key, MAX_KEY_CHARS),
        timestamp_s=letter.timestamp_s,
        lineage=lineage,
    )


def lineage_of(spec: TaskSpec, letter: DeadLetter, num_before: int) -> str:
    """Say where a dead letter came from: which record of the source, where every step between takes one by one.

    `num_before`: records that the chain had read when the task began, of a run that it goes on with.
    """
    steps = spec.chain.steps
    names = [step.name for step in steps]
    between = steps[1 : names.index(letter.step)] if letter.step in names else steps
    if letter.number is None:
        return f"a record that {spec.chain.id!r} took on {spec.id}"
    if isinstance(steps[0].spec, Read) and all(isinstance(step.spec, ONE_BY_ONE) for step in between):
        path = getattr(steps[0].spec.source, "path", None)
        of = f"{steps[0].name!r} ({steps[0].where})" + (f", which reads {path}" if path is not None else "")
        return f"record {num_before + letter.number} of {of}"
    return f"record {letter.number} that {spec.chain.id!r} took on {spec.id}"


def _shown(value: object, max_chars: int) -> str:
    try:
        return repr(value)[:max_chars]
    except Exception as error:  # noqa: BLE001 - the repr is the user's code too
        return f"<{type(value).__name__} whose repr raises {error!r}>"[:max_chars]
