"""What a head makes of the jobs that heads before it left in the journal."""

import msgspec
import pytest

import sage
from cluster.head.book import JobBook
from cluster.head.history import about_order, code_bytes, sha256_of, take_up
from cluster.jobs.journal import JobRecord, MemoryJournal
from cluster.jobs.outline import outline_from_plan
from cluster.runtime.control import RemoteFailure
from cluster.runtime.control_clients import SubmitFlow
from cluster.runtime.travelling_code import FileCode, ShippedCode
from sage.base.errors import RecordFailed
from sage.base.ids import JobId
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobMetrics, JobStatus

FLOW = sage.Flow("flow")
FLOW.from_collection([1]).collect()
OUTLINE = outline_from_plan(plan_from_graph(FLOW.graph()))
CODE = ShippedCode(b"an envelope that has expired")
ORDER = SubmitFlow(1, JobId("job"), CODE, OUTLINE, collects=True)
RUNNING = JobRecord(
    JobId("job"), "flow", code_bytes(CODE), JobStatus.RUNNING, {}, 0, 3, 50.0, about=about_order(ORDER, 40.0)
)
FINISHED = msgspec.structs.replace(
    RUNNING,
    code=b"",
    status=JobStatus.FINISHED,
    ended_unix_s=60.0,
    metrics=JobMetrics(JobStatus.FINISHED, 5, 4, 1.5, ()),
)


def journal_of(*records: JobRecord) -> MemoryJournal:
    journal = MemoryJournal()
    for record in records:
        journal.keep(record)
    return journal


def test_a_job_that_was_not_over_begins_again_with_the_code_and_the_time_it_was_submitted_with() -> None:
    journal = journal_of(RUNNING)
    (past,) = take_up(journal, 100.0)
    assert (past.code, past.about.submitted_unix_s, past.about.collects, past.run_id) == (CODE, 40.0, True, "job~2")
    assert journal.jobs() == (past.record,)
    assert (past.record.num_restarts, past.record.num_restarts_left) == (1, 2)


def test_every_head_that_dies_costs_a_restart() -> None:
    journal = journal_of(RUNNING)
    statuses = [take_up(journal, 100.0)[0].record.status for _ in range(4)]
    assert statuses == ["created", "created", "created", "failed"]


def test_a_job_that_was_over_is_known_as_it_ended() -> None:
    error = RecordFailed("record 3 failed", "Mend it.")
    error.user_traceback = "in flow.py, line 7"
    failed = msgspec.structs.replace(
        FINISHED, id=JobId("bad"), status=JobStatus.FAILED, error=RemoteFailure.of(error), metrics=None
    )
    book = JobBook()
    for past in take_up(journal_of(FINISHED, failed), 100.0):
        book.add_past(past)
    good, bad = (entry.state() for entry in book)
    assert (good.metrics.records_in, good.is_over, good.submitted_unix_s) == (5, True, 40.0)
    assert (bad.metrics.status, bad.metrics.duration_s, bad.is_over) == (JobStatus.FAILED, 10.0, True)
    assert bad.error is not None
    assert bad.error.user_traceback == "in flow.py, line 7"
    assert book.live() == []


def test_the_code_of_a_job_that_is_over_is_not_kept_and_its_hash_is() -> None:
    (past,) = take_up(journal_of(FINISHED), 100.0)
    assert (past.code, past.about.code_sha256) == (None, sha256_of(CODE))
    assert sha256_of(CODE) != sha256_of(FileCode("flow.py:flow", "0" * 64))


@pytest.mark.parametrize("changes", [{"about": b"\xc1"}, {"code": b"\xc1"}])
def test_what_another_version_wrote_fails_by_name_and_is_still_listed(changes: dict[str, bytes]) -> None:
    journal = journal_of(msgspec.structs.replace(RUNNING, **changes))
    (past,) = take_up(journal, 100.0)
    assert (past.record.status, past.code, past.about.outline.name) == (JobStatus.FAILED, None, "flow")
    assert past.record.error is not None
    assert "this version cannot read its code" in past.record.error.failure.what
    assert journal.jobs() == (past.record,)


def test_code_that_is_not_what_was_submitted_is_never_begun() -> None:
    other = code_bytes(FileCode("flow.py:other", "0" * 64))
    journal = journal_of(msgspec.structs.replace(RUNNING, code=other))
    (past,) = take_up(journal, 100.0)
    assert (past.record.status, past.code, past.record.code) == (JobStatus.FAILED, None, b"")
    assert past.record.error is not None
    assert "its code is not what was submitted" in past.record.error.failure.what
    assert journal.jobs() == (past.record,)
