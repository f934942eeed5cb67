"""Keys of every kind that `key_by` takes are kept in checkpoints and in RocksDB, and meet again after a restart."""

from collections.abc import Hashable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

import sage
from cluster.checkpoints.rows import RowCodec
from cluster.runtime.record_types import RecordTypes
from sage.testing import Pause, Scripted, rehearse

KEYS: list[Hashable] = [
    UUID(int=7),
    Decimal("1.50"),
    datetime(2026, 1, 1, tzinfo=UTC),
    date(2026, 1, 1),
    time(12, 30),
    timedelta(days=1, microseconds=1),
    b"bytes",
    frozenset({1, "a"}),
    (UUID(int=8), Decimal("2")),
    None,
]
every_kind = pytest.mark.parametrize("key", KEYS, ids=lambda key: type(key).__name__)


@every_kind
def test_a_key_of_any_kind_meets_itself_after_a_restart(key: Hashable) -> None:
    flow = sage.Flow("keys")
    script = Scripted([0, 1], Pause(1), [2])
    counts = flow.from_source(script).key_by(lambda number: key).count(final=True).with_parallelism(2).collect()
    with rehearse(flow, checkpoints=True) as run:
        run.checkpoint()
        run.crash()
        run.finish()
    assert counts.items == [(key, 3)]


@every_kind
def test_a_key_of_any_kind_is_a_row_of_a_table(key: Hashable) -> None:
    codec = RowCodec(RecordTypes(), "count")
    found, value = codec.decode(codec.encode(key, 1))
    assert (type(found), found, value) == (type(key), key, 1)
