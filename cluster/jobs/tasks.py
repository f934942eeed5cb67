"""Tasks and their links from a plan. Pure; knows nothing of where tasks run."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cluster.runtime.inputs import InputSpec
from cluster.runtime.links import Link
from cluster.runtime.messages import TaskSpec
from cluster.runtime.outputs import OutputSpec
from sage.base.devices import Device
from sage.base.ids import JobId, TaskId
from sage.flow.plan import Chain, Channel, Plan, Routing
from sage.flow.two_inputs import has_broadcast


def tasks_from_plan(job_id: JobId, plan: Plan) -> tuple[TaskSpec, ...]:
    """Return every task of the job, chain by chain, instance by instance."""
    chains = {chain.id: chain for chain in plan.chains}
    inputs: dict[TaskId, list[InputSpec]] = defaultdict(list)
    outputs: dict[TaskId, list[OutputSpec]] = defaultdict(list)
    for number, channel in enumerate(plan.channels):
        links_of: dict[TaskId, list[Link]] = defaultdict(list)
        for link in _links(job_id, number, channel, chains):
            links_of[link.source].append(link)
            inputs[link.target].append(
                InputSpec(
                    link,
                    is_completion=channel.routing is Routing.COMPLETION,
                    port=channel.port,
                    is_back=channel.routing is Routing.BACK,
                    is_timeless=channel.port == 1 and has_broadcast(chains[channel.target].steps[0].spec),
                )
            )
        for source, links in links_of.items():
            outputs[source].append(OutputSpec(channel.routing, tuple(links), channel.side))
    return tuple(
        TaskSpec(own, job_id, chain, instance, tuple(inputs[own]), tuple(outputs[own]), chains=plan.chains)
        for chain in plan.chains
        for instance, own in enumerate(_task_ids(job_id, chain))
    )


def with_devices(tasks: Iterable[TaskSpec], devices: Mapping[TaskId, tuple[Device, ...]]) -> tuple[TaskSpec, ...]:
    """Return `tasks` with the devices that placement gave to each."""
    return tuple(replace(task, devices=devices[task.id]) if task.id in devices else task for task in tasks)


def task_id(job_id: JobId, chain: Chain, instance: int) -> TaskId:
    """Return the id of one instance, unique among all jobs: `job-x/count/0`."""
    return task_id_of(job_id, chain.id, instance)


def task_id_of(job_id: JobId, chain_id: str, instance: int) -> TaskId:
    """Return the id of one instance of the chain of this id."""
    return TaskId(f"{job_id}/{chain_id}/{instance}")


def _task_ids(job_id: JobId, chain: Chain) -> list[TaskId]:
    return [task_id(job_id, chain, instance) for instance in range(chain.parallelism)]


def _links(job_id: JobId, number: int, channel: Channel, chains: Mapping[str, Chain]) -> list[Link]:
    """Return the links of a channel, by source instance, then target instance."""
    sources, targets = _task_ids(job_id, chains[channel.source]), _task_ids(job_id, chains[channel.target])
    if channel.routing is Routing.FORWARD:
        return [Link(number, source, target) for source, target in zip(sources, targets, strict=True)]
    return [Link(number, source, target) for source in sources for target in targets]
