"""Texts that a table holds for one key though they differ: which instance writes them, and in which order."""

from pathlib import Path

import pytest

import sage
from sage.base.errors import SinkUnwritable
from sage.flow.connectors.sql_sink import SqlSink
from tests.unit.flow.connectors.statements import execute


@pytest.mark.parametrize("names", [("ab", "AB"), ("ab", "ab  "), ("stra\u00dfe", "STRASSE"), ("\u0130", "i")])
def test_texts_that_a_table_may_hold_for_one_key_have_one_key_to_part_them_by(names: tuple[str, str]) -> None:
    one, other, third = map(SqlSink("sqlite://", "t", ("name",)).sink_keys(), ({"name": n} for n in (*names, "x")))
    assert one == other != third


@pytest.mark.parametrize("column", ["VARCHAR(9) COLLATE NOCASE", "VARCHAR(9) COLLATE RTRIM"])
def test_texts_that_sqlite_holds_for_one_key_are_written_by_one_instance(tmp_path: Path, column: str) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    execute(url, f"CREATE TABLE t (name {column} PRIMARY KEY, total INTEGER)")
    names = [["ab", "aB", "AB", "Ab"], ["ab", "ab ", "ab  ", "ab   "]][column.endswith("RTRIM")]
    flow = sage.Flow("f")
    rows = flow.from_collection([{"name": names[number % 4], "total": number} for number in range(2_000)])
    rows.to_sql(url, "t", key="name").with_parallelism(4)
    flow.run(timeout_s=60, progress=False)
    assert [row[0] for row in execute(url, "SELECT total FROM t")] == [1_999]


def test_rows_that_only_the_table_holds_for_one_are_put_in_in_their_order(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    execute(url, "CREATE TABLE t (name TEXT COLLATE NOCASE PRIMARY KEY, x INTEGER, y INTEGER)")
    writer = SqlSink(url, "t", ("name",)).open()
    writer.write([{"name": "a", "x": 1}, {"name": "A", "x": 2, "y": 2}, {"name": "b", "x": 5}, {"name": "a", "x": 3}])
    assert [tuple(row) for row in execute(url, "SELECT * FROM t ORDER BY 1")] == [("A", 3, 2), ("b", 5, None)]
    writer.write([{"name": "A", "x": 4}, {"name": "b", "y": 6}, {"name": "a", "x": 5, "y": 5}, {"name": "A", "x": 6}])
    assert [tuple(row) for row in execute(url, "SELECT * FROM t ORDER BY 1")] == [("A", 6, 5), ("b", 5, 6)]
    writer.close(complete=True)


def test_no_statement_holds_two_rows_that_the_table_may_hold_for_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    execute(url, "CREATE TABLE t (name TEXT COLLATE NOCASE PRIMARY KEY, x INTEGER)")
    writer = SqlSink(url, "t", ("name",)).open()
    rows = [{"name": name, "x": 1} for name in ("a", "b", "A", "B", "c", "a ")]
    assert [[row["name"] for row in alike] for _, alike in writer.statements(rows)] == [
        ["a", "b"],
        ["A", "B", "c"],
        ["a "],
    ]
    writer.close(complete=True)


@pytest.mark.postgres
def test_a_collation_of_which_it_is_not_known_what_is_equal_has_one_writer(postgres_database_url: str) -> None:
    execute(
        postgres_database_url,
        'CREATE COLLATION loose FROM "C"',
        "CREATE TABLE t (name TEXT COLLATE loose, region TEXT, n INTEGER, PRIMARY KEY (name, region), UNIQUE (region))",
        'CREATE SCHEMA "Of Others"',
        'CREATE TABLE "Of Others".t (name TEXT PRIMARY KEY)',
        'CREATE UNIQUE INDEX other ON "Of Others".t (name COLLATE loose)',
        "SET allow_system_table_mods = on",  # a server without ICU has no such collation, but it can say so of one
        "UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'loose'",
    )
    for table, key in (("t", ("name", "region")), ("Of Others.t", ("name",))):
        with pytest.raises(SinkUnwritable, match=r"cannot have several writers: .* name \(collation loose\)") as caught:
            SqlSink(postgres_database_url, table, key).share(0, 2).open()
        assert "with_parallelism" in caught.value.do
        SqlSink(postgres_database_url, table, key).share(0, 1).open().close(complete=True)
    SqlSink(postgres_database_url, "t", ("region",)).share(0, 2).open().close(complete=True)
