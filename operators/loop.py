"""A stage that takes record by record: runs a generated loop and mends it where a record fails.

Knows nothing of batches' origin nor of what becomes of its output.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any

from operators.codegen import Generated, LoopFunction, Operation, Output, Recover, generate, gives_keys, gives_times
from operators.failure import Failures, Numbers, num_tries_left
from sage.flow.spec import Read

Columns = tuple[Sequence[Any], Sequence[Hashable] | None, Sequence[float] | None]
"""Values and, where the stream has them, their keys and their timestamps in seconds."""


class Loop:
    """Record-wise operations fused into one generated loop.

    What has passed is never run again: a record that failed is tried again at the operation that raised, and goes on
    from there by a loop over the operations that follow.
    """

    def __init__(self, operations: Sequence[Operation], failures: Failures) -> None:
        self._operations = tuple(operations)
        self._failures = failures
        self._gives_keys = gives_keys(operations)
        self._gives_times = gives_times(operations)
        self._functions: dict[bool, tuple[LoopFunction, Recover]] = {}
        self._alone: dict[tuple[int, bool], Generated] = {}
        self._rest: dict[int, Loop] = {}
        self._spilled = [each.state.spilled for each in operations if each.state.spilled is not None]
        self._num_read = 0
        self._coming_s: float | None = None
        self.is_behind = False

    def run(
        self, values: Sequence[Any], keys: Sequence[Hashable] | None, timestamps_s: Sequence[float] | None
    ) -> Columns:
        """Return the output of one batch; raises RecordFailed."""
        output = Output()
        timed = timestamps_s is not None
        function, recover = self._functions.get(timed) or self._function(timed=timed)
        function(values, keys, timestamps_s, output, self._num_read, recover)
        self._num_read += len(values)
        for spilled in self._spilled:
            spilled.trim()
        return (
            output.values,
            output.keys if self._gives_keys else None,
            output.timestamps_s if timed or self._gives_times else None,
        )

    @property
    def is_timed(self) -> bool:
        """Say whether `advance` may do something where no watermark came."""
        return any(operation.clock is not None or operation.timed is not None for operation in self._operations)

    def advance(self, watermark_s: float | None) -> tuple[Columns | None, float | None]:
        """Take the watermark that followed the last batch; return what windows give now, and what follows that."""
        columns: Columns | None = None
        for operation in self._operations:
            if operation.clock is not None:
                if isinstance(operation.step.spec, Read) and watermark_s is not None:
                    operation.clock.stated(watermark_s)  # by its source
                watermark_s = operation.clock.watermark_s() if watermark_s != inf else inf
            if operation.timed is not None:
                results, times = operation.timed.advance(watermark_s)
                columns = (results, None, times if len(times) == len(results) else None) if results else None
                watermark_s = self._after_all(watermark_s, is_behind=operation.timed.is_behind)
            if operation.sides is not None and watermark_s != inf:
                operation.sides.watermark_s = watermark_s
        return columns, watermark_s

    def _after_all(self, watermark_s: float | None, *, is_behind: bool) -> float | None:
        """Hold a watermark back until all that it lets go was given."""
        if not (is_behind or self.is_behind):
            return watermark_s
        self.is_behind = is_behind
        coming_s = self._coming_s if watermark_s is None else watermark_s
        self._coming_s = coming_s if is_behind else None
        return None if is_behind else coming_s

    def forget_functions(self) -> None:
        """Have loops generated anew: what operations do to a record is another now."""
        self._functions.clear()
        self._alone.clear()
        self._rest.clear()

    def _function(self, *, timed: bool) -> tuple[LoopFunction, Recover]:
        """Return the loop for records with or without timestamps; the first use makes it."""
        if timed not in self._functions:
            generated = generate(self._operations, timed=timed)
            self._functions[timed] = generated.function, partial(self._recover, generated.operation_at)
        return self._functions[timed]

    def _recover(
        self,
        operation_at: Mapping[int, int],
        error: Exception,
        value: Any,
        key: Hashable,
        timestamp_s: float | None,
        number: int,
        output: Output,
    ) -> None:
        """Try the failing operation again, as often as its step says; then go on after it, or give the record up."""
        assert error.__traceback__ is not None
        at = operation_at[error.__traceback__.tb_lineno]
        operation = self._operations[at]
        for _ in range(num_tries_left(operation.step, error)):
            tried = self._try_again(at, value, key, timestamp_s)
            if not isinstance(tried, Exception):
                return self._go_on(at, tried, number, output)
            error = tried
        record = value[0] if operation.is_paired else value
        numbers = Numbers(number, number)
        self._failures.give_up(operation.step, error, [record], numbers, key=key, timestamp_s=timestamp_s)
        error.__traceback__ = None  # a user may raise one and the same error for ever: let go of the frames

    def _try_again(self, at: int, value: Any, key: Hashable, timestamp_s: float | None) -> Output | Exception:
        """Return what operation `at` alone makes of the record, with keys if it makes them, or how it failed."""
        alone = at, timestamp_s is not None
        if alone not in self._alone:
            self._alone[alone] = generate(self._operations[at : at + 1], timed=timestamp_s is not None)
        output = Output()
        times = None if timestamp_s is None else [timestamp_s]
        try:
            self._alone[alone].function([value], [key], times, output, 0, _raise)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything: the step's policy decides
            return error
        return output

    def _go_on(self, at: int, mended: Output, number: int, output: Output) -> None:
        if at + 1 == len(self._operations):
            output.values.extend(mended.values)
            output.keys.extend(mended.keys)
            output.timestamps_s.extend(mended.timestamps_s)
            return
        if at not in self._rest:
            self._rest[at] = Loop(self._operations[at + 1 :], self._failures)
        rest = self._rest[at]
        timed = len(mended.timestamps_s) > 0
        function, recover = rest._function(timed=timed)
        times = mended.timestamps_s if timed else None
        function(mended.values, mended.keys, times, output, number - len(mended.values), recover)


def _raise(error: Exception, *_: object) -> None:
    raise error
