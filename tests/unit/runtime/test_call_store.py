"""Answers in a cache: there for every run and process, no more than fit, and never what failed."""

import fcntl
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cluster.runtime.call_store import FILE, LEN_ENTRY, CallStore
from sage.base.errors import CacheUnusable
from sage.base.log import get_log
from tests.conftest import ROOT


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def test_what_was_answered_is_there_for_others_as_often_as_it_is_asked(tmp_path: Path) -> None:
    mine, other = (
        CallStore(str(tmp_path / "new" / "folder"), 10_000),
        CallStore(str(tmp_path / "new" / "folder"), 10_000),
    )
    mine.ended([(key(1), b"one"), (key(2), None)])
    mine.ended([(key(1), b"again"), (key(3), b"")])
    assert [other.take(key(number)) for number in (1, 1, 2, 3, 4)] == [b"one", b"one", None, b"", None]
    assert other.asks([key(1)]) == 0
    for store in (mine, other):
        store.close()


def test_the_oldest_make_room(tmp_path: Path) -> None:
    store = CallStore(str(tmp_path), 10 * (LEN_ENTRY + 36))
    for number in range(25):
        store.ended([(key(number), bytes(36))])
    found = [number for number in range(25) if store.take(key(number)) is not None]
    assert found == list(range(25 - len(found), 25))
    assert len(found) in (9, 10)
    store.ended([(key(99), bytes(10_000))])
    assert [number for number in (*range(25), 99) if store.take(key(number)) is not None] == []
    store.ended([(key(0), b"small")])
    assert store.take(key(0)) == b"small"
    store.close()


def test_what_is_dropped_makes_room_unless_another_has_kept_anew(tmp_path: Path) -> None:
    store = CallStore(str(tmp_path), 10_000)
    store.ended([(key(1), b"old")])
    store.drop(key(1), b"old")
    assert store.take(key(1)) is None
    store.ended([(key(1), b"new")])
    store.drop(key(1), b"old")
    assert store.take(key(1)) == b"new"
    store.close()


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheUnusable, match="cannot be opened"):
        CallStore(str(tmp_path / "file"), 100).take(key(1))
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(CacheUnusable, match="cannot be opened"):
        CallStore(str(tmp_path), 100).take(key(1))


def test_what_breaks_later_costs_no_job(tmp_path: Path) -> None:
    store = CallStore(str(tmp_path), 10_000)
    store.ended([(key(1), b"one")])
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute("DROP TABLE answers")
    db.close()
    get_log()  # sets logging up, if nobody has
    with capture_logs() as logs:
        for _ in range(2):
            assert store.take(key(1)) is None
            store.ended([(key(2), b"two")])
            store.drop(key(2), b"two")
    store.close()
    assert logs == [
        {
            "event": "the cache of calls is passed over",
            "log_level": "warning",
            "file": str(tmp_path / FILE),
            "why": "no such table: answers",
        }
    ], "once, however often"


def test_one_that_another_process_opens_for_ever_is_refused_in_time(tmp_path: Path) -> None:
    store = CallStore(str(tmp_path), 10_000, open_s=0.05)
    with (tmp_path / "calls.lock").open("w") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(CacheUnusable, match=r"another process has been opening it for 0\.05 s"):
            store.take(key(1))
    store.ended([(key(1), b"one")])
    assert store.take(key(1)) == b"one", "it has let go"
    store.close()


WRITER = """
import sys
from cluster.runtime.call_store import CallStore
store = CallStore(sys.argv[1], 1 << 20)
for number in range(200):
    key = number.to_bytes(16, "little")
    if store.take(key) is None:
        store.ended([(key, b"%d" % number)])
store.close()
"""


@pytest.mark.cluster
def test_several_processes_fill_one_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    running = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in running:
        _, errors = process.communicate(timeout=60.0)
        assert (process.returncode, errors) == (0, "")
    store = CallStore(str(tmp_path), 1 << 20)
    assert [store.take(key(number)) for number in range(200)] == [b"%d" % number for number in range(200)]
    with sqlite3.connect(tmp_path / FILE) as db:
        sizes = db.execute("SELECT sum(length(answer) + 64), (SELECT num_bytes FROM held) FROM answers").fetchone()
    db.close()
    assert sizes[0] == sizes[1]
    store.close()
