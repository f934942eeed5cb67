"""What becomes of a record on which a step raised. Knows nothing of how steps run."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from traceback import FrameSummary, StackSummary, TracebackException
from types import TracebackType
from typing import Any, TypeVar

from operators.machine import DeadLetter
from sage.base.errors import CallerError, CheckpointUnusable, DiskFull, RecordFailed, SageError
from sage.flow.graph import OnError, Step

GENERATED = "<fused steps>"
"""The file name of generated functions, as it stands in tracebacks."""

Result = TypeVar("Result")

_OUR_PACKAGES = ("operators", "cluster", "asyncio")
"""What stands between a task and the user's function or coroutine."""

_SHOWN_CHARS = 200


@dataclass(frozen=True, slots=True)
class Numbers:
    """Which records of a step's input: the first is number 1."""

    first: int
    last: int

    def __str__(self) -> str:
        return f"record {self.last}" if self.first == self.last else f"records {self.first} to {self.last}"


class Failures:
    """Applies each step's policy once its tries are spent, and keeps the dead letters until they are taken."""

    def __init__(self) -> None:
        self._dead: list[DeadLetter] = []

    def give_up(
        self,
        step: Step,
        error: BaseException,
        records: list[Any],
        numbers: Numbers,
        *,
        key: Hashable = None,
        timestamp_s: float | None = None,
        num_tries: int | None = None,
    ) -> None:
        """Set `records` aside, or raise RecordFailed, as the step's policy says.

        `num_tries`: how many were made; None: as many as the step allows. Raises `error` itself where state cannot be
        read or written: no record is to blame for that.
        """
        if isinstance(error, CheckpointUnusable | DiskFull):
            raise error
        if step.on_error is not OnError.DEAD_LETTER:
            raise record_failed(step, error, records, numbers, num_tries) from error
        text, traceback = last_line(error), user_traceback(step, error)
        first = numbers.first if numbers.last - numbers.first + 1 == len(records) else None
        self._dead.extend(
            DeadLetter(
                step.name,
                record,
                text,
                traceback,
                error,
                number=None if first is None else first + at,
                key=key,
                timestamp_s=timestamp_s,
            )
            for at, record in enumerate(records)
        )

    def tried(
        self, step: Step, record: Any, number: int, fn: Callable[..., Result], *arguments: Any
    ) -> tuple[Result] | None:
        """Return what `fn` returned, called as often as the step says; None where the record was given up."""
        num_left: int | None = None
        while True:
            try:
                return (fn(*arguments),)
            except Exception as error:  # noqa: BLE001 - a user's function may raise anything: the policy decides
                failed = error
            num_left = num_tries_left(step, failed) if num_left is None else num_left - 1
            if num_left <= 0:
                self.give_up(step, failed, [record], Numbers(number, number))
                return None

    def take(self) -> list[DeadLetter]:
        """Return the dead letters since the last call."""
        if not self._dead:
            return []
        dead, self._dead = self._dead, []
        return dead


def num_tries_left(step: Step, error: BaseException) -> int:
    """Return how often `step` may be called again after its first `error`; a CallerError would only come again."""
    return 0 if isinstance(error, CallerError | CheckpointUnusable | DiskFull) else step.retries


def record_failed(
    step: Step, error: BaseException, records: list[Any], numbers: Numbers, num_tries: int | None = None
) -> RecordFailed:
    """Return the error that fails the job: step, user's line, which record, and the user's own frames."""
    made = num_tries_left(step, error) + 1 if num_tries is None else num_tries
    tries = f" after {made} tries" if made > 1 else ""
    shown = shown_record(records[0] if len(records) == 1 else records)
    do = error.do if isinstance(error, SageError) and error.do else "Mend the function"
    failed = RecordFailed(
        f"step {step.name!r} ({step.where}) failed on {numbers}{tries}: {last_line(error)}",
        f'It was {shown}. {do.rstrip(".")}, or set such records aside: on_error("dead_letter").',
    )
    failed.user_traceback = user_traceback(step, error)
    return failed


def last_line(error: BaseException) -> str:
    """Return the type and text of `error` as one short text; a SageError says it with its code."""
    if isinstance(error, SageError):
        return f"{type(error).__name__}: [{error.code}] {error.what}"
    return "".join(TracebackException.from_exception(error, limit=0).format_exception_only()).strip()


def shown_record(record: Any) -> str:
    """Return the repr of a record, cut at 200 characters; never raises."""
    try:
        text = repr(record)
    except Exception as error:  # noqa: BLE001 - a user's own __repr__ must not hide the user's error
        text = f"<{type(record).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 3] + "..."


def user_traceback(step: Step, error: BaseException) -> str:
    """Return the traceback as the user wants it: the line that made the step, then the user's own frames."""
    own = _without_our_frames(error.__traceback__)
    formatted = TracebackException(type(error), error, own)
    made_at = FrameSummary(step.where.file, step.where.line, f"step {step.name!r}")
    formatted.stack = StackSummary.from_list([*formatted.stack, made_at] if own is None else list(formatted.stack))
    return "".join(formatted.format())


def _without_our_frames(traceback: TracebackType | None) -> TracebackType | None:
    """Skip the frames at the head that run the user's function."""
    while traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    return traceback


def _is_ours(traceback: TracebackType) -> bool:
    code = traceback.tb_frame.f_code
    module = traceback.tb_frame.f_globals.get("__name__", "")
    return code.co_filename == GENERATED or str(module).partition(".")[0] in _OUR_PACKAGES
