"""When a database takes two texts for the same key: what several writers of one table go by. Knows no sink.

Folded texts are equal wherever SQLite (NOCASE, RTRIM), PostgreSQL (citext, padded CHAR) or a `_bin` collation of MySQL
hold the texts for equal. What other collations hold for equal no rule of ours can say: those are found and named.
"""

import unicodedata
from collections.abc import Collection, Iterable
from typing import Any

from sage.flow.connectors.extras import library


def folded(text: str) -> str:
    """Return a text without case, accents and spaces at its end.

    >>> folded("Ada ") == folded("ADA"), folded("é") == folded("E"), folded("a") == folded("b")
    (True, True, False)
    """
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        text = "".join(part for part in parts if not unicodedata.combining(part)).replace("\u0131", "i")  # Turkish
    return text.casefold().rstrip(" ")


def folded_key(values: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of a key, its texts folded."""
    return tuple(folded(value) if isinstance(value, str) else value for value in values)


def loose_collations(connection: Any, table: Any, key: Collection[str]) -> dict[str, str]:
    """Return the columns of a key, each with its collation, that may hold texts for equal which folded are not."""
    match connection.dialect.name:
        case "postgresql":
            name = connection.dialect.identifier_preparer.format_table(table)
            found = _rows(connection, _POSTGRESQL, table=name)
        case "mysql" | "mariadb":
            found = _rows(connection, _MYSQL, schema=table.schema, table=table.name)
        case _:
            found = []
    return {str(column): str(collation) for column, collation in found if column in key}


def _rows(connection: Any, statement: str, **values: object) -> list[Any]:
    rows: list[Any] = connection.execute(library("sqlalchemy", "sql").text(statement), values).fetchall()
    return rows


_POSTGRESQL = """
    SELECT a.attname, c.collname
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indcollation::oid[]) AS k (number, compared_by)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
    JOIN pg_collation c ON c.oid = k.compared_by
    WHERE i.indisunique AND i.indrelid = to_regclass(:table) AND NOT c.collisdeterministic
"""

_MYSQL = """
    SELECT column_name, collation_name FROM information_schema.columns
    WHERE table_schema = coalesce(:schema, database()) AND table_name = :table
    AND collation_name <> 'binary' AND collation_name NOT LIKE '%\\_bin'
"""
