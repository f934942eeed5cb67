"""What a job has done so far, summed from its tasks. Pure; knows nothing of how reports come."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

from cluster.runtime.messages import TaskProgress, TaskSpec
from operators.machine import Counts
from sage.base.ids import NodeId, TaskId
from sage.flow.plan import Chain
from sage.flow.runner import ChainMetrics, JobMetrics, JobStatus
from sage.flow.spec import SINKS, Read


@dataclass(frozen=True, slots=True)
class _ChainName:
    """What an account needs of a chain: not its steps, which hold the user's data and are let go of with the job."""

    steps: tuple[str, ...]
    reads: bool
    ends: bool
    task_ids: list[TaskId] = field(default_factory=list)

    @staticmethod
    def of(chain: Chain) -> "_ChainName":
        first, last = chain.steps[0].spec, chain.steps[-1].spec
        return _ChainName(tuple(step.name for step in chain.steps), isinstance(first, Read), isinstance(last, SINKS))


class Accounts:
    """The newest report of every task."""

    def __init__(self, tasks: Iterable[TaskSpec], placement: Mapping[TaskId, NodeId]) -> None:
        self._chains: dict[str, _ChainName] = {}
        for task in tasks:
            if task.chain.id not in self._chains:
                self._chains[task.chain.id] = _ChainName.of(task.chain)
            self._chains[task.chain.id].task_ids.append(task.id)
        self._placement = placement
        self._newest = {task_id: TaskProgress(task_id, Counts(), 0.0) for task_id in placement}

    def report(self, tasks: Iterable[TaskProgress]) -> None:
        for progress in tasks:
            self._newest[progress.task_id] = progress

    def metrics(self, status: JobStatus, duration_s: float, pause: str = "") -> JobMetrics:
        """Return the sums: a record read counts where it left a source, a result where it reached a sink."""
        metrics = {chain_id: self._of_chain(chain_id, name) for chain_id, name in self._chains.items()}
        read = sum(metrics[chain_id].records_in for chain_id, name in self._chains.items() if name.reads)
        ended = sum(metrics[chain_id].records_out for chain_id, name in self._chains.items() if name.ends)
        return JobMetrics(status, read, ended, duration_s, tuple(metrics.values()), pause)

    def _of_chain(self, chain_id: str, name: _ChainName) -> ChainMetrics:
        newest = [self._newest[task_id] for task_id in name.task_ids]
        counts = [progress.counts for progress in newest]
        return ChainMetrics(
            chain_id=chain_id,
            steps=name.steps,
            nodes=tuple(dict.fromkeys(self._placement[task_id] for task_id in name.task_ids)),
            num_tasks=len(name.task_ids),
            records_in=sum(count.records_in for count in counts),
            records_out=sum(count.records_out for count in counts),
            num_batches=sum(count.num_batches for count in counts),
            num_requests=sum(count.num_requests for count in counts),
            prompt_tokens=sum(count.prompt_tokens for count in counts),
            completion_tokens=sum(count.completion_tokens for count in counts),
            busy_s=sum(progress.busy_s for progress in newest),
            records_late=sum(count.records_late for count in counts),
            num_replayed=sum(count.num_replayed for count in counts),
            num_repeated=sum(count.num_repeated for count in counts),
            num_cached=sum(count.num_cached for count in counts),
            num_unreadable=sum(count.num_unreadable for count in counts),
            watermark_s=_least(progress.watermark_s for progress in newest),
            num_waiting=sum(progress.num_waiting for progress in newest),
            urls=tuple(progress.url for progress in newest if progress.url),
        )


def _least(watermarks_s: Iterable[float | None]) -> float | None:
    """Return the least of them: None before each instance has one, and once event time is over."""
    found = list(watermarks_s)
    if None in found:
        return None
    least_s = min((time_s for time_s in found if time_s is not None), default=inf)
    return least_s if isfinite(least_s) else None
