"""Keys of every kind that `key_by` takes are kept in checkpoints and in RocksDB, and meet again after a restart."""

from collections.abc import Hashable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import pytest

import sage
from cluster.checkpoints.rows import RowCodec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from sage.base.batch import Batch
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


@pytest.mark.parametrize("num_instances", [1, 3])
def test_every_nan_is_one_key_also_after_a_restart(num_instances: int) -> None:
    flow = sage.Flow("keys")
    script = Scripted(["nan", "1", "nan"], Pause(1), ["nan", "-nan"])
    keyed = flow.from_source(script).key_by(float)
    counts = keyed.count(final=True).with_parallelism(num_instances).collect()
    fulls = keyed.window(sage.CountWindow(4)).count().with_parallelism(num_instances).collect()
    with rehearse(flow, checkpoints=True) as run:
        run.checkpoint()
        run.crash()
        run.finish()
    assert sorted((str(key), num) for key, num in counts.items) == [("1.0", 1), ("nan", 4)]
    assert sorted((str(full.key), full.value) for full in fulls.items) == [("1.0", 1), ("nan", 4)]


def test_every_nan_is_one_key_in_tables_too(tmp_path: Path) -> None:
    flow = sage.Flow("keys")
    keyed = flow.from_collection(["nan", "1", "nan"] * 20).key_by(float)
    fulls = keyed.window(sage.CountWindow(30)).count().collect()
    flow.run(timeout_s=60, progress=False, checkpoint=sage.Checkpoint(tmp_path, state="rocksdb"))
    assert sorted((str(full.key), full.value) for full in fulls.items) == [("1.0", 20), ("nan", 10), ("nan", 30)]


def test_nans_that_were_written_are_the_same_key_when_they_are_read() -> None:
    key, types = float("nan"), RecordTypes()
    buffers = encode_batch(Batch([1, 2], [key, key]), types, where="step")
    keys = [key for _ in range(2) for key in decode_batch(buffers, types).keys or ()]
    assert len({*keys, RowCodec(types, "count").decode(RowCodec(types, "count").encode(key, 1))[0]}) == 1


@every_kind
def test_a_key_of_any_kind_is_a_row_of_a_table(key: Hashable) -> None:
    codec = RowCodec(RecordTypes(), "count")
    found, value = codec.decode(codec.encode(key, 1))
    assert (type(found), found, value) == (type(key), key, 1)
