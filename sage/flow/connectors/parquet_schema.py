"""Whether a Parquet file can have a schema, and whether columns fit it: else that is found only as the file is closed.

Knows nothing of files.
"""

import io
from collections.abc import Iterator
from typing import Any

from sage.flow.check_numbers import Fault
from sage.flow.connectors.extras import library


def fault_of_schema(schema: Any) -> Fault | None:
    """Return why no Parquet file has this schema; None where one can."""
    arrow, parquet = library("pyarrow", "arrow"), library("pyarrow.parquet", "arrow")
    if not isinstance(schema, arrow.Schema):
        return Fault(f"schema is a pyarrow Schema, got {schema!r:.100}", _HOW, "schema")
    if twice := sorted({name for name in schema.names if schema.names.count(name) > 1}):
        return Fault(
            f"the schema names {', '.join(twice)} more than once", "Give each column a name of its own.", "schema"
        )
    for field in schema:
        for kind in _kinds_in(field.type):
            if isinstance(kind, arrow.DictionaryType):
                what = (
                    f"the column {field.name} of the schema is {field.type}; Parquet packs what comes again by itself"
                )
                return Fault(what, f"Write {kind.value_type} in place of {kind}.", "schema")
    try:
        arrow.RecordBatch.from_pylist([], schema=schema)
        with parquet.ParquetWriter(io.BytesIO(), schema):
            return None
    except (arrow.ArrowException, TypeError) as error:
        return Fault(f"Parquet has no form for the schema: {error}", "Give such columns another type.", "schema")


_HOW = 'Write schema=pyarrow.schema([("id", pyarrow.int64())]).'


def unfit(batch: Any) -> str | None:
    """Return what of a pyarrow RecordBatch does not fit its own schema, which names the column; None where all does.

    Arrow's own check is of values in the range of their type; it looks at no field for missing values.
    """
    arrow = library("pyarrow", "arrow")
    try:
        batch.validate(full=True)
    except arrow.ArrowException as error:
        return str(error)
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if (what := _unfit(field, column, field.name)) is not None:
            return what
    return None


def _unfit(field: Any, column: Any, name: str) -> str | None:
    if column.null_count and not field.nullable:
        return f"{name} is missing, and it is not nullable"
    if not _is_to_be_looked_into(field.type):
        return None
    present = column.drop_null()
    if library("pyarrow", "arrow").types.is_timestamp(field.type):
        return _beyond_milliseconds(present, field.type, name)
    for child, part in _parts(field.type, present):
        if (what := _unfit(child, part, f"{name}.{child.name}")) is not None:
            return what
    return None


def _is_to_be_looked_into(kind: Any) -> bool:
    """Say whether values of a type may be refused by Parquet for what lies in them."""
    types = library("pyarrow", "arrow").types
    if types.is_timestamp(kind):
        return bool(kind.unit == "s")
    children = [kind.field(at) for at in range(kind.num_fields)] if types.is_nested(kind) else []
    return any(not child.nullable or _is_to_be_looked_into(child.type) for child in children)


def _beyond_milliseconds(column: Any, kind: Any, name: str) -> str | None:
    """Parquet knows no whole seconds: it writes milliseconds."""
    arrow = library("pyarrow", "arrow")
    try:
        column.cast(arrow.timestamp("ms", kind.tz))
    except arrow.ArrowInvalid:
        return f"{name} is a time too far from now to be written in milliseconds, as Parquet does"
    return None


def _parts(kind: Any, present: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the fields below a nested type, each with its values where the value above is there."""
    arrow = library("pyarrow", "arrow")
    if arrow.types.is_struct(kind):
        yield from zip(kind.fields, present.flatten(), strict=True)
    elif arrow.types.is_map(kind):
        yield kind.item_field, arrow.ListArray.from_arrays(present.offsets, present.items).flatten()
    else:
        yield kind.value_field, present.flatten()


def _kinds_in(kind: Any) -> Iterator[Any]:
    """Yield a type and all that it is made of."""
    yield kind
    if (stored := getattr(kind, "storage_type", None)) is not None:
        yield from _kinds_in(stored)
    elif library("pyarrow", "arrow").types.is_nested(kind):
        for at in range(kind.num_fields):
            yield from _kinds_in(kind.field(at).type)
