"""One run of a job: its tasks on its nodes. Pure; knows neither the runs before it nor those after."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from cluster.jobs.accounts import Accounts
from cluster.jobs.flow_types import flow_types
from cluster.jobs.job import JobMachine
from cluster.jobs.node_port import Deployment
from cluster.jobs.placement import Placement
from cluster.jobs.tasks import with_devices
from cluster.runtime.messages import TaskSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.saving import Keeping
from sage.base.devices import Device
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.graph import Graph
from sage.flow.plan import Plan
from sage.flow.spec import IndexInto, MapAsync, Read, Retrieve


@dataclass(slots=True)
class JobRun:
    """`nodes`: that of each task."""

    deployment: Deployment
    machine: JobMachine
    accounts: Accounts
    placement: Placement

    @property
    def id(self) -> JobId:
        return self.deployment.run_id

    @property
    def nodes(self) -> Mapping[TaskId, NodeId]:
        return self.deployment.nodes

    def keep_by(self, keeping: Keeping, types: RecordTypes) -> None:
        """Have what the tasks hold saved so; before they are deployed."""
        self.deployment = replace(self.deployment, keeping=keeping, types=types)

    def let_go(self) -> None:
        """Forget the tasks of a run that is over: their steps hold the user's data."""
        self.deployment = replace(self.deployment, tasks=())


def run_id_of(job_id: JobId, num_restarts: int) -> JobId:
    """Return the id of a run: that of its job for the first, `job-x~2` for the second."""
    return JobId(f"{job_id}~{num_restarts + 1}") if num_restarts else job_id


def new_run(job_id: JobId, tasks: tuple[TaskSpec, ...], placement: Placement, num_restarts_left: int) -> JobRun:
    """Return a run of placed tasks that has not begun."""
    at = placement.nodes()
    nodes = {task.id: at[task.id] for task in tasks}
    tasks = with_devices(tasks, _devices(placement))
    sources = [task.id for task in tasks if isinstance(task.chain.steps[0].spec, Read)]
    return JobRun(
        Deployment(tasks[0].job_id, job_id, tasks, nodes, types=_types(tasks)),  # of tasks, the job is the run
        JobMachine(job_id, dict.fromkeys(nodes.values()), nodes, sources, num_restarts_left=num_restarts_left),
        Accounts(tasks, nodes),
        placement,
    )


def _types(tasks: tuple[TaskSpec, ...]) -> RecordTypes:
    """Return the classes that a cache of calls may have to keep; most flows have none."""
    steps = dict.fromkeys(step for task in tasks for step in task.chain.steps if isinstance(step.spec, MapAsync))
    cached = tuple(step for step in steps if isinstance(step.spec, MapAsync) and step.spec.cache is not None)
    return flow_types(Graph("", cached)) if cached else RecordTypes()


def _devices(placement: Placement) -> dict[TaskId, tuple[Device, ...]]:
    """Return the devices of each task that has some."""
    return {
        TaskId(placed.part.id): tuple(share.device for share in placed.gpus)
        for placed in placement.placed
        if placed.gpus
    }


def unplaced_run(job_id: JobId, run_id: JobId) -> JobRun:
    """Return a run that has no place yet, and so no tasks: what a job has while it waits for room."""
    return JobRun(Deployment(run_id, job_id, (), {}), JobMachine(job_id, (), (), ()), Accounts((), {}), Placement())


def stays_whole(plan: Plan) -> bool:
    """Say whether all tasks must share one node: an index is kept by the process that fills it."""
    return any(isinstance(step.spec, IndexInto | Retrieve) for step in plan.graph.steps)
