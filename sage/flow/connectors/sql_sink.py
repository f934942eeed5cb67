"""A table as a sink: rows are put in, or over those of the same key. Knows nothing of steps or threads.

Writing the same again leaves the table as it was, so that a run which begins again does no harm.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, ClassVar

from sage.base.errors import SinkUnwritable
from sage.flow.connectors.collations import folded_key, loose_collations
from sage.flow.connectors.databases import engine_for, said_of, shown
from sage.flow.connectors.extras import library
from sage.flow.connectors.rows import check_columns, rows_from_records
from sage.flow.ports import Repeats
from sage.flow.refused import each_of, first_refused, refused_alone
from sage.flow.sink_keys import KeyOf

_MAX_TRIES = 3
_ON_CONFLICT = ("sqlite", "postgresql")
_ON_DUPLICATE = ("mysql", "mariadb")


@dataclass(frozen=True, slots=True)
class SqlSink:
    """A row a record, in `table`; one of the same `key` is changed."""

    repeats: ClassVar = Repeats.SAME
    refuses_records: ClassVar = True

    url: str = field(repr=False)
    table: str
    key: tuple[str, ...]
    num_shares: int = 1

    def share(self, number: int, num_shares: int) -> "SqlSink":
        """Each has a connection, and transactions, of its own; no two of them have rows of one key."""
        return replace(self, num_shares=num_shares)

    def sink_keys(self) -> Callable[[Any], Hashable]:
        return KeyOf(RowKey(self.key))

    def open(self) -> "SqlWriter":
        """Look at the table; raises SinkUnwritable, ExtraMissing."""
        return SqlWriter(self)

    def form_of(self, record: object) -> object:
        """Put one record into the table, look at it, and take it back; raises SinkUnwritable where it is refused."""
        writer = SqlWriter(self)
        try:
            return writer.tried(record)
        finally:
            writer.close(complete=False)


@dataclass(frozen=True, slots=True)
class RowKey:
    """The values of columns of a record, folded: equal where a table has one row. Raises SinkUnwritable for no row."""

    columns: tuple[str, ...]

    def __call__(self, record: object) -> tuple[Any, ...]:
        [row] = rows_from_records([record], "a table")
        return folded_key([row.get(name) for name in self.columns])


class SqlWriter:
    """Each batch is one transaction."""

    def __init__(self, sink: SqlSink) -> None:
        self._where = f"{sink.table} of {shown(sink.url)}"
        self._key = sink.key
        self._engine = engine_for(sink.url, SinkUnwritable)
        self._dialect = self._engine.dialect.name
        if self._dialect not in (*_ON_CONFLICT, *_ON_DUPLICATE):
            known = ", ".join((*_ON_CONFLICT, *_ON_DUPLICATE))
            raise SinkUnwritable(f"to_sql does not know how {self._dialect} puts rows over others", f"Known: {known}.")
        try:
            self._table = self._found(sink.table)
            if sink.num_shares > 1:
                self._check_collations()
        except SinkUnwritable:
            self._engine.dispose()
            raise
        self._columns = tuple(column.name for column in self._table.columns)

    def write(self, records: Sequence[object]) -> None:
        """Put rows in, in one transaction; raises SinkUnwritable where the database refuses."""
        rows = rows_from_records(records, self._where)
        check_columns(rows, self._columns, self._where)
        merged = self._last_of_each_key(rows)
        advice = f"Does the table have a unique index over ({', '.join(self._key)}), and do the records fit it?"
        with said_of(f"{self._where} cannot be written", SinkUnwritable, advice):
            try:
                self._commit(merged)
            except Exception as error:
                if _is_of_a_record(error):
                    self._find(rows)
                raise  # none is refused alone

    def tried(self, record: object) -> Mapping[str, Any]:
        """Return the row of a record that the table would take; raises SinkUnwritable."""
        rows = rows_from_records([record], self._where)
        check_columns(rows, self._columns, self._where)
        self._last_of_each_key(rows)
        self._find(rows)
        return rows[0]

    def close(self, *, complete: bool) -> None:
        """Let go: each batch was committed."""
        self._engine.dispose()

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(name) for name in self._key)

    def _last_of_each_key(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return rows as they are after all of them: no statement of a database takes one key twice."""
        merged: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        for key, row in zip(each_of(rows, self._checked_key), rows, strict=True):
            merged[key] = {**merged.pop(key), **row} if key in merged else row  # as if the last was put in last
        return list(merged.values())

    def _checked_key(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        key = self.key_of(row)
        if None in key:
            raise SinkUnwritable(
                f"a record for {self._where} lacks its key ({', '.join(self._key)}): {dict(row)!r:.200}",
                "Give every record its key: rows without would be there twice when they are written again.",
            )
        try:
            hash(key)
        except TypeError as error:
            raise SinkUnwritable(f"a record for {self._where} has a key that cannot be one: {key!r:.200}") from error
        return key

    def _upsert(self, names: Sequence[str]) -> Any:
        """Return the statement that puts in rows of these columns, or changes those of the same key."""
        dialect = library(f"sqlalchemy.dialects.{self._dialect}", "sql")
        statement = dialect.insert(self._table)
        others = [name for name in names if name not in self._key]
        if self._dialect in _ON_DUPLICATE:
            changed = {name: statement.inserted[name] for name in others or self._key}
            return statement.on_duplicate_key_update(**changed)
        if not others:
            return statement.on_conflict_do_nothing(index_elements=list(self._key))
        changed = {name: statement.excluded[name] for name in others}
        return statement.on_conflict_do_update(index_elements=list(self._key), set_=changed)

    def _commit(self, rows: Iterable[Mapping[str, Any]]) -> None:
        alchemy = library("sqlalchemy", "sql")
        statements = self.statements(rows)
        for num_left in reversed(range(_MAX_TRIES)):
            try:
                with self._engine.begin() as connection:
                    for statement, alike in statements:
                        connection.execute(statement, alike)
                return
            except alchemy.exc.DBAPIError as error:
                if not (error.connection_invalidated and num_left):  # lost on the way: written again, it is the same
                    raise

    def statements(self, rows: Iterable[Mapping[str, Any]]) -> list[tuple[Any, list[Mapping[str, Any]]]]:
        """Return statements, each with its rows of the same columns; in order where the table may hold two for one.

        No two of those are in one statement: a driver may send it as one with many values, and databases refuse that.
        """
        rows = list(rows)
        turns = list(_turns(folded_key(self.key_of(row)) for row in rows))
        if not any(turns):
            rows.sort(key=_columns_of)
        parts = groupby(zip(turns, rows, strict=True), lambda each: (each[0], _columns_of(each[1])))
        return [(self._upsert(names), [row for _, row in alike]) for (_, names), alike in parts]

    def _find(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Try rows, each as those before it leave its key, and take all back; raises SinkUnwritable."""
        with self._engine.connect() as connection, connection.begin() as whole:
            if self._dialect == "sqlite":
                connection.exec_driver_sql("BEGIN")  # else its first savepoint is the transaction, and stays
            refused = refused_alone(range(len(rows)), _Trial(self, connection, rows))
            whole.rollback()
        if refused:
            raise first_refused({at: self._refused(rows[at], why) for at, why in refused.items()})

    def _refused(self, row: Mapping[str, Any], error: Exception) -> SinkUnwritable:
        why = str(getattr(error, "orig", None) or error).strip()
        what = f"{self._where} cannot be written: {why:.400}; it is {dict(row)!r:.200}"
        refused = SinkUnwritable(what, "Map records to what the table takes, or set such ones aside.")
        refused.__cause__ = error
        return refused

    def _check_collations(self) -> None:
        """Raise SinkUnwritable where two instances may write one row, since it is not known which keys are equal."""
        advice = "Check the rights of the user."
        with said_of(f"{self._where} cannot be read", SinkUnwritable, advice), self._engine.connect() as connection:
            loose = loose_collations(connection, self._table, self._key)
        if loose:
            columns = ", ".join(f"{name} (collation {collation})" for name, collation in loose.items())
            raise SinkUnwritable(
                f"{self._where} cannot have several writers: texts that differ may be one key of {columns}, "
                "so that two of them would change one row",
                "Leave with_parallelism away, or give the column a collation in which only the same texts are equal "
                '(PostgreSQL: a deterministic one, "C"; MySQL: one that ends in _bin).',
            )

    def _found(self, name: str) -> Any:
        alchemy = library("sqlalchemy", "sql")
        schema, _, table = name.rpartition(".")
        advice = "Create the table, with a unique index over the key, and check the rights of the user."
        with said_of(f"{self._where} cannot be found", SinkUnwritable, advice):
            found = alchemy.Table(table, alchemy.MetaData(), schema=schema or None, autoload_with=self._engine)
        if missing := [column for column in self._key if column not in found.columns]:
            known = ", ".join(found.columns.keys())
            raise SinkUnwritable(f"{self._where} has no column {', '.join(missing)}", f"It has {known}.")
        return found


def _turns(keys: Iterable[Hashable]) -> Iterator[int]:
    """Yield a number a key, the next one wherever a key comes again that has the same.

    >>> list(_turns("abab"))
    [0, 0, 1, 1]
    """
    turn, seen = 0, set[Hashable]()
    for key in keys:
        if key in seen:
            turn, seen = turn + 1, set()
        seen.add(key)
        yield turn


def _columns_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(sorted(row))


class _Trial:
    """Puts rows in as far as they are taken, within a transaction."""

    def __init__(self, writer: SqlWriter, connection: Any, rows: Sequence[Mapping[str, Any]]) -> None:
        self._writer = writer
        self._connection = connection
        self._rows = rows
        self._so_far: dict[tuple[Any, ...], Mapping[str, Any]] = {}

    def __call__(self, part: Sequence[int]) -> dict[int, Exception]:
        """Put in the rows of these numbers, or none of them: then all have the error."""
        changed: dict[tuple[Any, ...], Mapping[str, Any]] = {}
        for at in part:
            key = self._writer.key_of(self._rows[at])
            before = changed.pop(key) if key in changed else self._so_far.get(key, {})
            changed[key] = {**before, **self._rows[at]}
        try:
            with self._connection.begin_nested():
                for statement, alike in self._writer.statements(changed.values()):
                    self._connection.execute(statement, alike)
        except Exception as error:
            if not _is_of_a_record(error):
                raise
            return dict.fromkeys(part, error)
        self._so_far |= changed
        return {}


def _is_of_a_record(error: Any) -> bool:
    """Say whether one record may be why: of anything else, a missing index say, all would be refused.

    What a driver says by itself, without a code of the database's, is about a value that it cannot bind.
    """
    errors = library("sqlalchemy", "sql").exc
    if not isinstance(error, errors.DBAPIError):
        return isinstance(error, errors.StatementError | OverflowError | UnicodeEncodeError)
    if isinstance(error, errors.IntegrityError | errors.DataError):
        return True
    is_bindable = not isinstance(error, errors.InterfaceError | errors.ProgrammingError) or error.connection_invalidated
    return not is_bindable and not _has_code(error.orig)


def _has_code(error: Any) -> bool:
    """Say whether an error is one of the database's: SQLite, PostgreSQL and MySQL number theirs, each in its way."""
    codes = (getattr(error, "sqlite_errorcode", None), getattr(error, "sqlstate", None))
    return any(code is not None for code in codes) or isinstance(next(iter(error.args), None), int)
