"""What a job has done so far, summed from its tasks. Pure; knows nothing of how reports come."""

from collections.abc import Iterable, Mapping

from cluster.runtime.messages import TaskProgress, TaskSpec
from operators.machine import Counts
from sage.base.ids import NodeId, TaskId
from sage.flow.plan import Chain
from sage.flow.runner import ChainMetrics, JobMetrics, JobStatus
from sage.flow.spec import SINKS, Read


class Accounts:
    """The newest report of every task."""

    def __init__(self, tasks: Iterable[TaskSpec], placement: Mapping[TaskId, NodeId]) -> None:
        self._chains: dict[str, tuple[Chain, list[TaskId]]] = {}
        for task in tasks:
            self._chains.setdefault(task.chain.id, (task.chain, []))[1].append(task.id)
        self._placement = placement
        self._newest = {task_id: TaskProgress(task_id, Counts(), 0.0) for task_id in placement}

    def report(self, tasks: Iterable[TaskProgress]) -> None:
        for progress in tasks:
            self._newest[progress.task_id] = progress

    def metrics(self, status: JobStatus, duration_s: float) -> JobMetrics:
        """Return the sums: a record read counts where it left a source, a result where it reached a sink."""
        metrics = {chain_id: self._of_chain(*found) for chain_id, found in self._chains.items()}
        chains = [chain for chain, _ in self._chains.values()]
        read = sum(metrics[chain.id].records_in for chain in chains if isinstance(chain.steps[0].spec, Read))
        ended = sum(metrics[chain.id].records_out for chain in chains if isinstance(chain.steps[-1].spec, SINKS))
        return JobMetrics(status, read, ended, duration_s, tuple(metrics.values()))

    def _of_chain(self, chain: Chain, task_ids: list[TaskId]) -> ChainMetrics:
        newest = [self._newest[task_id] for task_id in task_ids]
        counts = [progress.counts for progress in newest]
        return ChainMetrics(
            chain_id=chain.id,
            steps=tuple(step.name for step in chain.steps),
            nodes=tuple(dict.fromkeys(self._placement[task_id] for task_id in task_ids)),
            num_tasks=len(task_ids),
            records_in=sum(count.records_in for count in counts),
            records_out=sum(count.records_out for count in counts),
            num_batches=sum(count.num_batches for count in counts),
            num_requests=sum(count.num_requests for count in counts),
            prompt_tokens=sum(count.prompt_tokens for count in counts),
            completion_tokens=sum(count.completion_tokens for count in counts),
            busy_s=sum(progress.busy_s for progress in newest),
        )
