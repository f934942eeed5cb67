"""What is placed: tasks of a job, hosts of engines. Pure; knows no node."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cluster.runtime.messages import TaskSpec
from sage.base.demand import Demand
from sage.flow.graph import Step
from sage.flow.plan import Routing
from sage.flow.spec import ModelStep


@dataclass(frozen=True, slots=True)
class Part:
    """Something that runs on one node, as a whole. `what` names it to users; `id` is unique among all that is placed.

    `asks`: models that it asks, so that it is best off near their engines; `serves`: models of the engine it hosts,
    `engine`: what of `NodeOffer.engines` its node must have for that. `beside`: parts that it exchanges batches with
    one to one. `apart`: no two parts of one such name share a node.
    """

    id: str
    what: str
    demand: Demand = Demand()
    asks: tuple[str, ...] = ()
    serves: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    apart: str = ""
    engine: tuple[str, ...] = ()

    @property
    def is_engine(self) -> bool:
        """Say whether it is a process of its own, of an engine; else it runs on a thread of its node."""
        return bool(self.serves)


def parts_from_tasks(tasks: Iterable[TaskSpec]) -> tuple[Part, ...]:
    """Return a part for each task, in order."""
    return tuple(_part(task) for task in tasks)


def _part(task: TaskSpec) -> Part:
    chain = task.chain
    wheres = dict.fromkeys(str(step.where) for step in chain.steps if step.demand != Demand())
    return Part(
        task.id,
        name_of_instance([step.name for step in chain.steps], tuple(wheres), task.instance, chain.parallelism),
        chain.demand,
        asks=tuple(dict.fromkeys(model for step in chain.steps if (model := _model_of(step)))),
        beside=tuple(_neighbours(task)),
        apart=f"{chain.id} of {task.job_id}" if chain.demand.anti_affinity else "",
    )


def name_of_instance(steps: Sequence[str], wheres: Sequence[str], instance: int, parallelism: int) -> str:
    """Name an instance as users know it: `instance 1 of 3 of read -> map (flow.py:7)`."""
    which = f"instance {instance + 1} of {parallelism} of " if parallelism > 1 else ""
    lines = f" ({', '.join(wheres)})" if wheres else ""
    return f"{which}{' -> '.join(steps)}{lines}"


def _model_of(step: Step) -> str | None:
    return step.spec.model if isinstance(step.spec, ModelStep) else None


def _neighbours(task: TaskSpec) -> Iterable[str]:
    """Yield the only task at the other end of each channel that has one."""
    num_links = Counter(spec.link.channel for spec in task.inputs)
    yield from (s.link.source for s in task.inputs if num_links[s.link.channel] == 1 and not s.is_completion)
    yield from (o.links[0].target for o in task.outputs if o.routing is Routing.FORWARD)
