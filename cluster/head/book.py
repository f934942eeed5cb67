"""What the head keeps of each job for those who ask: its code and outline, its state, its newest lines, its watchers.

Pure bookkeeping; knows neither sockets nor how jobs are run.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from cluster.head.collected import CollectedRecords
from cluster.head.history import PastJob, sha256_of
from cluster.jobs.orders import JobView
from cluster.jobs.tasks import task_id_of
from cluster.runtime.channel import PeerId
from cluster.runtime.control import RemoteFailure
from cluster.runtime.control_printed import LogLine
from cluster.runtime.job_outline import PlanOutline
from cluster.runtime.states import JobState
from cluster.runtime.travelling_code import Code
from sage.base.errors import UnknownJob
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.runner import JobMetrics, JobStatus

MAX_LINES = 10_000
"""Lines of a job that are kept; the newest stay."""

MAX_KEPT_BYTES = 64 * 1024 * 1024
"""What is kept of what jobs that are over collected and nobody took, of all of them together."""

MAX_JOBS = 1_000
"""Jobs that are over and still known; the newest stay."""


@dataclass(slots=True)
class JobEntry:
    """`collected`: what `collect()` brings, and who takes it. `num_lines`: all that it printed; the newest are kept.

    `run_id`: its newest run; `nodes`: where that runs. `code`: None for a job that was over before this head began;
    what it printed and set aside is gone with the head that ran it.
    """

    job_id: JobId
    code: Code | None
    code_sha256: str
    outline: PlanOutline
    submitted_unix_s: float
    collected: CollectedRecords
    view: JobView
    run_id: JobId
    watchers: dict[PeerId, None] = field(default_factory=dict)
    followers: dict[PeerId, None] = field(default_factory=dict)
    lines: deque[LogLine] = field(default_factory=lambda: deque(maxlen=MAX_LINES))
    nodes: dict[TaskId, NodeId] = field(default_factory=dict)
    num_lines: int = 0
    has_lost_results: bool = False

    @property
    def is_answering(self) -> bool:
        """Say whether its newest run has begun, and no end of it is known."""
        has_begun = self.view.metrics.status in (JobStatus.RUNNING, JobStatus.PAUSED)
        return has_begun and self.view.run_id == self.run_id

    def node_of_chain(self, chain_id: str) -> NodeId:
        """Return where the first instance of a chain runs."""
        return self.nodes[task_id_of(self.run_id, chain_id, 0)]

    def state(self) -> JobState:
        """Return the job as it travels."""
        view = self.view
        return JobState(
            job_id=self.job_id,
            name=self.outline.name,
            run_id=view.run_id,
            metrics=view.metrics,
            num_restarts=view.num_restarts,
            num_dead_letters=view.num_dead_letters,
            submitted_unix_s=self.submitted_unix_s,
            is_over=view.is_over,
            error=RemoteFailure.of(view.error) if view.error is not None else None,
            has_lost_results=self.has_lost_results,
        )

    def print(self, lines: Sequence[LogLine]) -> None:
        """Take lines that the job has printed."""
        self.lines.extend(lines)
        self.num_lines += len(lines)

    def lines_after(self, num_lines: int, max_lines: int) -> tuple[LogLine, ...]:
        """Return the newest lines, at most so many, after the first `num_lines`."""
        num_wanted = min(max_lines, self.num_lines - num_lines, len(self.lines))
        return tuple(islice(reversed(self.lines), max(0, num_wanted)))[::-1]


class JobBook:
    """The jobs of one head, in the order in which they were submitted."""

    def __init__(self) -> None:
        self._entries: dict[JobId, JobEntry] = {}
        self._job_of_run: dict[JobId, JobId] = {}
        self._job_of_chat: dict[str, JobId] = {}

    def __iter__(self) -> Iterator[JobEntry]:
        return iter(tuple(self._entries.values()))

    def live(self) -> list[JobEntry]:
        """Return the jobs that are not over."""
        return [entry for entry in self._entries.values() if not entry.view.is_over]

    def add(
        self, job_id: JobId, code: Code, outline: PlanOutline, *, submitted_unix_s: float, collector: PeerId | None
    ) -> JobEntry:
        """Know a job that is about to be placed."""
        none_yet = JobView(JobMetrics(JobStatus.CREATED, 0, 0, 0.0, ()), None, 0, False, job_id, 0)
        collected = CollectedRecords(job_id, collector)
        entry = JobEntry(job_id, code, sha256_of(code), outline, submitted_unix_s, collected, none_yet, job_id)
        self._know(entry)
        self._forget_oldest()
        return entry

    def add_past(self, past: PastJob, expected_until_s: float | None = None) -> JobEntry:
        """Know a job of an earlier head, which was over or begins again; whoever collected is expected until then."""
        record, about, run_id = past.record, past.about, past.run_id
        took_s = (record.ended_unix_s or record.created_unix_s) - record.created_unix_s
        metrics = record.metrics or JobMetrics(record.status, 0, 0, took_s, ())
        error = record.error.error() if record.error is not None else None
        view = JobView(metrics, error, record.num_dead_letters, record.is_over, run_id, record.num_restarts)
        collected = CollectedRecords(record.id, None)
        if about.collects and not record.is_over:
            collected.left_by_collector(expected_until_s)
        entry = JobEntry(
            record.id, past.code, about.code_sha256, about.outline, about.submitted_unix_s, collected, view, run_id
        )
        entry.has_lost_results = record.is_over
        self._know(entry)
        return entry

    def _know(self, entry: JobEntry) -> None:
        self._entries[entry.job_id] = entry
        self._job_of_run[entry.run_id] = entry.job_id
        if not entry.view.is_over:
            self._job_of_chat.update(dict.fromkeys(entry.outline.chats(), entry.job_id))

    def drop(self, job_id: JobId) -> None:
        """Forget a job that was refused."""
        entry = self._entries.pop(job_id, None)
        if entry is not None:
            self._job_of_run.pop(entry.run_id, None)

    def answering(self, chat: str) -> JobEntry | None:
        """Return the job, if it is not over, that answers chat requests as the model of this name."""
        entry = self._entries.get(self._job_of_chat.get(chat, JobId("")))
        return entry if entry is not None and not entry.view.is_over else None

    def find(self, job_id: JobId) -> JobEntry | None:
        return self._entries.get(job_id)

    def entry(self, job_id: JobId) -> JobEntry:
        """Return a job; raises UnknownJob."""
        entry = self._entries.get(job_id)
        if entry is None:
            raise UnknownJob(f"there is no job {job_id}", "See which there are: sage-cluster jobs.")
        return entry

    def of_run(self, run_id: JobId) -> JobEntry | None:
        """Return the job whose newest run this is."""
        job_id = self._job_of_run.get(run_id)
        return self._entries.get(job_id) if job_id is not None else None

    def begin_run(self, entry: JobEntry, run_id: JobId, nodes: Iterable[tuple[TaskId, NodeId]]) -> None:
        """Know the newest run of a job."""
        self._job_of_run = {run: job for run, job in self._job_of_run.items() if job != entry.job_id}
        self._job_of_run[run_id] = entry.job_id
        entry.run_id = run_id
        entry.nodes = dict(nodes)
        entry.collected.begin_run()

    def forget_client(self, peer: PeerId) -> list[JobEntry]:
        """Tell nothing to a client any more; return the jobs that it collected from."""
        for entry in self._entries.values():
            entry.watchers.pop(peer, None)
            entry.followers.pop(peer, None)
        return [entry for entry in self._entries.values() if entry.collected.collector == peer]

    def bound_kept(self) -> None:
        """Keep what nobody collected of the jobs that ended last, up to MAX_KEPT_BYTES."""
        left_bytes = MAX_KEPT_BYTES
        for entry in reversed(self._entries.values()):
            if entry.view.is_over and not entry.collected.is_expected:
                left_bytes -= entry.collected.num_bytes
                if left_bytes < 0:
                    entry.collected.forget_kept()

    def _forget_oldest(self) -> None:
        over = [entry for entry in self._entries.values() if entry.view.is_over]
        for entry in over[: max(0, len(over) - MAX_JOBS)]:
            del self._entries[entry.job_id]
            self._job_of_run.pop(entry.run_id, None)
