"""Writes jobs into the journal when something changed that must survive. Decides nothing about jobs."""

from typing import NamedTuple

import msgspec

from cluster.jobs.journal import JobRecord, Journal
from cluster.jobs.run import JobRun
from cluster.runtime.control import RemoteFailure
from sage.base.clock import Clock
from sage.base.errors import JournalUnusable, SageError
from sage.base.ids import JobId
from sage.base.log import get_log
from sage.flow.runner import JobMetrics, JobStatus


class JobRestarts(NamedTuple):
    """How often a job has begun anew, and how often it still may by a loss. A full disk takes none of these."""

    num: int
    num_left: int


class Bookkeeper:
    """Knows the last record of every job that is not over, and what could not be written yet."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._live: dict[JobId, JobRecord] = {}
        self._unwritten: dict[JobId, JobRecord] = {}

    def begin(self, run: JobRun, name: str, code: bytes, num_restarts_left: int, about: bytes = b"") -> None:
        """Write a new job down before anything of it runs; raises JournalUnusable."""
        record = JobRecord(
            id=run.deployment.job_id,
            name=name,
            code=code,
            status=JobStatus.CREATED,
            placement={str(task_id): node_id for task_id, node_id in run.nodes.items()},
            num_restarts=0,
            num_restarts_left=num_restarts_left,
            created_unix_s=self._clock.unix_s(),
            about=about,
        )
        self._journal.keep(record)
        self._live[record.id] = record

    def begin_anew(self, run: JobRun, restarts: JobRestarts) -> None:
        """Write down that a job goes on with this run, before anything of it runs; raises JournalUnusable.

        A run that the journal does not know would be begun a second time, under the same id, by a head that comes back.
        """
        before = self._live[run.deployment.job_id]
        record = msgspec.structs.replace(
            before,
            status=JobStatus.CREATED,
            placement={str(task_id): node_id for task_id, node_id in run.nodes.items()},
            num_restarts=restarts.num,
            num_restarts_left=restarts.num_left,
        )
        self._journal.keep(record)
        self._live[record.id] = record
        self._unwritten.pop(record.id, None)

    def take_up(self, record: JobRecord) -> None:
        """Go on with a job that stands in the journal so."""
        self._live[record.id] = record

    def note(
        self, run: JobRun, metrics: JobMetrics, restarts: JobRestarts, *, num_dead_letters: int, error: SageError | None
    ) -> None:
        """Write the job's status and run down, if they changed. What cannot be written is tried again with the next."""
        before = self._live.get(run.deployment.job_id)
        status = run.machine.status
        placement = {str(task_id): node_id for task_id, node_id in run.nodes.items()}
        if before is None or (before.status, before.num_restarts, before.placement) == (
            status,
            restarts.num,
            placement,
        ):
            return
        record = msgspec.structs.replace(
            before,
            status=status,
            placement=placement,
            num_restarts=restarts.num,
            num_restarts_left=restarts.num_left,
            num_dead_letters=num_dead_letters,
        )
        if run.machine.is_over:
            del self._live[record.id]
            record = self._ended(record, metrics, error)
        else:
            self._live[record.id] = record
        self._unwritten[record.id] = record
        self._write()

    def _ended(self, record: JobRecord, metrics: JobMetrics, error: SageError | None) -> JobRecord:
        return msgspec.structs.replace(
            record,
            code=b"",  # it does not begin again; code may have some megabytes
            ended_unix_s=self._clock.unix_s(),
            error=RemoteFailure.of(error) if error is not None else None,
            metrics=metrics,
        )

    def _write(self) -> None:
        for job_id, record in list(self._unwritten.items()):
            try:
                self._journal.keep(record)
            except JournalUnusable as error:
                get_log(job=job_id).error("job not written down", why=error.what)
                return
            del self._unwritten[job_id]
