"""A stage that takes record by record: runs a generated loop and mends it where a record fails.

Knows nothing of batches' origin nor of what becomes of its output.
"""

from collections.abc import Hashable, Sequence
from typing import Any

from operators.codegen import Generated, Operation, Output, generate, gives_keys
from operators.failure import Failures, Numbers, num_tries_left

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
        self._functions: dict[bool, Generated] = {False: generate(operations)}
        self._alone: dict[int, Generated] = {}
        self._rest: dict[int, Loop] = {}
        self._num_read = 0

    @property
    def source(self) -> str:
        """The generated function, for people."""
        return self._functions[False].source

    def run(
        self, values: Sequence[Any], keys: Sequence[Hashable] | None, timestamps_s: Sequence[float] | None
    ) -> Columns:
        """Return the output of one batch; raises RecordFailed."""
        output = Output()
        timed = timestamps_s is not None
        self._generated(timed=timed).function(values, keys, timestamps_s, output, self._num_read, self._recover)
        self._num_read += len(values)
        return (
            output.values,
            output.keys if gives_keys(self._operations) else None,
            output.timestamps_s if timed else None,
        )

    def _generated(self, *, timed: bool) -> Generated:
        """Return the loop for records with or without timestamps; the first use makes it."""
        if timed not in self._functions:
            self._functions[timed] = generate(self._operations, timed=timed)
        return self._functions[timed]

    def _recover(
        self, error: Exception, value: Any, key: Hashable, timestamp_s: float | None, number: int, output: Output
    ) -> None:
        """Try the failing operation again, as often as its step says; then go on after it, or give the record up."""
        at = self._operation_at(error, timed=timestamp_s is not None)
        operation = self._operations[at]
        for _ in range(num_tries_left(operation.step, error)):
            tried = self._try_again(at, value, key)
            if not isinstance(tried, Exception):
                return self._go_on(at, tried, timestamp_s, number, output)
            error = tried
        record = value[0] if operation.is_paired else value
        self._failures.give_up(operation.step, error, [record], Numbers(number, number))
        error.__traceback__ = None  # a user may raise one and the same error for ever: let go of the frames

    def _operation_at(self, error: Exception, *, timed: bool) -> int:
        assert error.__traceback__ is not None
        return self._generated(timed=timed).operation_at[error.__traceback__.tb_lineno]

    def _try_again(self, at: int, value: Any, key: Hashable) -> Output | Exception:
        """Return what operation `at` alone makes of the record, with keys if it makes them, or how it failed."""
        if at not in self._alone:
            self._alone[at] = generate(self._operations[at : at + 1])
        output = Output()
        try:
            self._alone[at].function([value], [key], None, output, 0, _raise)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything: the step's policy decides
            return error
        return output

    def _go_on(self, at: int, mended: Output, timestamp_s: float | None, number: int, output: Output) -> None:
        times = [] if timestamp_s is None else [timestamp_s] * len(mended.values)
        if at + 1 == len(self._operations):
            output.values.extend(mended.values)
            output.keys.extend(mended.keys)
            output.timestamps_s.extend(times)
            return
        if at not in self._rest:
            self._rest[at] = Loop(self._operations[at + 1 :], self._failures)
        rest = self._rest[at]
        function = rest._generated(timed=timestamp_s is not None).function
        function(mended.values, mended.keys, times, output, number - len(mended.values), rest._recover)


def _raise(error: Exception, *_: object) -> None:
    raise error
