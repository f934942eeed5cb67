"""Code that came with an order to the tasks of this node: loaded beside the thread that speaks to the head.

Loading runs the user's module: it may take long, raise anything, or never end. Knows nothing of the connection.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.jobs.code import graph_from_code
from cluster.jobs.envelope import CodeVerifier, EnvelopeVerifier, NoCodeShipping
from cluster.jobs.flow_types import flow_types
from cluster.jobs.outline import is_same_work, outline_from_plan
from cluster.jobs.tasks import tasks_from_plan, with_devices
from cluster.runtime.control import DeployRun, RemoteFailure, RunTaskEnded
from cluster.runtime.messages import TaskSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.scheduler import Scheduler
from sage.base.errors import CodeMismatch, FlowInvalid, SageError
from sage.base.ids import NodeId
from sage.flow.graph import Graph
from sage.flow.plan import plan_from_graph


@dataclass(frozen=True, slots=True)
class LoadedFlow:
    """A flow, and which of its classes may travel."""

    graph: Graph
    types: RecordTypes


LoadFlow = Callable[[DeployRun], LoadedFlow]
"""Returns the flow of an order to deploy; may raise anything."""


class CodeLoader:
    """Loads flows from code, one at a time: users' modules share one interpreter. A LoadFlow for any thread."""

    def __init__(self, node_id: NodeId, offered: Sequence[Path] | None = None) -> None:
        """`offered`: the folders below which clients may name files; None: all."""
        self._node_id = node_id
        self._offered = offered
        self._turn = threading.Lock()

    def __call__(self, order: DeployRun) -> LoadedFlow:
        with self._turn:
            graph = graph_from_code(
                order.code,
                _verifier(order),
                job_id=order.job_id,
                node=self._node_id,
                at_unix_s=order.submitted_unix_s,
                offered=self._offered,
            )
        return LoadedFlow(graph, flow_types(graph))


def _verifier(order: DeployRun) -> CodeVerifier:
    return EnvelopeVerifier(lambda: order.submitters) if order.submitters else NoCodeShipping()


@dataclass(frozen=True, slots=True)
class RunLoaded:
    """The tasks of a run that are this node's."""

    order: DeployRun
    tasks: tuple[TaskSpec, ...]
    types: RecordTypes


@dataclass(frozen=True, slots=True)
class LoadingFailed:
    order: DeployRun
    error: SageError


OnLoaded = Callable[[RunLoaded | LoadingFailed], object]


def begin_loading(order: DeployRun, node_id: NodeId, load: LoadFlow, on_loaded: OnLoaded, scheduler: Scheduler) -> None:
    """Load on a thread of its own and tell `on_loaded` there, once."""
    scheduler.begin(f"loading {order.run_id}", lambda: on_loaded(loaded(order, node_id, load)))


def loaded(order: DeployRun, node_id: NodeId, load: LoadFlow) -> RunLoaded | LoadingFailed:
    """Return what came of an order to deploy; raises nothing."""
    try:
        return _loaded(order, node_id, load)
    except SageError as error:
        return LoadingFailed(order, error)
    except BaseException as error:  # noqa: BLE001 - user code may raise anything, SystemExit too
        what = f"the flow {order.outline.name!r} cannot be loaded on node {node_id}: {type(error).__name__}: {error}"
        return LoadingFailed(order, FlowInvalid(what, "See the node's log, or run the file there by itself."))


def declined(order: DeployRun, node_id: NodeId, error: SageError) -> RunTaskEnded:
    """Return what says that a run cannot be had here: one of its tasks ends, and the head stops the others."""
    here = [task_id for task_id, at in order.placement.items() if at == node_id]
    return RunTaskEnded(order.run_id, here[0], False, RemoteFailure.of(error))


def _loaded(order: DeployRun, node_id: NodeId, load: LoadFlow) -> RunLoaded:
    flow = load(order)
    plan = plan_from_graph(flow.graph)
    if not is_same_work(outline_from_plan(plan), order.outline):
        raise CodeMismatch(
            f"the code of flow {order.outline.name!r} makes other steps on node {node_id} than where it was submitted",
            "Build the flow from the code alone: not from the time, the environment or chance.",
        )
    tasks = with_devices(tasks_from_plan(order.run_id, plan), order.devices)
    return RunLoaded(order, tuple(task for task in tasks if order.placement.get(task.id) == node_id), flow.types)
