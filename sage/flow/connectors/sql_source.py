"""A table, or a query, as a source: read in the order of a column, a page at a time. Knows nothing of steps or threads.

A page is one short transaction: what comes after the value that was read last. No cursor is held, and a reading can be
gone on with after any row.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from sage.base.errors import SourceUnreadable
from sage.flow.check_numbers import Fault
from sage.flow.connectors.databases import engine_for, said_of, shown
from sage.flow.connectors.extras import library

T_co = TypeVar("T_co", covariant=True)

LEN_PAGE_ROWS = 1000


@dataclass(frozen=True, slots=True)
class SqlSource(Generic[T_co]):
    """The rows of `table` or of `query`, in the order of `order_by`, whose values differ; those after `after`.

    `follow_every_s`: how often to look for more at the end; None: the end is the end.
    """

    url: str = field(repr=False)
    table: str | None
    query: str | None
    order_by: str
    as_type: type[T_co] | None = None
    after: Any = None
    follow_every_s: float | None = None

    def undealt(self) -> Fault | None:
        """Return why one instance reads it."""
        what = f"rows are read in the order of {self.order_by!r} by one instance"
        return Fault(what, "Write several from_sql with a range each, and put them together by union.")

    def open(self) -> "SqlReader[T_co]":
        """Start a reading; raises SourceUnreadable, ExtraMissing."""
        return SqlReader(self, self.after)

    def open_at(self, position: Sequence[Any]) -> "SqlReader[T_co]":
        return SqlReader(self, _value_at(position))


class SqlReader(Generic[T_co]):
    def __init__(self, source: SqlSource[T_co], after: Any) -> None:
        self._source = source
        self._where = f"{source.table or 'the query'} of {shown(source.url)}"
        self._last = after
        self._rows: list[dict[str, Any]] = []
        self._next = 0
        self._has_more = True
        self._engine = engine_for(source.url, SourceUnreadable)
        try:
            self._check_order()
        except SourceUnreadable:
            self.close()
            raise

    def position(self) -> tuple[str, Any]:
        """Return the value of the last row that was read, with its kind."""
        return _position(self._last)

    def read(self, max_records: int) -> Sequence[T_co] | None:
        follows = self._source.follow_every_s is not None
        if self._next == len(self._rows) and (self._has_more or follows):
            self._turn_page()
        rows = self._rows[self._next : self._next + max_records]
        if not rows:
            return [] if follows else None
        records = self._records(rows)
        self._next += len(rows)
        self._last = rows[-1][self._source.order_by]
        return records

    def pause_s(self) -> float:
        return self._source.follow_every_s or 0.0

    def close(self) -> None:
        self._engine.dispose()

    def _turn_page(self) -> None:
        """Read a page, and one row more: it shows whether there is another, and that no value is there twice."""
        column = library("sqlalchemy", "sql").column(self._source.order_by)
        page = self._from("*").order_by(column).limit(LEN_PAGE_ROWS + 1)
        if self._last is not None:
            page = page.where(column > self._last)
        rows = self._run(page)
        if rows and self._source.order_by not in rows[0]:
            raise SourceUnreadable(
                f"{self._where} has no column {self._source.order_by!r}", f"Name one of {', '.join(rows[0])}."
            )
        values = [row[self._source.order_by] for row in rows]
        for value, following in pairwise(values):
            if value == following:
                raise SourceUnreadable(
                    f"{self._where} has the value {value!r} of {self._source.order_by!r} more than once",
                    "Order by a column whose values differ: rows could be passed over otherwise.",
                )
        self._has_more = len(rows) > LEN_PAGE_ROWS
        self._rows, self._next = rows[:LEN_PAGE_ROWS], 0

    def _check_order(self) -> None:
        """Raise SourceUnreadable where a row has no place in the order: it would be passed over."""
        column = library("sqlalchemy", "sql").column(self._source.order_by)
        if self._run(self._from("1 AS found").where(column.is_(None)).limit(1)):
            raise SourceUnreadable(
                f"{self._where} has rows whose {self._source.order_by!r} is NULL",
                "Order by a column that is never NULL, or leave them out: query='SELECT ... WHERE ... IS NOT NULL'.",
            )

    def _from(self, what: str) -> Any:
        """Return a selection of the table or query."""
        alchemy = library("sqlalchemy", "sql")
        source = self._source
        if source.query is not None:
            rows = alchemy.text(f"({source.query}) AS sage_rows")
        else:
            schema, _, name = (source.table or "").rpartition(".")
            rows = alchemy.table(name, schema=schema or None)
        return alchemy.select(alchemy.text(what)).select_from(rows)

    def _run(self, selection: Any) -> list[dict[str, Any]]:
        advice = "Check the table or query, order_by, and the rights of the user."
        with said_of(f"{self._where} cannot be read", SourceUnreadable, advice), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(selection).mappings()]

    def _records(self, rows: list[dict[str, Any]]) -> list[Any]:
        as_type = self._source.as_type
        if as_type is None:
            return rows
        row: dict[str, Any] = {}
        try:
            records = []
            for row in rows:
                records.append(msgspec.convert(row, as_type, strict=False))
        except msgspec.ValidationError as error:
            name = self._source.order_by
            what = f"the row of {self._where} with {name} {row[name]!r} does not fit the type: {error}"
            raise SourceUnreadable(what, "Change the type, or the query.") from error
        return records


def _position(value: Any) -> tuple[str, Any]:
    """Return a value of a column, with its kind, as plain values."""
    match value:
        case Decimal() | UUID():
            return type(value).__name__, str(value)
        case None | int() | float() | str() | bytes() | dt.datetime() | dt.date():
            return "", value
        case _:
            raise SourceUnreadable(
                f"order_by gives values of type {type(value).__name__}, which a checkpoint cannot keep",
                "Order by numbers, texts, dates or UUIDs.",
            )


def _value_at(position: Sequence[Any]) -> Any:
    kind, value = position
    return {"Decimal": Decimal, "UUID": UUID}[kind](value) if kind else value
