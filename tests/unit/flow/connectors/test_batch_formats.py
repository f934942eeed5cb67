"""Functions over tables and arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import sage
from sage.base.errors import FlowInvalid, RecordFailed
from sage.flow.connectors.batch_formats import BatchFormat


@dataclass
class Row:
    n: int
    name: str


ROWS = [Row(1, "a"), Row(2, "b"), Row(3, "c")]
MORE = [{"n": 2, "name": "a"}, {"n": 3, "name": "b"}, {"n": 4, "name": "c"}]


def run(records: list[Any], fn: Any, kind: BatchFormat) -> list[Any]:
    flow = sage.Flow("f")
    found = flow.from_collection(records).map_batches(fn, format=kind, max_records=3, max_wait_s=9.0).collect()
    flow.run(timeout_s=60, progress=False)
    return found.items


def one_more(table: pa.Table) -> pa.Table:
    return table.set_column(0, "n", pc.add(table["n"], 1))


@pytest.mark.parametrize(
    ("kind", "fn"),
    [
        ("arrow", one_more),
        ("polars", lambda frame: frame.with_columns(pl.col("n") + 1)),
        ("pandas", lambda frame: frame.assign(n=frame.n + 1)),
        ("list", lambda rows: [{"n": row.n + 1, "name": row.name} for row in rows]),
    ],
)
def test_a_function_takes_and_gives_tables_of_rows(kind: BatchFormat, fn: Any) -> None:
    found = run(ROWS, fn, kind)
    assert found == MORE
    assert isinstance(found[0]["n"], int)


def test_a_function_takes_and_gives_arrays() -> None:
    assert run([1, 2, 3, 4], lambda array: array * 10, "numpy") == [10, 20, 30, 40]
    (total,) = run([[1.0, 2.0], [3.0, 4.0]], lambda array: [array.sum(axis=0)], "numpy")
    assert isinstance(total, np.ndarray)
    assert total.tolist() == [4.0, 6.0]


def test_a_column_is_its_items() -> None:
    assert run(ROWS, lambda frame: frame["name"], "polars") == ["a", "b", "c"]


def test_records_that_are_no_rows_and_what_is_no_batch_fail_with_the_reason() -> None:
    with pytest.raises(RecordFailed, match="is no row: it is 5"):
        run([5], one_more, "arrow")
    with pytest.raises(RecordFailed, match="gives a table, an array or a list, got str"):
        run(ROWS, lambda table: "text", "arrow")


def test_a_format_that_nobody_knows_is_refused() -> None:
    with pytest.raises(FlowInvalid, match="format='spark' is unknown"):
        sage.Flow("f").from_collection([1]).map_batches(abs, format="spark")  # type: ignore[call-overload]  # the mistake
    with pytest.raises(FlowInvalid, match="map_batches"):
        sage.Flow("f").from_collection([1]).map_batches(5, format="numpy")  # type: ignore[call-overload]  # the mistake
