"""What every journal of jobs must do. One suite; a journal joins by a fixture parameter."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.jobs.journal import Forgotten, JobRecord, Journal, MemoryJournal
from cluster.jobs.sqlite_journal import SqliteJournal
from cluster.runtime.control import RemoteFailure
from sage.base.errors import RecordFailed
from sage.base.ids import JobId, NodeId
from sage.flow.runner import JobMetrics, JobStatus

MAX_ENDED = 3

Open = Callable[[], Journal]


@pytest.fixture(params=["memory", "sqlite"])
def open_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens an empty journal at each call."""
    num_opened = 0

    def opened() -> Journal:
        nonlocal num_opened
        num_opened += 1
        if request.param == "memory":
            return MemoryJournal(max_ended=MAX_ENDED)
        return SqliteJournal(tmp_path / f"jobs-{num_opened}.db", max_ended=MAX_ENDED)

    return opened


def record(name: str, status: JobStatus = JobStatus.RUNNING, *, num_dead_letters: int = 0) -> JobRecord:
    is_over = status in (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED)
    return JobRecord(
        id=JobId(f"job-{name}"),
        name=f"größe 🦊 {name}",
        code=b"\x00\xff" + name.encode(),
        status=status,
        placement={f"job-{name}/map/0": NodeId("a"), f"job-{name}/map/1": NodeId("b")},
        num_restarts=1,
        num_restarts_left=2,
        created_unix_s=1_700_000_000.25,
        ended_unix_s=1_700_000_001.5 if is_over else None,
        error=RemoteFailure.of(RecordFailed("it's broken", "mend it")) if status is JobStatus.FAILED else None,
        num_dead_letters=num_dead_letters,
        about=b"\xfe\x00",
        metrics=JobMetrics(status, 5, 3, 0.5, ()) if is_over else None,
    )


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_comes_back_as_it_was_kept(open_journal: Open, status: JobStatus) -> None:
    journal = open_journal()
    journal.keep(record("x", status, num_dead_letters=7))
    assert journal.jobs() == (record("x", status, num_dead_letters=7),)
    journal.close()


def test_the_newest_record_of_a_job_counts_and_jobs_stay_in_order(open_journal: Open) -> None:
    journal = open_journal()
    for name in "cab":
        journal.keep(record(name, JobStatus.CREATED))
    journal.keep(record("a", JobStatus.DRAINING))
    assert [(job.id, job.status) for job in journal.jobs()] == [
        ("job-c", JobStatus.CREATED), ("job-a", JobStatus.DRAINING), ("job-b", JobStatus.CREATED),
    ]  # fmt: skip
    journal.close()


def test_jobs_that_ended_first_are_forgotten_first_and_their_numbers_stay(open_journal: Open) -> None:
    journal = open_journal()
    for number, name in enumerate("edcba"):
        journal.keep(record(name))
        journal.keep(record(f"live-{name}"))
        journal.keep(record(name, JobStatus.FAILED, num_dead_letters=10**number))
    assert [job.id for job in journal.jobs() if job.is_over] == ["job-c", "job-b", "job-a"]
    assert sum(not job.is_over for job in journal.jobs()) == 5
    assert journal.forgotten() == Forgotten(2, 11)
    journal.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from(JobStatus), st.integers(0, 3)), max_size=20))
def test_whatever_is_kept_every_job_that_is_not_over_is_there_and_no_number_is_lost(
    open_journal: Open, kept: list[tuple[str, JobStatus, int]]
) -> None:
    """A job that was forgotten and comes again is another job to the journal."""
    journal, newest, forgotten = open_journal(), dict[JobId, JobRecord](), Forgotten()
    for name, status, num_dead_letters in kept:
        coming = record(name, status, num_dead_letters=num_dead_letters)
        journal.keep(coming)
        newest[coming.id] = coming
        here = {job.id: job for job in journal.jobs()}
        gone = [newest.pop(job_id) for job_id in list(newest) if job_id not in here]
        assert all(job.is_over for job in gone)
        assert here == newest
        assert sum(job.is_over for job in here.values()) <= MAX_ENDED
        forgotten = msgspec.structs.replace(
            forgotten,
            num_jobs=forgotten.num_jobs + len(gone),
            num_dead_letters=forgotten.num_dead_letters + sum(job.num_dead_letters for job in gone),
        )
        assert journal.forgotten() == forgotten
    journal.close()
