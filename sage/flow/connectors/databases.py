"""Databases that SQLAlchemy reaches: opened, and what they raise said to users. Knows neither reading nor writing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sage.base.errors import SageError
from sage.flow.connectors.extras import library


def engine_for(url: str, error_class: type[SageError]) -> Any:
    """Return an SQLAlchemy engine of one connection, to be used by one thread; raises ExtraMissing, `error_class`."""
    alchemy, pool = library("sqlalchemy", "sql"), library("sqlalchemy.pool", "sql")
    try:
        return alchemy.create_engine(url, poolclass=pool.QueuePool, pool_size=1, max_overflow=0, pool_pre_ping=True)
    except (alchemy.exc.ArgumentError, ImportError) as error:
        what = f"the database {shown(url)} cannot be reached: {error}"
        raise error_class(what, "Check the URL, and install its driver: psycopg for postgresql+psycopg://.") from error


@contextmanager
def said_of(what: str, error_class: type[SageError], do: str) -> Iterator[None]:
    """Have what a database raises become `error_class`."""
    alchemy = library("sqlalchemy", "sql")
    try:
        yield
    except alchemy.exc.SQLAlchemyError as error:
        why = str(getattr(error, "orig", None) or error).strip()
        raise error_class(f"{what}: {why:.400}", do) from error


def shown(url: str) -> str:
    """Return a database's URL without its password."""
    alchemy = library("sqlalchemy", "sql")
    try:
        text: str = alchemy.engine.make_url(url).render_as_string(hide_password=True)
    except alchemy.exc.ArgumentError:
        return "of this URL"
    return text
