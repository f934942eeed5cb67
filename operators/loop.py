"""A stage that takes record by record: runs a generated loop and mends it where a record fails.

Knows nothing of batches' origin nor of what becomes of its output.
"""

from collections.abc import Hashable, Sequence
from typing import Any

from operators.codegen import Generated, Operation, generate, gives_keys
from operators.failure import Failures, Numbers, num_tries_left

Columns = tuple[Sequence[Any], Sequence[Hashable] | None]
"""Values and, where the stream is keyed, their keys."""


class Loop:
    """Record-wise operations fused into one generated loop.

    What has passed is never run again: a record that failed is tried again at the operation that raised, and goes on
    from there by a loop over the operations that follow.
    """

    def __init__(self, operations: Sequence[Operation], failures: Failures) -> None:
        self._operations = tuple(operations)
        self._failures = failures
        self._generated = generate(operations)
        self._alone: dict[int, Generated] = {}
        self._rest: dict[int, Loop] = {}
        self._num_read = 0

    @property
    def source(self) -> str:
        """The generated function, for people."""
        return self._generated.source

    def run(self, values: Sequence[Any], keys: Sequence[Hashable] | None) -> Columns:
        """Return the output of one batch; raises RecordFailed."""
        out: list[Any] = []
        out_keys: list[Hashable] = []
        self._generated.function(values, keys, out, out_keys, self._num_read, self._recover)
        self._num_read += len(values)
        return out, out_keys if gives_keys(self._operations) else None

    def _recover(
        self, error: Exception, value: Any, key: Hashable, number: int, out: list[Any], out_keys: list[Hashable]
    ) -> None:
        """Try the failing operation again, as often as its step says; then go on after it, or give the record up."""
        at = self._operation_at(error)
        operation = self._operations[at]
        for _ in range(num_tries_left(operation.step, error)):
            tried = self._try_again(at, value, key)
            if not isinstance(tried, Exception):
                return self._go_on(at, tried, number, out, out_keys)
            error = tried
        record = value[0] if operation.is_paired else value
        self._failures.give_up(operation.step, error, [record], Numbers(number, number))
        error.__traceback__ = None  # a user may raise one and the same error for ever: let go of the frames

    def _operation_at(self, error: Exception) -> int:
        assert error.__traceback__ is not None
        return self._generated.operation_at[error.__traceback__.tb_lineno]

    def _try_again(self, at: int, value: Any, key: Hashable) -> tuple[list[Any], list[Hashable]] | Exception:
        """Return what operation `at` alone makes of the record, with keys if it makes them, or how it failed."""
        if at not in self._alone:
            self._alone[at] = generate(self._operations[at : at + 1])
        out: list[Any] = []
        out_keys: list[Hashable] = []
        try:
            self._alone[at].function([value], [key], out, out_keys, 0, _raise)
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything: the step's policy decides
            return error
        return out, out_keys

    def _go_on(
        self, at: int, mended: tuple[list[Any], list[Hashable]], number: int, out: list[Any], out_keys: list[Hashable]
    ) -> None:
        values, keys = mended
        if at + 1 == len(self._operations):
            out.extend(values)
            out_keys.extend(keys)
            return
        if at not in self._rest:
            self._rest[at] = Loop(self._operations[at + 1 :], self._failures)
        rest = self._rest[at]
        rest._generated.function(values, keys, out, out_keys, number - len(values), rest._recover)


def _raise(error: Exception, *_: object) -> None:
    raise error
