"""Stages that take a batch at a time: a function over lists, a search, a sink. Knows nothing of single records."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, cast

from operators.failure import Failures, Numbers, num_tries_left
from operators.listed import listed
from operators.loop import Columns
from operators.state import Prefix, StepState
from sage.base.errors import InternalError, SageError, SinkUnwritable
from sage.flow.graph import OnError, Step
from sage.flow.ports import ResumableSink, ResumableWriter, Sink, SinkWriter, Written


class Chunks:
    """Calls a function with lists of at most `max_records`; all records of a list that failed share its fate."""

    def __init__(
        self,
        step: Step,
        fn: Callable[[list[Any]], Iterable[Any]],
        max_records: int | None,
        failures: Failures,
        *,
        is_paired: bool = False,
    ) -> None:
        """`is_paired`: it is given pairs `(record, something)`; only the records are shown to users."""
        self._step = step
        self._fn = fn
        self._max_records = max_records
        self._is_paired = is_paired
        self._failures = failures
        self._num_read = 0

    def run(
        self, values: Sequence[Any], keys: Sequence[Hashable] | None, timestamps_s: Sequence[float] | None
    ) -> Columns:
        """Return the output of one batch; raises RecordFailed.

        As many results as records get the timestamps of the records, else all get the latest of their list.
        """
        len_chunk = self._max_records or len(values) or 1
        if timestamps_s is None and 0 < len(values) <= len_chunk:
            return self._called(values), None, None
        out: list[Any] = []
        out_times: list[float] = []
        for start in range(0, len(values), len_chunk):
            results = self._called(values[start : start + len_chunk])
            out.extend(results)
            if timestamps_s is not None:
                times = timestamps_s[start : start + len_chunk]
                out_times.extend(times if len(times) == len(results) else [max(times)] * len(results))
        return out, None, None if timestamps_s is None else out_times

    def advance(self, watermark_s: float | None) -> tuple[None, float | None]:
        """Time changes nothing here."""
        return None, watermark_s

    def _called(self, chunk: Sequence[Any]) -> list[Any]:
        self._num_read += len(chunk)
        num_left: int | None = None
        while True:
            try:
                return listed(self._fn(list(chunk)))
            except Exception as error:  # noqa: BLE001 - a user's function may raise anything: the policy decides
                failed = error
            num_left = num_tries_left(self._step, failed) if num_left is None else num_left - 1
            if num_left <= 0:
                records = [record for record, _ in chunk] if self._is_paired else list(chunk)
                numbers = Numbers(self._num_read - len(chunk) + 1, self._num_read)
                self._failures.give_up(self._step, failed, records, numbers)
                return []


class Writing:
    """Ends the stream in a sink; gives what it wrote, to be counted."""

    def __init__(self, step: Step, sink: Sink[Any], failures: Failures) -> None:
        self._step = step
        self._sink = sink
        self._failures = failures
        self._writer: SinkWriter[Any] | None = None
        self._num_read = 0

    @property
    def is_open(self) -> bool:
        return self._writer is not None

    def open(self) -> None:
        """Raises SinkUnwritable."""
        self._writer = self._sink.open()

    def snapshot(self) -> StepState:
        """Return how far the sink is, where it can be gone on with; raises SinkUnwritable."""
        if not isinstance(self._sink, ResumableSink) or self._writer is None:
            return StepState()
        written: Written = cast("ResumableWriter[Any]", self._writer).written()
        return StepState(
            grown=Prefix(written.contents, len(written.contents)),
            fixed=written.position,
            settle=written.settle,
            commit=written.commit,
        )

    def restore(self, state: StepState) -> None:
        """Go on with the sink; raises SinkUnwritable."""
        sink = self._sink
        self._writer = sink.resume(state.fixed, state.grown) if isinstance(sink, ResumableSink) else sink.open()

    def run(
        self, values: Sequence[Any], keys: Sequence[Hashable] | None, timestamps_s: Sequence[float] | None
    ) -> Columns:
        """Write one batch; raises SinkUnwritable, or RecordFailed where the sink raised something of its own.

        Records that the sink refuses one by one are set aside where the step says so, and the others are written.
        """
        if self._writer is None:
            raise InternalError(f"the sink of step {self._step.name!r} was written before it was opened")
        first = self._num_read + 1
        self._num_read += len(values)
        numbers = list(range(first, first + len(values)))
        while values:
            try:
                self._writer.write(values)
            except SinkUnwritable as error:
                if error.at is None or self._step.on_error is not OnError.DEAD_LETTER:
                    raise
                number, at = numbers.pop(error.at), error.at
                self._failures.give_up(self._step, error, [values[at]], Numbers(number, number))
                values = [*values[:at], *values[at + 1 :]]
            except SageError:
                raise
            except Exception as error:  # noqa: BLE001 - a user's own sink may raise anything
                self._failures.give_up(self._step, error, list(values), Numbers(first, self._num_read))
                return [], None, None
            else:
                break
        return values, None, None

    def advance(self, watermark_s: float | None) -> tuple[None, float | None]:
        """Time changes nothing here."""
        return None, watermark_s

    def close(self, *, complete: bool) -> None:
        """Finish the sink, once; raises SinkUnwritable."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close(complete=complete)
