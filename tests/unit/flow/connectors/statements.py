"""What a test of databases does to them by itself."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa


def execute(url: str, *statements: str) -> Sequence[Any]:
    """Run statements; return the rows of the last."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        done = [connection.execute(sa.text(statement)) for statement in statements]
        return done[-1].fetchall() if done[-1].returns_rows else []
