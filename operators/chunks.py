"""A function over lists, or a search, as a stage. Knows nothing of single records."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from operators.failure import Failures, Numbers, num_tries_left
from operators.listed import listed
from operators.loop import Columns
from sage.flow.graph import Step


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
