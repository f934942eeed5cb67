"""Functions over many records at once, as a step of a stream. Knows no other step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sage.flow import spec
from sage.flow.connectors.batch_formats import FORMATS, BatchFormat, InFormat
from sage.flow.ends import Outlet
from sage.flow.where import refusal

if TYPE_CHECKING:
    from sage.flow.stream import Stream

T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")


class Batches(Outlet[T_co]):
    """What of a stream takes batches."""

    __slots__ = ()

    @overload
    def map_batches(
        self,
        fn: Callable[[list[T_co]], Iterable[U]],
        *,
        max_records: int | None = None,
        max_wait_s: float | None = None,
    ) -> Stream[U]: ...
    @overload
    def map_batches(
        self,
        fn: Callable[[Any], Any],
        *,
        max_records: int | None = None,
        max_wait_s: float | None = None,
        format: BatchFormat,
    ) -> Stream[Any]: ...
    def map_batches(
        self,
        fn: Callable[[Any], Any],
        *,
        max_records: int | None = None,
        max_wait_s: float | None = None,
        format: BatchFormat = "list",
    ) -> Stream[Any]:
        """Replace lists of neighbouring records, as they come, by the items of `fn(records)`.

        A call gets at most `max_records`. With `max_wait_s` it gets exactly that many, unless the stream ends or the
        first of them has waited that long.

        `format` is what `fn` takes: "list", or of records that are rows (dicts, dataclasses, Structs) a table: "arrow"
        (pyarrow.Table), "pandas" or "polars" (DataFrame), each with the extra of its name; or "numpy", an array of all
        records. It may return any of them: rows of tables are dicts, items of arrays are as NumPy has them.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> more = flow.from_collection(range(4)).map_batches(lambda ns: [n + 1 for n in ns], max_records=3).collect()
        >>> _ = flow.run(); more.items
        [1, 2, 3, 4]
        """
        from sage.flow.stream import Stream  # which has this method: one thought in two files

        if format not in FORMATS:
            raise refusal(f"format={format!r:.80} is unknown", f"Known are {', '.join(FORMATS)}.", param="format")
        taking = fn if format == "list" or not callable(fn) else InFormat(fn, format)
        return Stream(self._builder, self._then(spec.MapBatches(taking, max_records, max_wait_s)))
