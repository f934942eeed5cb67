"""Which node runs which task. Pure: the same plan and nodes give the same placement."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cluster.runtime.messages import TaskSpec
from sage.base.demand import Demand
from sage.base.errors import NoRoom
from sage.base.ids import NodeId, TaskId
from sage.base.resources import Resources


@dataclass(frozen=True, slots=True)
class NodeRoom:
    """What a node has in all, and what no task has taken."""

    node_id: NodeId
    total: Resources
    free: Resources


def place(tasks: Sequence[TaskSpec], nodes: Sequence[NodeRoom]) -> Mapping[TaskId, NodeId]:
    """Return a node for each task.

    The greediest tasks are placed first, each on the node that keeps most free; among equals the first node wins.
    A task that asks for nothing goes where the fewest tasks are. Raises NoRoom that says what is missing where.
    """
    free = {node.node_id: node.free for node in nodes}
    num_tasks = dict.fromkeys(free, 0)
    placed: dict[TaskId, NodeId] = {}
    for task in sorted(tasks, key=lambda task: _greed(task.chain.demand.amounts), reverse=True):
        wanted = task.chain.demand.amounts
        fitting = [node_id for node_id in free if wanted.fits(free[node_id])]
        if not fitting:
            raise _no_room(task, len([other for other in placed if _is_twin(other, task)]), nodes, free)
        chosen = min(fitting, key=lambda node_id: (*_left(free[node_id], wanted), num_tasks[node_id]))
        free[chosen] = free[chosen].minus(wanted)
        num_tasks[chosen] += 1
        placed[task.id] = chosen
    return {task.id: placed[task.id] for task in tasks}


def _greed(wanted: Resources) -> tuple[float, float, int]:
    return (wanted.gpus, wanted.cpus, wanted.memory_bytes)


def _left(free: Resources, wanted: Resources) -> tuple[float, float, int]:
    """Return a key that is smaller the more is left; of what a task does not ask for, nothing counts."""
    return (
        wanted.gpus - free.gpus if wanted.gpus else 0.0,
        wanted.cpus - free.cpus if wanted.cpus else 0.0,
        wanted.memory_bytes - free.memory_bytes if wanted.memory_bytes else 0,
    )


def _is_twin(placed: TaskId, task: TaskSpec) -> bool:
    return placed.rpartition("/")[0] == task.id.rpartition("/")[0]


def _no_room(task: TaskSpec, num_placed: int, nodes: Sequence[NodeRoom], free: Mapping[NodeId, Resources]) -> NoRoom:
    chain = task.chain
    names = " -> ".join(step.name for step in chain.steps)
    wheres = ", ".join(str(step.where) for step in chain.steps if step.demand != Demand())
    which = f"instance {num_placed + 1} of {chain.parallelism} of " if chain.parallelism > 1 else ""
    missing = (
        "; ".join(_missing(chain.demand.amounts, node, free[node.node_id]) for node in nodes) or "there is no node"
    )
    return NoRoom(
        f"{which}{names} ({wheres}) asks for {_amounts(chain.demand.amounts)}: {missing}",
        "Ask for less in with_resources or with_parallelism, or let other jobs end first.",
    )


def _missing(wanted: Resources, node: NodeRoom, free: Resources) -> str:
    lacks = [
        f"{_number(have)} of {_number(total)} {what}"
        for what, want, have, total in (
            ("CPUs", wanted.cpus, free.cpus, node.total.cpus),
            ("GPUs", wanted.gpus, free.gpus, node.total.gpus),
            ("bytes of memory", wanted.memory_bytes, free.memory_bytes, node.total.memory_bytes),
        )
        if want > have
    ]
    return f"{node.node_id} has {' and '.join(lacks)} free"


def _amounts(wanted: Resources) -> str:
    amounts = (("CPUs", wanted.cpus), ("GPUs", wanted.gpus), ("bytes of memory", wanted.memory_bytes))
    return " and ".join(f"{_number(amount)} {what}" for what, amount in amounts if amount)


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount == int(amount) else f"{amount:g}"
