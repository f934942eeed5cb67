"""What connectors are tested against: SQLite in a file, a PostgreSQL server, a simulated broker of Kafka.

The server is started by the first test which asks for it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import confluent_kafka as ck
import pytest
import sqlalchemy as sa

from tests.unit.flow.connectors.postgres import postgres_server

Database = tuple[str, Callable[..., None]]


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """The address of a simulated broker, which lives within a client."""
    client = ck.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
    (broker,) = client.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    client.flush(0)


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
    yield request.getfixturevalue("postgres_database_url")


@pytest.fixture
def postgres_database_url(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database of the server."""
    name = f"t{uuid4().hex}"
    engine = sa.create_engine(postgres_url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    yield postgres_url.replace("/postgres?", f"/{name}?")
    with engine.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
