"""What a job manager must still know when it is started again: its jobs, as a port. Knows no file.

A job is kept before anything of it runs, and at every change of its status. Jobs that are over are forgotten, those
that ended first before others, when there are too many of them; how many they were stays.
"""

from typing import Protocol

import msgspec

from cluster.runtime.control import RemoteFailure
from sage.base.ids import JobId, NodeId
from sage.flow.runner import JobMetrics, JobStatus

MAX_ENDED_JOBS = 1_000
"""Jobs that are over and still in the journal; the newest stay."""

NUM_EPOCHS = 1_000_000_000
"""Memberships that one head may give out; the next head begins after them, whatever its clock says."""

ENDS = frozenset({JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED})


class JobRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A job as it was when it was last kept.

    `code`: where its flow comes from, as whoever submitted it wrote that down; empty where it cannot be had again, and
    once the job is over. `about`: what else its submitter wants to know again; not looked into here.
    `placement`: the node of each part of its newest run. `error`: why it failed or was cancelled. `metrics`: what it
    had done when it was over.
    """

    id: JobId
    name: str
    code: bytes
    status: JobStatus
    placement: dict[str, NodeId]
    num_restarts: int
    num_restarts_left: int
    created_unix_s: float
    ended_unix_s: float | None = None
    error: RemoteFailure | None = None
    num_dead_letters: int = 0
    about: bytes = b""
    metrics: JobMetrics | None = None

    @property
    def is_over(self) -> bool:
        return self.status in ENDS


class Forgotten(msgspec.Struct, frozen=True):
    """What is left of jobs that were over and are not kept any more."""

    num_jobs: int = 0
    num_dead_letters: int = 0


class Journal(Protocol):
    """Used by one thread at a time. Every call raises JournalUnusable where it cannot be obeyed."""

    def keep(self, record: JobRecord) -> None:
        """Keep the record in place of an older one of the same job; returns once it would survive a power cut."""
        ...

    def jobs(self) -> tuple[JobRecord, ...]:
        """Return every job that is kept, in the order in which they were first kept."""
        ...

    def forgotten(self) -> Forgotten: ...

    def reserve_epochs(self, at_least: int) -> int:
        """Return the first epoch of a head that begins now: greater than any that heads before it may have given."""
        ...

    def close(self) -> None: ...


class MemoryJournal:
    """A Journal that lasts as long as its process: for clusters that do too."""

    def __init__(self, *, max_ended: int = MAX_ENDED_JOBS) -> None:
        self._max_ended = max_ended
        self._jobs: dict[JobId, JobRecord] = {}
        self._ended: dict[JobId, None] = {}
        self._forgotten = Forgotten()

    def keep(self, record: JobRecord) -> None:
        self._jobs[record.id] = record
        if not record.is_over:
            self._ended.pop(record.id, None)
            return
        self._ended.setdefault(record.id)
        while len(self._ended) > self._max_ended:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            gone = self._jobs.pop(oldest)
            self._forgotten = Forgotten(
                self._forgotten.num_jobs + 1, self._forgotten.num_dead_letters + gone.num_dead_letters
            )

    def jobs(self) -> tuple[JobRecord, ...]:
        return tuple(self._jobs.values())

    def forgotten(self) -> Forgotten:
        return self._forgotten

    def reserve_epochs(self, at_least: int) -> int:
        """Whoever gave epochs before is this process, which begins once."""
        return at_least

    def close(self) -> None:
        """There is nothing to give back."""
