"""Tasks and their links from a plan. Pure; knows nothing of where tasks run."""

from collections.abc import Iterable

from cluster.runtime.inputs import InputSpec
from cluster.runtime.links import Link
from cluster.runtime.messages import TaskSpec
from cluster.runtime.outputs import OutputSpec
from sage.base.ids import JobId, TaskId
from sage.flow.plan import Chain, Channel, Plan, Routing


def tasks_from_plan(job_id: JobId, plan: Plan) -> tuple[TaskSpec, ...]:
    """Return every task of the job, chain by chain, instance by instance."""
    chains = {chain.id: chain for chain in plan.chains}
    return tuple(
        TaskSpec(
            task_id(job_id, chain, instance),
            job_id,
            chain,
            instance,
            tuple(_inputs(job_id, plan, chains, chain, instance)),
            tuple(_outputs(job_id, plan, chains, chain, instance)),
        )
        for chain in plan.chains
        for instance in range(chain.parallelism)
    )


def task_id(job_id: JobId, chain: Chain, instance: int) -> TaskId:
    """Return the id of one instance, unique among all jobs: `job-x/count/0`."""
    return TaskId(f"{job_id}/{chain.id}/{instance}")


def _links(job_id: JobId, number: int, channel: Channel, chains: dict[str, Chain]) -> list[Link]:
    """Return the links of a channel, by source instance, then target instance."""
    source, target = chains[channel.source], chains[channel.target]
    if channel.routing is Routing.FORWARD:
        assert source.parallelism == target.parallelism, channel
        pairs = [(i, i) for i in range(source.parallelism)]
    else:
        pairs = [(i, j) for i in range(source.parallelism) for j in range(target.parallelism)]
    return [Link(number, task_id(job_id, source, i), task_id(job_id, target, j)) for i, j in pairs]


def _outputs(job_id: JobId, plan: Plan, chains: dict[str, Chain], chain: Chain, instance: int) -> Iterable[OutputSpec]:
    own = task_id(job_id, chain, instance)
    for number, channel in enumerate(plan.channels):
        if channel.source == chain.id:
            links = tuple(link for link in _links(job_id, number, channel, chains) if link.source == own)
            yield OutputSpec(channel.routing, links)


def _inputs(job_id: JobId, plan: Plan, chains: dict[str, Chain], chain: Chain, instance: int) -> Iterable[InputSpec]:
    own = task_id(job_id, chain, instance)
    for number, channel in enumerate(plan.channels):
        if channel.target == chain.id:
            for link in _links(job_id, number, channel, chains):
                if link.target == own:
                    yield InputSpec(link, is_completion=channel.routing is Routing.COMPLETION)
