"""Databases for tests: SQLite in a file, and a PostgreSQL server that the first test which asks for it starts."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.unit.flow.connectors.postgres import postgres_server

Database = tuple[str, Callable[..., None]]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a server; only for tests marked `postgres`."""
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/x.db"
        return
    server: str = request.getfixturevalue("postgres_url")
    name = f"t{uuid4().hex}"
    engine = sa.create_engine(server, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield server.replace("/postgres?", f"/{name}?")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
