"""What becomes of the jobs that ran when their manager died. Pure; starts nothing."""

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from cluster.jobs.journal import JobRecord
from cluster.runtime.control import RemoteFailure
from sage.base.errors import JobInterrupted
from sage.flow.runner import JobStatus


@dataclass(frozen=True, slots=True)
class BeginAgain:
    """Place the job and run it from its code; `record` has one more restart than the journal."""

    record: JobRecord


@dataclass(frozen=True, slots=True)
class LetFail:
    """Keep the record, which says that the job has failed and why."""

    record: JobRecord


RecoveryOrder = BeginAgain | LetFail


def recover(records: Iterable[JobRecord], now_unix_s: float) -> list[RecoveryOrder]:
    """Return what to do about each job that is not over, in the order of the records.

    A job begins again where its code can be had again and it may begin again at all: its sinks may see a record twice.
    """
    return [_order(record, now_unix_s) for record in records if not record.is_over]


def _order(record: JobRecord, now_unix_s: float) -> RecoveryOrder:
    if record.code and record.num_restarts_left > 0:
        return BeginAgain(
            msgspec.structs.replace(
                record,
                status=JobStatus.CREATED,
                placement={},
                num_restarts=record.num_restarts + 1,
                num_restarts_left=record.num_restarts_left - 1,
            )
        )
    why = "no restart is left" if record.code else "its code was only in the process that submitted it"
    return LetFail(interrupted(record, why, now_unix_s))


def interrupted(record: JobRecord, why: str, now_unix_s: float) -> JobRecord:
    """Return `record` as that of a job that has failed because it cannot begin again."""
    what = f"job {record.id} ({record.name}) was {record.status.value} when its manager ended: {why}"
    error = RemoteFailure.of(JobInterrupted(what, "Submit it again."))
    return msgspec.structs.replace(record, status=JobStatus.FAILED, code=b"", ended_unix_s=now_unix_s, error=error)
