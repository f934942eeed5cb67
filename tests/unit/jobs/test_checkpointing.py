"""When checkpoints are taken, complete, given up: one at a time, each task heard."""

from random import Random

from cluster.jobs.checkpointing import (
    MAX_FAILED,
    Checkpointing,
    CheckpointOrder,
    CommitNow,
    DropNow,
    FailRun,
    GoOnReading,
    PauseReading,
    TakeNow,
    WakeIn,
    WriteManifest,
)
from cluster.jobs.disk_pause import CALM_S, DiskPause
from cluster.runtime.saving import SavedPiece, SavedPieces
from sage.base.errors import CheckpointUnusable, DiskFull
from sage.base.ids import TaskId

A, B = TaskId("a"), TaskId("b")


def pieces(name: str) -> SavedPieces:
    return (SavedPiece(name, 0, 1, 2),)


def machine() -> Checkpointing:
    found = Checkpointing([A, B], every_s=1.0, timeout_s=5.0, first_id=4, pause=DiskPause(60.0))
    assert found.begin(100.0) == [WakeIn(1.0)]
    return found


def test_a_checkpoint_is_complete_once_every_task_has_saved_and_the_manifest_is_written() -> None:
    found = machine()
    assert found.due(101.0) == [TakeNow(4), WakeIn(5.0)]
    assert found.saved(A, 4, pieces("a"), None, 101.2) == []
    assert found.saved(B, 4, pieces("b"), None, 101.4) == [WriteManifest(4, {A: pieces("a"), B: pieces("b")})]
    assert found.num_complete == 0
    assert found.written(None, 101.5) == [WakeIn(0.5)]
    assert (found.num_complete, found.next_id) == (1, 5)


def test_a_task_that_has_ended_counts_by_its_final_state() -> None:
    found = machine()
    assert found.saved(A, None, pieces("end of a"), None, 100.5) == []
    assert found.due(101.0) == [TakeNow(4), WakeIn(5.0)]
    manifest = found.saved(B, None, pieces("end of b"), None, 101.4)
    assert manifest == [WriteManifest(4, {A: pieces("end of a"), B: pieces("end of b")})]
    found.written(None, 101.5)
    assert found.is_all_final
    assert found.due(103.0) == []


def test_one_that_takes_too_long_is_dropped_and_the_next_waits_until_all_have_answered() -> None:
    found = machine()
    found.due(101.0)
    found.saved(A, 4, pieces("a"), None, 101.2)
    assert found.due(106.0) == [DropNow(4)]
    assert found.due(107.0) == []
    assert found.saved(B, 4, None, None, 109.0) == [WakeIn(0.0)]
    assert found.due(109.0) == [TakeNow(5), WakeIn(5.0)]
    assert found.newest is None


def failed_once(found: Checkpointing, now_s: float) -> list[CheckpointOrder]:
    found.due(now_s)
    checkpoint_id = found.next_id - 1
    found.saved(A, checkpoint_id, pieces("a"), None, now_s)
    return found.saved(B, checkpoint_id, None, CheckpointUnusable("no such folder"), now_s)


def test_failures_in_a_row_fail_the_job_by_their_cause_and_one_that_succeeds_begins_the_row_anew() -> None:
    found = machine()
    for number in range(MAX_FAILED - 1):
        assert failed_once(found, 101.0 + number) == [WakeIn(1.0)]
    found.due(110.0)
    for task_id in (A, B):
        found.saved(task_id, found.next_id - 1, pieces(task_id), None, 110.0)
    found.written(None, 110.0)
    for number in range(MAX_FAILED - 1):
        assert failed_once(found, 120.0 + number) == [WakeIn(1.0)]
    (order,) = failed_once(found, 130.0)
    assert isinstance(order, FailRun)
    assert "3 checkpoints failed one after the other, the last so: no such folder" in order.error.what


def test_a_final_state_that_cannot_be_saved_fails_the_job() -> None:
    (order,) = machine().saved(A, None, None, CheckpointUnusable("no such folder"), 100.5)
    assert isinstance(order, FailRun)


def test_a_savepoint_begins_at_once_or_right_after_the_one_on_its_way() -> None:
    found = machine()
    assert found.ask(100.1) == [TakeNow(4), WakeIn(5.0)]
    assert found.ask(100.2) == []
    for task_id in (A, B):
        found.saved(task_id, 4, pieces(task_id), None, 100.3)
    assert found.written(None, 100.4) == [TakeNow(5), WakeIn(5.0)]


def test_whatever_happens_each_checkpoint_has_one_state_of_every_task_and_none_begins_beside_another() -> None:
    for seed in range(300):
        rng = Random(seed)
        tasks = [TaskId(f"t{number}") for number in range(rng.randint(1, 4))]
        found = Checkpointing(tasks, every_s=1.0, timeout_s=3.0, first_id=1, pause=DiskPause(60.0))
        asked: dict[TaskId, int] = {}
        ended: set[TaskId] = set()
        is_writing, now_s = False, 0.0
        orders = found.begin(now_s)
        for _ in range(200):
            for order in orders:
                match order:
                    case TakeNow(checkpoint_id):
                        assert not asked
                        assert not is_writing
                        asked = dict.fromkeys(set(tasks) - ended, checkpoint_id)
                    case WriteManifest(checkpoint_id, saved):
                        assert not asked
                        assert set(saved) == set(tasks)
                        is_writing = True
                    case _:
                        pass
            now_s += rng.random()
            orders = []
            if is_writing and rng.random() < 0.5:
                is_writing = False
                orders = found.written(CheckpointUnusable("no") if rng.random() < 0.2 else None, now_s)
            elif asked and rng.random() < 0.6:
                task_id = rng.choice([*asked])
                checkpoint_id = asked.pop(task_id)
                orders = found.saved(task_id, checkpoint_id, pieces("x"), None, now_s)
            elif rng.random() < 0.1 and len(ended) < len(tasks):
                task_id = rng.choice([*set(tasks) - ended])
                ended.add(task_id)
                asked.pop(task_id, None)
                orders = found.saved(task_id, None, pieces("end"), None, now_s)
            else:
                orders = found.due(now_s)
            if any(isinstance(order, FailRun) for order in orders):
                break


def test_what_waits_to_be_committed_is_told_once_the_manifest_is_written() -> None:
    found = machine()
    found.due(101.0)
    found.saved(A, 4, pieces("a"), None, 101.0, commits=True)
    found.saved(B, 4, pieces("b"), None, 101.0)
    assert found.written(None, 101.0) == [CommitNow(4), WakeIn(1.0)]
    found.due(102.0)
    for task_id in (A, B):
        found.saved(task_id, 5, pieces(task_id), None, 102.0)
    assert found.written(None, 102.0) == [WakeIn(1.0)]


def test_a_last_checkpoint_is_taken_at_once_where_an_end_waits_to_be_committed() -> None:
    found = machine()
    found.due(101.0)
    found.saved(A, 4, pieces("a"), None, 101.0)
    assert found.saved(A, None, pieces("end of a"), None, 101.1, commits=True) == []
    assert found.saved(B, None, pieces("end of b"), None, 101.2) == [
        WriteManifest(4, {A: pieces("a"), B: pieces("end of b")})
    ]
    last = WriteManifest(5, {A: pieces("end of a"), B: pieces("end of b")}, commits=True)
    assert found.written(None, 101.25) == [last]
    assert found.written(CheckpointUnusable("no such folder"), 101.5) == [WakeIn(0.75)]
    assert found.due(102.25) == [WriteManifest(6, last.tasks, commits=True)]
    assert found.written(None, 102.5) == [CommitNow(6), WakeIn(0.75)]
    assert found.due(103.25) == []


def test_a_task_that_stands_still_for_an_hour_costs_one_checkpoint_and_after_three_the_job_fails_by_its_name() -> None:
    found, now_s, orders = machine(), 101.0, list[CheckpointOrder]()
    for number in range(4, 4 + MAX_FAILED):
        assert found.due(now_s) == [TakeNow(number), WakeIn(5.0)]
        found.saved(A, number, pieces("a"), None, now_s)
        assert found.due(now_s + 5.0) == [DropNow(number)]
        now_s += 3600.0
        assert found.due(now_s) == [], "none is begun while a task stands still"
        orders = found.saved(B, number, None, None, now_s)
    [failed] = orders
    assert isinstance(failed, FailRun)
    assert f"checkpoint {3 + MAX_FAILED} took longer than 5 s; waiting for b" in failed.error.what


FULL = DiskFull("disk full at /kept")


def full_once(found: Checkpointing, now_s: float) -> list[CheckpointOrder]:
    """Let a checkpoint fail since there is no room for what B holds."""
    found.due(now_s)
    checkpoint_id = found.next_id - 1
    found.saved(A, checkpoint_id, pieces("a"), None, now_s)
    return found.saved(B, checkpoint_id, None, FULL, now_s)


def test_a_full_disk_pauses_what_reads_until_a_checkpoint_is_complete() -> None:
    pause = DiskPause(60.0)
    found = Checkpointing([A, B], every_s=1.0, timeout_s=5.0, first_id=4, pause=pause)
    found.begin(100.0)
    assert full_once(found, 101.0) == [PauseReading(), WakeIn(0.5)]
    waits: object = pause.why
    assert waits == FULL
    assert [full_once(found, 102.0 + number) for number in range(5)] == [
        [WakeIn(retry_s)] for retry_s in (1.0, 2.0, 4.0, 8.0, 10.0)
    ]
    found.due(120.0)
    for task_id in (A, B):
        found.saved(task_id, found.next_id - 1, pieces(task_id), None, 120.0)
    assert found.written(FULL, 120.0) == [WakeIn(10.0)]  # nor was there room for the manifest
    found.due(130.0)
    for task_id in (A, B):
        found.saved(task_id, found.next_id - 1, pieces(task_id), None, 130.0)
    assert found.written(None, 130.0) == [GoOnReading(), WakeIn(1.0)]
    waits = pause.why
    assert waits is None
    assert full_once(found, 160.0) == [PauseReading(), WakeIn(0.5)]


def test_a_wait_that_runs_break_off_to_try_again_has_its_end_all_the_same() -> None:
    pause = DiskPause(2.0)
    assert pause.refused(FULL, 100.0) == 0.5
    pause.went_on(100.5)
    waits: object = pause.why
    assert waits is None
    assert pause.refused(FULL, 101.0) == 1.0
    pause.went_on(101.9)
    assert pause.refused(FULL, 102.0) is None
    assert pause.is_spent


def test_a_run_that_has_read_for_long_waits_anew() -> None:
    pause = DiskPause(2.0)
    pause.refused(FULL, 100.0)
    pause.went_on(100.5)
    assert pause.refused(FULL, 100.5 + CALM_S) is None
    pause.went_on(140.0)
    assert pause.refused(FULL, 140.1 + CALM_S) == 0.5


def test_a_wait_after_a_checkpoint_was_complete_counts_from_its_own_start() -> None:
    found = Checkpointing([A, B], every_s=1.0, timeout_s=5.0, first_id=4, pause=DiskPause(2.0))
    found.begin(100.0)
    assert full_once(found, 101.0) == [PauseReading(), WakeIn(0.5)]
    found.due(102.5)
    for task_id in (A, B):
        found.saved(task_id, found.next_id - 1, pieces(task_id), None, 102.5)
    assert found.written(None, 102.5) == [GoOnReading(), WakeIn(1.0)]
    assert full_once(found, 103.5) == [PauseReading(), WakeIn(0.5)]


def test_a_disk_that_stays_full_is_left_to_the_job_once_it_took_too_long() -> None:
    found = Checkpointing([A, B], every_s=1.0, timeout_s=5.0, first_id=4, pause=DiskPause(2.0))
    found.begin(100.0)
    full_once(found, 101.0)
    assert full_once(found, 101.5) == [WakeIn(1.0)]
    assert full_once(found, 102.5) == [WakeIn(0.5)]  # the last try
    assert full_once(found, 103.0) == [FailRun(FULL)]


def test_no_room_is_no_failure_of_those_that_fail_the_job_in_a_row() -> None:
    found = machine()
    for number in range(2 * MAX_FAILED):
        assert failed_once(found, 101.0 + 10 * number) == [WakeIn(1.0)]
        full_once(found, 102.0 + 10 * number)
