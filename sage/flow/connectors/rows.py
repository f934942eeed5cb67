"""Records as rows: names to values. Knows no format and no database."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import msgspec

from sage.base.errors import SinkUnwritable
from sage.flow.refused import each_of, first_refused


def rows_of(records: Sequence[object]) -> list[Mapping[str, Any]]:
    """Return a dict, a dataclass, a Struct each as a mapping of its fields; raises TypeError for anything else."""
    try:
        return rows_from_records(records, "a table")
    except SinkUnwritable as error:
        raise TypeError(error.args[0]) from error


def rows_from_records(records: Sequence[object], where: str) -> list[Mapping[str, Any]]:
    """Return a dict, a dataclass, a Struct each as a mapping of its fields; raises SinkUnwritable for anything else.

    What is raised says which of `records` are none.
    """
    if set(map(type, records)) == {dict}:
        return list(records)  # type: ignore[arg-type]  # all are dicts
    return each_of(records, lambda record: record if isinstance(record, dict) else _row(record, where))


def check_columns(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], where: str) -> None:
    """Raise SinkUnwritable where a row has a field for which there is no column: it would be lost."""
    known = frozenset(columns)
    refused: dict[int, SinkUnwritable] = {}
    for at, row in enumerate(rows):
        if not known.issuperset(row):
            extra = ", ".join(str(name) for name in row if name not in known)
            refused[at] = SinkUnwritable(
                f"a record for {where} has the fields {extra}, and there are columns for {', '.join(columns)} only; "
                f"it is {dict(row)!r:.200}",
                "Name all columns that are to be written, or map records to those.",
            )
    if refused:
        raise first_refused(refused)


def _row(record: object, where: str) -> Mapping[str, Any]:
    if isinstance(record, msgspec.Struct):
        return msgspec.structs.asdict(record)
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, Mapping):
        return record
    raise SinkUnwritable(
        f"a record for {where} is no row: it is {record!r:.200}", "Map it to a dict, a dataclass or a Struct first."
    )
