"""Calls in files beside checkpoints: each answer comes again once, and only after the checkpoint it came after."""

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from cluster.checkpoints.call_entries import Entry, EntryKind, bytes_of_entry, entries_in
from cluster.checkpoints.call_journal import FolderCalls
from cluster.runtime.messages import TaskSpec
from sage.base.ids import JobId, TaskId
from sage.flow.graph import Step, Where
from sage.flow.plan import Chain
from sage.flow.spec import Embed

KEYS = [bytes([number]) * 16 for number in range(4)]


def calls(
    folder: Path, begins_at: int = 0, *, instance: int = 0, parallelism: int = 1, max_file_bytes: int = 10_000
) -> FolderCalls:
    step = Step("embed", Embed("minilm"), (), Where("flow.py", 1))
    chain = Chain("embed", (step,), parallelism, step.demand)
    spec = TaskSpec(TaskId(f"job/embed/{instance}"), JobId("job"), chain, instance, (), ())
    made = FolderCalls(str(folder), begins_at, spec, max_file_bytes=max_file_bytes)
    made.load()
    return made


@pytest.mark.parametrize("num_torn", range(1, 30))
def test_entries_are_read_up_to_what_a_kill_has_torn(num_torn: int) -> None:
    entries = [Entry(EntryKind.ASKED, KEYS[0]), Entry(EntryKind.ANSWERED, KEYS[0], b"answer")]
    content = b"".join(map(bytes_of_entry, entries))
    assert list(entries_in(content)) == entries
    assert list(entries_in(content[:-num_torn])) == entries[:1]
    flipped = bytearray(content)
    flipped[-num_torn] ^= 1
    assert list(entries_in(bytes(flipped))) == entries[:1]


def test_answers_come_again_once_each_and_calls_that_were_out_are_counted(tmp_path: Path) -> None:
    first = calls(tmp_path)
    assert first.asks([KEYS[0], KEYS[0], KEYS[1], KEYS[2]]) == 0
    first.ended([(KEYS[0], b"one"), (KEYS[0], b"two"), (KEYS[2], None)])
    first.close()
    second = calls(tmp_path)
    assert [second.take(KEYS[0]) for _ in range(3)] == [b"one", b"two", None]
    assert second.asks([KEYS[1], KEYS[2], KEYS[3]]) == 1
    assert second.asks([KEYS[1]]) == 0
    second.close()


def test_a_checkpoint_leaves_behind_what_it_holds_and_takes_along_what_has_not_come_again(tmp_path: Path) -> None:
    first = calls(tmp_path)
    first.asks(KEYS)
    first.ended([(key, b"answer") for key in KEYS[:3]])
    first.close()
    second = calls(tmp_path)
    assert second.take(KEYS[0]) == b"answer"
    assert second.asks([KEYS[3]]) == 1
    second.cut(7)
    second.close()
    third = calls(tmp_path, begins_at=7)
    assert [third.take(key) for key in KEYS] == [None, b"answer", b"answer", None]
    assert third.asks(KEYS) == 1
    third.close()


def test_calls_beyond_the_bound_are_not_kept_until_the_next_checkpoint(tmp_path: Path) -> None:
    first = calls(tmp_path, max_file_bytes=100)
    first.ended([(KEYS[0], bytes(200))])
    first.ended([(KEYS[1], b"short")])
    first.cut(1)
    first.ended([(KEYS[2], b"short")])
    first.close()
    second = calls(tmp_path, begins_at=1)
    assert [second.take(key) for key in KEYS] == [None, None, b"short", None]
    second.close()


@pytest.mark.parametrize("parallelism", [2, 3])
def test_each_instance_knows_what_all_were_answered_its_own_first(tmp_path: Path, parallelism: int) -> None:
    for instance in range(2):
        made = calls(tmp_path, instance=instance, parallelism=2)
        made.asks([KEYS[0], KEYS[1 + instance], KEYS[3]])
        made.ended([(KEYS[0], b"of %d" % instance), (KEYS[1 + instance], b"alone")])
        made.close()
    again = calls(tmp_path, instance=1, parallelism=parallelism)
    answers = [again.take(KEYS[0]) for _ in range(3)]
    assert answers == ([b"of 1", b"of 0", None] if parallelism == 2 else [b"of 0", b"of 1", None])
    assert [again.take(KEYS[1]), again.take(KEYS[2])] == [b"alone", b"alone"]
    assert again.asks([KEYS[3]]) == 1, "it was out, at whichever instance"
    again.close()


def test_a_file_that_its_task_has_renamed_meanwhile_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = calls(tmp_path, instance=0, parallelism=2)
    first.cut(7)
    first.ended([(KEYS[0], b"answer")])
    first.close()
    names = os.listdir(tmp_path)
    calls(tmp_path, begins_at=5, instance=0, parallelism=2).close()  # it goes on from 5: what came since is of 5 now
    assert os.listdir(tmp_path) != names
    monkeypatch.setattr(os, "listdir", lambda path: names)
    other = calls(tmp_path, begins_at=5, instance=1, parallelism=2)
    assert other.take(KEYS[0]) == b"answer"
    other.close()


def test_calls_that_are_left_out_are_told(tmp_path: Path) -> None:
    kept = calls(tmp_path)
    kept.ended([(KEYS[1], b"one"), (KEYS[2], b"two")])
    kept.close()
    (path,) = tmp_path.glob("*.calls")
    path.write_bytes(path.read_bytes()[:-1])
    with capture_logs() as logs:
        again = calls(tmp_path)
    assert [(line["event"], line["bytes"]) for line in logs] == [("the last calls of a journal are left out", 27)]
    assert (again.take(KEYS[1]), again.take(KEYS[2])) == (b"one", None)
