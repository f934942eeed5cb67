"""Batches as Arrow, pandas, Polars or NumPy know them, for functions over lists. Knows no step."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sage.flow.connectors.extras import library
from sage.flow.connectors.rows import rows_of

BatchFormat = Literal["list", "arrow", "pandas", "polars", "numpy"]
FORMATS = get_args(BatchFormat)


@dataclass(frozen=True, slots=True)
class InFormat:
    """A function over batches of a format, as one over lists of records: rows of tables, items of arrays."""

    func: Callable[[Any], Any]
    format: BatchFormat

    def __call__(self, records: list[Any]) -> list[Any]:
        return records_from(self.func(batch_from(records, self.format)))


def batch_from(records: Sequence[Any], kind: BatchFormat) -> Any:
    """Return records as a pyarrow Table, a DataFrame or an array; raises ExtraMissing, TypeError for no rows."""
    match kind:
        case "list":
            return list(records)
        case "numpy":
            import numpy as np  # takes longer than all of `import sage`

            return np.asarray(records)
        case "arrow":
            return library("pyarrow", "arrow").Table.from_pylist(rows_of(records))
        case "pandas":
            return library("pandas", "pandas").DataFrame.from_records(rows_of(records))
        case "polars":
            return library("polars", "polars").DataFrame(rows_of(records), infer_schema_length=None)


def records_from(batch: Any) -> list[Any]:
    """Return the records of what a function gave: known by what it can do, whatever it was given."""
    if hasattr(batch, "to_pylist"):  # Arrow
        found: list[Any] = batch.to_pylist()
    elif hasattr(batch, "to_dicts"):  # a frame of Polars
        found = batch.to_dicts()
    elif hasattr(batch, "to_dict") and hasattr(batch, "columns"):  # a frame of pandas
        found = batch.to_dict(orient="records")
    elif isinstance(batch, Mapping | str | bytes):
        raise TypeError(f"a function over batches gives a table, an array or a list, got {type(batch).__name__}")
    else:  # an array, a column, or whatever else has items
        found = list(batch)
    return found
