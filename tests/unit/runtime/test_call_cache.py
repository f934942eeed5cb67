"""What a cache keeps of the calls of a coroutine function: results of any length, and none that failed."""

import sqlite3
from pathlib import Path

import pytest

from cluster.runtime.call_cache import CachedCalls
from cluster.runtime.call_store import FILE, CallStore
from cluster.runtime.packed import MAX_RECORD_BYTES
from cluster.runtime.record_types import RecordTypes
from operators.machine import Call, CallResult, Counts
from sage.base.errors import RecordUnsendable
from sage.flow.spec import MapAsync
from tests.unit.operators.arrange import step


async def fetch(url: str) -> bytes:
    return url.encode()


def cached(folder: Path) -> CachedCalls:
    return CachedCalls(step(MapAsync(fetch)), "fetch", CallStore(str(folder), 1 << 30), RecordTypes())


def call(call_id: int, url: str) -> Call:
    return Call(call_id, fetch, url, None)


def test_a_result_that_is_longer_than_a_record_that_travels_is_kept(tmp_path: Path) -> None:
    calls, counts = cached(tmp_path), Counts()
    assert calls.call([call(1, "long")], counts) == ([call(1, "long")], [])
    calls.returned([CallResult(1, bytes(MAX_RECORD_BYTES + 1), None)])
    assert calls.call([call(2, "long")], counts) == ([], [CallResult(2, bytes(MAX_RECORD_BYTES + 1), None)])
    assert counts.num_cached == 1
    calls.close()


def test_a_failed_call_is_kept_no_more_than_a_result_that_cannot_be(tmp_path: Path) -> None:
    calls = cached(tmp_path)
    calls.call([call(1, "failed"), call(2, "no record")], Counts())
    calls.returned([CallResult(1, None, ValueError("no"))])
    with pytest.raises(RecordUnsendable, match="which cache= is to keep"):
        calls.returned([CallResult(2, object(), None)])
    assert [each.call_id for each in calls.call([call(3, "failed"), call(4, "no record")], Counts())[0]] == [3, 4]
    calls.close()


@pytest.mark.parametrize("kept", [b"", b"what another version wrote", b"\x90", b"\x91\xc4\x00"])
def test_a_result_that_cannot_be_read_makes_room_for_the_next(tmp_path: Path, kept: bytes) -> None:
    calls, counts = cached(tmp_path), Counts()
    calls.call([call(1, "page")], counts)
    calls.returned([CallResult(1, b"page", None)])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("UPDATE answers SET answer = ?", (kept,))
    db.close()
    assert calls.call([call(2, "page")], counts) == ([call(2, "page")], [])
    calls.returned([CallResult(2, b"page", None)])
    assert calls.call([call(3, "page")], counts) == ([], [CallResult(3, b"page", None)])
    assert (counts.num_cached, counts.num_unreadable) == (1, 1)
    calls.close()
