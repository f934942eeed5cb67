"""Tables and queries as sources and sinks, on SQLite and on a real PostgreSQL."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import event

import sage
from sage.base.errors import FlowInvalid, RecordFailed, SinkUnwritable, SourceUnreadable
from sage.flow.connectors import sql_source
from sage.flow.connectors.sql_sink import SqlSink
from sage.flow.connectors.sql_source import SqlSource
from sage.flow.guarantees import guarantees_of
from sage.flow.plan import Routing, plan_from_graph
from tests.unit.flow.connectors.reading import Counted, FailsOnceKept, check_positions, read_all
from tests.unit.flow.connectors.statements import execute


class Order(msgspec.Struct):
    id: int
    total: float


@dataclass
class Total:
    name: str
    total: int


def fill(url: str, num_rows: int) -> None:
    execute(
        url,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, total FLOAT)",
        *(f"INSERT INTO orders VALUES ({number}, {number}.5)" for number in range(num_rows)),
    )


def orders(url: str, **options: Any) -> SqlSource[Any]:
    return SqlSource(url, **{"table": "orders", "query": None, "order_by": "id", **options})


def test_a_table_is_read_page_by_page_and_gone_on_with_after_any_row(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_source, "LEN_PAGE_ROWS", 4)
    fill(database_url, 12)
    assert read_all(orders(database_url), 3) == [{"id": number, "total": number + 0.5} for number in range(12)]
    assert read_all(orders(database_url, after=9, as_type=Order)) == [Order(10, 10.5), Order(11, 11.5)]
    check_positions(orders(database_url), 12, max_records=3)


def test_a_query_is_read_by_any_column_that_orders_it(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_source, "LEN_PAGE_ROWS", 2)
    fill(database_url, 5)
    query = "SELECT id AS n, total * 2 AS double FROM orders WHERE id > 0"
    source = orders(database_url, table=None, query=query, order_by="double")
    assert [row["double"] for row in read_all(source)] == [3, 5, 7, 9]


def test_rows_that_come_while_it_is_read_are_read_too(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql_source, "LEN_PAGE_ROWS", 2)
    fill(database_url, 3)
    reader = orders(database_url).open()
    assert len(reader.read(2) or ()) == 2
    execute(database_url, "INSERT INTO orders VALUES (3, 0), (4, 0)")
    assert [row["id"] for _ in range(2) for row in reader.read(2) or ()] == [2, 3, 4][: 2 + 1]
    reader.close()


@pytest.mark.parametrize(
    "value", [Decimal("1.50"), UUID(int=5), dt.date(2026, 11, 22), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), b"x"]
)
def test_positions_are_plain_and_lead_back_to_the_value(value: Any) -> None:
    position = sql_source._position(value)
    assert type(position[1]) in (str, bytes, dt.date, dt.datetime)
    assert sql_source._value_at(position) == value


def test_a_table_that_is_followed_gives_nothing_and_then_what_has_come(database_url: str) -> None:
    fill(database_url, 2)
    reader = orders(database_url, follow_every_s=0.5).open()
    assert [row["id"] for row in reader.read(9) or ()] == [0, 1]
    assert reader.read(9) == []
    assert reader.pause_s() == 0.5
    execute(database_url, "INSERT INTO orders VALUES (7, 0)")
    assert [row["id"] for row in reader.read(9) or ()] == [7]
    reader.close()


def test_rows_that_could_be_passed_over_end_the_reading(database_url: str) -> None:
    execute(database_url, "CREATE TABLE t (n INTEGER, m INTEGER)", "INSERT INTO t VALUES (1, 1), (1, 2), (2, NULL)")
    with pytest.raises(SourceUnreadable, match="has the value 1 of 'n' more than once"):
        read_all(SqlSource(database_url, "t", None, "n"))
    with pytest.raises(SourceUnreadable, match="has rows whose 'm' is NULL"):
        read_all(SqlSource(database_url, "t", None, "m"))


def test_what_a_database_refuses_is_said_without_the_password(database_url: str) -> None:
    with pytest.raises(SourceUnreadable, match=r"nothing of .* cannot be read") as caught:
        read_all(SqlSource(database_url, "nothing", None, "id"))
    assert "rights" in caught.value.do
    with pytest.raises(SourceUnreadable, match="cannot be reached") as caught:
        SqlSource("strange://me:secret@x/y", "t", None, "id").open()
    assert "secret" not in str(caught.value) + repr(SqlSource("strange://me:secret@x/y", "t", None, "id"))


def test_a_row_that_does_not_fit_the_type_is_named(database_url: str) -> None:
    execute(database_url, "CREATE TABLE orders (id INTEGER, total VARCHAR(9))", "INSERT INTO orders VALUES (7, 'x')")
    with pytest.raises(SourceUnreadable, match="with id 7 does not fit the type: Expected `float`"):
        read_all(orders(database_url, as_type=Order))


@pytest.mark.parametrize("given", [{}, {"table": "a", "query": "b"}])
def test_a_table_or_a_query_is_read(given: Any) -> None:
    with pytest.raises(FlowInvalid, match="from_sql reads a table or a query"):
        sage.Flow("f").from_sql("sqlite://", order_by="id", **given)


def test_rows_are_put_in_or_over_those_of_their_key(database_url: str) -> None:
    execute(
        database_url,
        "CREATE TABLE totals (name VARCHAR(9), region VARCHAR(9), total INTEGER DEFAULT 5, note VARCHAR(9), "
        "PRIMARY KEY (name, region))",
        "INSERT INTO totals VALUES ('a', 'x', 1, 'kept')",
    )
    writer = SqlSink(database_url, "totals", ("name", "region")).open()
    rows = [
        {"name": "a", "region": "x", "total": 2},
        {"name": "b", "region": "x"},
        {"name": "b", "region": "x", "note": "late"},
        {"name": "b", "region": "y", "total": 7},
        {"name": "b", "region": "y", "total": 8},
    ]
    for _ in range(2):
        writer.write(rows)
        assert [tuple(row) for row in execute(database_url, "SELECT * FROM totals ORDER BY 1, 2")] == [
            ("a", "x", 2, "kept"),
            ("b", "x", 5, "late"),
            ("b", "y", 8, None),
        ]
    writer.close(complete=True)


def test_a_key_alone_is_a_row(database_url: str) -> None:
    execute(database_url, "CREATE TABLE seen (id INTEGER PRIMARY KEY)")
    writer = SqlSink(database_url, "seen", ("id",)).open()
    writer.write([{"id": 1}, {"id": 2}])
    writer.write([{"id": 1}, {"id": 3}])
    writer.close(complete=True)
    assert [row[0] for row in execute(database_url, "SELECT id FROM seen ORDER BY id")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"id": 1, "color": "red"}, "has the fields color, and there are columns for id, name only"),
        ({"name": "x"}, r"lacks its key \(id\)"),
        ({"id": 1, "name": None}, "cannot be written: .*(NOT NULL|not-null|null value)"),
    ],
)
def test_a_row_that_does_not_fit_the_table_is_refused(database_url: str, row: dict[str, Any], what: str) -> None:
    execute(database_url, "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(9) NOT NULL)")
    writer = SqlSink(database_url, "people", ("id",)).open()
    with pytest.raises(SinkUnwritable, match=what):
        writer.write([row])
    writer.close(complete=False)


def test_rows_that_the_table_refuses_are_set_aside_one_by_one(database_url: str) -> None:
    execute(database_url, "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(9) NOT NULL, age INTEGER)")
    good: list[Any] = [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}, {"id": 2, "name": "c", "age": 3}]
    bad: list[Any] = [{"id": 5, "name": None}, {"name": "x"}, {"id": 3}, {"id": 4, "name": "d", "size": 1}, 5]
    flow = sage.Flow("f")
    records = flow.from_collection([good[0], bad[0], good[1], *bad[1:3], good[2], *bad[3:]])
    records.to_sql(database_url, "people", key="id").on_error("dead_letter")
    assert flow.run(progress=False, timeout_s=60).dead_letters == len(bad)
    assert [tuple(row) for row in execute(database_url, "SELECT * FROM people ORDER BY id")] == [
        (1, "b", None),
        (2, "c", 3),
    ]


@pytest.mark.parametrize("bad", [(0,), (999,), (3, 4), tuple(range(0, 1000, 100)), tuple(range(990, 1000))], ids=len)
def test_rows_at_fault_are_found_by_halves_and_the_batch_is_one_transaction(
    database_url: str, bad: tuple[int, ...]
) -> None:
    execute(database_url, "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(9) NOT NULL)")
    writer = SqlSink(database_url, "people", ("id",)).open()
    statements: list[str] = []

    @event.listens_for(writer._engine, "before_cursor_execute")
    def count(connection: Any, cursor: Any, statement: str, *_: object) -> None:
        statements.append(statement)

    rows = [{"id": at, "name": None if at in bad else "x"} for at in range(1000)]
    with pytest.raises(SinkUnwritable, match="cannot be written") as caught:
        writer.write(rows)
    assert tuple(error.at for error in (caught.value, *caught.value.others)) == bad
    assert execute(database_url, "SELECT * FROM people") == []
    num_puts = sum(statement.startswith("INSERT") for statement in statements)
    assert num_puts <= 2 + len(bad) * 2 * 10, "1,000 rows are halved ten times"
    statements.clear()
    writer.write([row for row in rows if row["id"] not in bad])
    assert sum(statement.startswith("INSERT") for statement in statements) == 1
    assert execute(database_url, "SELECT count(*) FROM people")[0][0] == 1000 - len(bad)
    writer.close(complete=True)


def test_a_row_that_only_those_before_it_make_bad_is_the_one_that_is_refused(database_url: str) -> None:
    execute(database_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, mail VARCHAR(9) UNIQUE, name VARCHAR(9) NOT NULL)")
    writer = SqlSink(database_url, "t", ("id",)).open()
    rows: list[Any] = [
        {"id": 1, "mail": "a", "name": "x"},
        {"id": 2, "mail": "a", "name": "x"},
        {"id": 3, "mail": "c", "name": None},
        {"id": 3, "mail": "d"},
        {"id": 1, "mail": "e"},
    ]
    with pytest.raises(SinkUnwritable) as caught:
        writer.write(rows)
    assert [error.at for error in (caught.value, *caught.value.others)] == [1, 2, 3]
    writer.write([rows[0], rows[4]])
    assert [tuple(row) for row in execute(database_url, "SELECT * FROM t")] == [(1, "e", "x")]
    writer.close(complete=True)


@pytest.mark.parametrize("value", [{1}, 1 << 80, "\udc80", object()], ids=["set", "huge", "surrogate", "object"])
def test_a_value_that_the_driver_cannot_bind_is_set_aside_alone(database_url: str, value: Any) -> None:
    execute(database_url, "CREATE TABLE t (id INTEGER PRIMARY KEY, size INTEGER, name VARCHAR(9))")
    rows = [{"id": 1, "size": 1}, {"id": 2, "size": value}, {"id": 3, "name": value}, {"id": 4, "name": "d"}]
    flow = sage.Flow("f")
    out = flow.from_collection([*rows, {"id": [5]}, {"id": 6}]).to_sql(database_url, "t", key="id")
    out.on_error("dead_letter")
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        job.wait(60)
        letters = [letter.value for letter in job.dead_letters()]
    found = execute(database_url, "SELECT id FROM t ORDER BY id")
    assert [row[0] for row in found] == [1, 4, 6]
    assert letters == [repr(rows[1]), repr(rows[2]), "{'id': [5]}"]
    with pytest.raises(SinkUnwritable, match="cannot be written"):
        SqlSink(database_url, "t", ("id",)).form_of(rows[1])


def test_the_form_of_a_record_is_tried_and_taken_back(database_url: str) -> None:
    execute(database_url, "CREATE TABLE people (id INTEGER PRIMARY KEY, name VARCHAR(9) NOT NULL)")
    sink = SqlSink(database_url, "people", ("id",))
    assert sink.form_of({"id": 1, "name": "a"}) == {"id": 1, "name": "a"}
    with pytest.raises(SinkUnwritable, match=r"(?s)cannot be written: .*; it is \{'id': 1, 'name': None\}"):
        sink.form_of({"id": 1, "name": None})
    assert execute(database_url, "SELECT * FROM people") == []


def test_instances_have_no_row_in_common_and_the_last_record_of_each_stays(database_url: str) -> None:
    execute(database_url, "CREATE TABLE spent (name VARCHAR(9) PRIMARY KEY, total FLOAT)")
    flow = sage.Flow("f")
    rows = flow.from_collection([{"name": f"{number % 7}", "total": number} for number in range(3_000)])
    rows.to_sql(database_url, "spent", key="name").with_parallelism(3)
    plan = plan_from_graph(flow.graph())
    assert [(channel.source, channel.routing) for channel in plan.channels] == [("from_collection", Routing.KEYED)]
    flow.run(timeout_s=60, progress=False)
    found = execute(database_url, "SELECT name, total FROM spent ORDER BY name")
    assert [tuple(row) for row in found] == [(str(last % 7), last) for last in sorted(range(2993, 3000), key=by_seven)]


def by_seven(number: int) -> int:
    return number % 7


def test_what_is_no_row_of_the_key_is_said_by_the_sink_of_several_instances(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    execute(url, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    flow = sage.Flow("f")
    records = flow.from_collection([{"id": 1}, 7, {"id": [1]}, {}, {"id": 2}])
    records.to_sql(url, "t", key="id").with_parallelism(2).on_error("dead_letter")
    with sage.connect() as cluster:
        job = cluster.submit(flow)
        assert job.wait(60).dead_letters == 3
        assert {letter.step for letter in job.dead_letters()} == {"to_sql"}
    assert [tuple(row) for row in execute(url, "SELECT id FROM t ORDER BY id")] == [(1,), (2,)]


def test_a_table_without_unique_index_over_the_key_is_refused(database_url: str) -> None:
    execute(database_url, "CREATE TABLE t (n INTEGER)")
    writer = SqlSink(database_url, "t", ("n",)).open()
    with pytest.raises(SinkUnwritable, match="cannot be written") as caught:
        writer.write([{"n": 1}])
    assert "unique index over (n)" in caught.value.do
    assert caught.value.at is None  # no record is why: all would be set aside
    with pytest.raises(SinkUnwritable, match=r"nothing of .* cannot be found"):
        SqlSink(database_url, "nothing", ("n",)).open()
    with pytest.raises(SinkUnwritable, match="has no column m"):
        SqlSink(database_url, "t", ("m",)).open()
    writer.close(complete=False)


def test_a_flow_that_failed_goes_on_after_the_last_row_and_no_total_counts_twice(
    database_url: str, tmp_path: Path
) -> None:
    num_rows = 8_000
    values = ", ".join(f"({number}, {number % 7})" for number in range(num_rows))
    execute(
        database_url,
        "CREATE TABLE events (id INTEGER PRIMARY KEY, kind INTEGER)",
        f"INSERT INTO events VALUES {values}",
        "CREATE TABLE totals (name VARCHAR(9) PRIMARY KEY, total INTEGER)",
    )

    def flow_that(checks: Callable[[Any], Any]) -> sage.Flow:
        flow = sage.Flow("totals")
        rows = flow.from_sql(database_url, table="events", order_by="id").map(checks)
        counts = rows.key_by(lambda row: row["kind"]).count()
        counts.map(lambda count: Total(f"kind {count[0]}", count[1])).to_sql(database_url, "totals", key="name")
        return flow

    kept = sage.Checkpoint(tmp_path / "kept", every_s=0.02)
    with pytest.raises(RecordFailed):
        flow_that(FailsOnceKept(tmp_path / "kept")).run(timeout_s=60, progress=False, checkpoint=kept)
    counted = Counted()
    mended = flow_that(counted)
    result = mended.run(timeout_s=60, progress=False, checkpoint=kept, resume="must")
    assert result.records_in == num_rows > counted.num
    found = execute(database_url, "SELECT name, total FROM totals ORDER BY name")
    assert [tuple(row) for row in found] == [(f"kind {kind}", len(range(kind, num_rows, 7))) for kind in range(7)]
    assert guarantees_of(mended.graph(), 0, is_kept=True) == (
        "to_sql: each record exactly once: what is written again, after a checkpoint, leaves all as it was",
    )
    assert guarantees_of(mended.graph(), 1) == (
        "to_sql: each record once: of 2 runs, since a node or the head was lost, each writes the same again",
    )
