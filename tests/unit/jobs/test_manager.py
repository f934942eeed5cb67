"""The job manager's actor: late facts pass, and nobody waits for a manager that broke."""

import queue
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
from pykka import ActorRef

import sage
from cluster.jobs.manager import JobManager
from cluster.jobs.node_news import CloseNode, NodeJoined, NodeLeft
from cluster.jobs.node_port import ActorNode, Deployment
from cluster.jobs.orders import CancelJob, DeadLettersOf, FindTask, JobView, NodesNow, SubmitPlan
from cluster.runtime.actor import Actor, ask, stop, tell, watch
from cluster.runtime.messages import JobOpened, JobStopped, NodeOrder
from cluster.runtime.saving import CheckpointStage
from sage.base.clock import SystemClock
from sage.base.errors import DeviceLost, InternalError, JobCancelled, NameTaken, NodeLost, NoRoom, StateUnreachable
from sage.base.ids import JobId, NodeId
from sage.base.offer import Gpu, NodeOffer
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobStatus

DEADLINE_S = 10.0
NODE = NodeId("node")


class SilentNode(Actor[NodeOrder]):
    def receive(self, message: NodeOrder) -> None:
        pass


class Cluster:
    def __init__(self) -> None:
        self.views: queue.SimpleQueue[JobView] = queue.SimpleQueue()
        self.manager: ActorRef[JobManager] = JobManager.start(SystemClock(), Random(1))
        self.node: ActorRef[Any] = SilentNode.start("node")
        watch(self.node, self.manager)
        tell(self.manager, NodeJoined(NODE, ActorNode(NODE, self.node), NodeOffer(cpus=2.0)))

    def submit(self) -> JobId:
        flow = sage.Flow("flow")
        flow.from_collection([1]).map(abs).with_resources(cpus=0.5).collect()
        return ask(self.manager, SubmitPlan(plan_from_graph(flow.graph()), self.views.put), timeout_s=DEADLINE_S)

    def end(self) -> None:
        assert stop([self.manager, self.node], timeout_s=DEADLINE_S) == []

    def last_view(self) -> JobView:
        while not (view := self.views.get(timeout=DEADLINE_S)).is_over:
            pass
        return view


def test_what_comes_for_an_unknown_job_is_passed_over() -> None:
    cluster = Cluster()
    tell(cluster.manager, JobStopped(JobId("gone"), NODE, ()))
    assert ask(cluster.manager, DeadLettersOf(JobId("gone")), timeout_s=DEADLINE_S) == []
    cluster.end()


def test_a_job_holds_its_resources_until_it_is_over() -> None:
    cluster = Cluster()
    cluster.submit()
    (node,) = ask(cluster.manager, NodesNow(), timeout_s=DEADLINE_S)
    assert (node.free.cpus, node.num_tasks) == (1.5, 2)
    cluster.end()


def test_a_job_fails_when_its_node_ends() -> None:
    cluster = Cluster()
    cluster.submit()
    stop([cluster.node], timeout_s=DEADLINE_S)
    view = cluster.last_view()
    assert isinstance(view.error, InternalError)
    assert "node node ended" in view.error.what
    cluster.end()


def test_a_manager_that_breaks_fails_its_jobs() -> None:
    cluster = Cluster()
    cluster.submit()
    tell(cluster.manager, "no message of the protocol")
    view = cluster.last_view()
    assert isinstance(view.error, InternalError)
    assert "job manager broke" in view.error.what
    cluster.end()


class RecordedNode:
    """A node that keeps its orders."""

    def __init__(self, node_id: NodeId) -> None:
        self.id = node_id
        self.orders: queue.SimpleQueue[tuple[str, JobId]] = queue.SimpleQueue()

    def deploy(self, deployment: Deployment) -> None:
        self.orders.put(("deploy", deployment.run_id))

    def begin(self, run_id: JobId) -> None:
        self.orders.put(("begin", run_id))

    def checkpoint(self, run_id: JobId, checkpoint_id: int, stage: CheckpointStage) -> None:
        self.orders.put((f"{stage} checkpoint", run_id))

    def stop(self, run_id: JobId) -> None:
        self.orders.put(("stop", run_id))

    def next_order(self) -> tuple[str, JobId]:
        return self.orders.get(timeout=DEADLINE_S)


class TwoNodes:
    """A manager with two recorded nodes and one job on both."""

    def __init__(self, *, num_restarts: int) -> None:
        self.views: queue.SimpleQueue[JobView] = queue.SimpleQueue()
        self.manager: ActorRef[JobManager] = JobManager.start(SystemClock(), Random(1))
        self.a, self.b = RecordedNode(NodeId("a")), RecordedNode(NodeId("b"))
        for node in (self.a, self.b):
            tell(self.manager, NodeJoined(node.id, node, NodeOffer(cpus=2.0)))
        flow = sage.Flow("flow")
        flow.from_collection([1]).map(abs).with_parallelism(2).with_resources(cpus=0.5).collect()
        plan = plan_from_graph(flow.graph())
        order = SubmitPlan(plan, self.views.put, JobId("job"), num_restarts)
        ask(self.manager, order, timeout_s=DEADLINE_S)
        self.first_orders = [self.a.next_order(), self.b.next_order()]

    def view(self, *, until: Callable[[JobView], bool]) -> JobView:
        while not until(view := self.views.get(timeout=DEADLINE_S)):
            pass
        return view

    def lose(self, node: RecordedNode) -> None:
        tell(self.manager, NodeLeft(node.id, NodeLost(f"node {node.id} is silent")))

    def stopped(self, node: RecordedNode, run_id: JobId) -> None:
        tell(self.manager, JobStopped(run_id, node.id, ()))


@pytest.fixture
def two_nodes() -> Iterator[TwoNodes]:
    made = TwoNodes(num_restarts=2)
    yield made
    assert stop([made.manager], timeout_s=DEADLINE_S) == []


def test_a_job_that_loses_a_node_begins_anew_on_the_others_once_nothing_of_it_runs(two_nodes: TwoNodes) -> None:
    a, b = two_nodes.a, two_nodes.b
    assert two_nodes.first_orders == [("deploy", "job"), ("deploy", "job")]
    two_nodes.lose(a)
    assert b.next_order() == ("stop", "job")
    assert b.orders.empty()
    two_nodes.stopped(b, JobId("job"))
    assert b.next_order() == ("deploy", "job~2")
    view = two_nodes.view(until=lambda view: view.num_restarts == 1)
    assert (view.run_id, view.is_over, isinstance(view.error, NodeLost)) == ("job~2", False, True)
    tell(two_nodes.manager, JobOpened(JobId("job"), b.id))  # of the run before: passed over
    tell(two_nodes.manager, JobOpened(JobId("job~2"), b.id))
    assert b.next_order() == ("begin", "job~2")
    assert a.orders.empty()


def test_the_tasks_of_a_lost_node_are_found_nowhere(two_nodes: TwoNodes) -> None:
    for node in (two_nodes.a, two_nodes.b):
        tell(two_nodes.manager, JobOpened(JobId("job"), node.id))
    questions = [FindTask(JobId("job"), "map", instance) for instance in range(2)]
    found = [ask(two_nodes.manager, question, timeout_s=DEADLINE_S) for question in questions]
    assert [at.node for at in found] in ([two_nodes.a, two_nodes.b], [two_nodes.b, two_nodes.a])
    two_nodes.lose(two_nodes.a)
    for question, at in zip(questions, found, strict=True):
        if at.node is two_nodes.a:
            with pytest.raises(StateUnreachable, match="job job does not run now"):
                ask(two_nodes.manager, question, timeout_s=DEADLINE_S)
        else:
            assert ask(two_nodes.manager, question, timeout_s=DEADLINE_S) == at


def test_a_job_is_cancelled_while_it_stops_to_begin_anew(two_nodes: TwoNodes) -> None:
    two_nodes.lose(two_nodes.a)
    tell(two_nodes.manager, CancelJob(JobId("job")))
    two_nodes.stopped(two_nodes.b, JobId("job"))
    view = two_nodes.view(until=lambda view: view.is_over)
    assert (view.metrics.status, isinstance(view.error, JobCancelled)) == (JobStatus.CANCELLED, True)


def test_a_job_that_finds_no_room_to_begin_anew_fails_and_says_why_it_had_to(two_nodes: TwoNodes) -> None:
    two_nodes.lose(two_nodes.a)
    two_nodes.lose(two_nodes.b)
    view = two_nodes.view(until=lambda view: view.is_over)
    assert isinstance(view.error, NoRoom)
    assert "node a is silent" in view.error.__notes__[0]


def test_a_job_whose_restarts_are_spent_fails() -> None:
    cluster = TwoNodes(num_restarts=0)
    cluster.lose(cluster.a)
    cluster.stopped(cluster.b, JobId("job"))
    assert isinstance(cluster.view(until=lambda view: view.is_over).error, NodeLost)
    stop([cluster.manager], timeout_s=DEADLINE_S)


def test_nothing_is_placed_on_a_closed_node(two_nodes: TwoNodes) -> None:
    tell(two_nodes.manager, CloseNode(two_nodes.a.id))
    flow = sage.Flow("flow")
    flow.from_collection([1]).map(abs).with_parallelism(4).collect()
    plan = plan_from_graph(flow.graph())
    ask(two_nodes.manager, SubmitPlan(plan, two_nodes.views.put, JobId("other")), timeout_s=DEADLINE_S)
    assert two_nodes.b.next_order() == ("deploy", "other")
    assert two_nodes.a.orders.empty()
    with pytest.raises(NameTaken):
        ask(two_nodes.manager, SubmitPlan(plan, two_nodes.views.put, JobId("other")), timeout_s=DEADLINE_S)


def test_all_steps_of_a_flow_with_an_index_share_a_node(two_nodes: TwoNodes) -> None:
    flow = sage.Flow("indexed")
    records = [{"text": "a", "vector": [1.0]}]
    index = sage.Index("i")
    flow.from_collection(records).index_into(index, source=None)
    flow.from_collection(records).retrieve(index, k=1).collect()
    order = SubmitPlan(plan_from_graph(flow.graph()), two_nodes.views.put)
    ask(two_nodes.manager, order, timeout_s=DEADLINE_S)
    deployed = [not node.orders.empty() for node in (two_nodes.a, two_nodes.b)]
    assert sorted(deployed) == [False, True]


class TwoGpus:
    """A manager with two recorded nodes of a GPU each, and one job that holds one of them."""

    def __init__(self, *, num_restarts: int) -> None:
        self.views: queue.SimpleQueue[JobView] = queue.SimpleQueue()
        self.manager: ActorRef[JobManager] = JobManager.start(SystemClock(), Random(1))
        self.a, self.b = RecordedNode(NodeId("a")), RecordedNode(NodeId("b"))
        self.offers(self.a, "")
        self.offers(self.b, "")
        flow = sage.Flow("flow")
        flow.from_collection([1]).map(abs).with_resources(gpus=1).collect()
        order = SubmitPlan(plan_from_graph(flow.graph()), self.views.put, JobId("job"), num_restarts)
        ask(self.manager, order, timeout_s=DEADLINE_S)
        self.holder = next(n for n in (self.a, self.b) if self.free_gpus(n) == 0)
        self.other = self.b if self.holder is self.a else self.a

    def offers(self, node: RecordedNode, fault: str) -> None:
        gpus = (Gpu(f"GPU-{node.id}", "0", "H100", 80, fault=fault),)
        tell(self.manager, NodeJoined(node.id, node, NodeOffer(cpus=4.0, gpus=gpus)))

    def free_gpus(self, node: RecordedNode) -> float:
        (view,) = [v for v in ask(self.manager, NodesNow(), timeout_s=DEADLINE_S) if v.node_id == node.id]
        return view.free.gpus

    def orders_of(self, node: RecordedNode) -> list[tuple[str, JobId]]:
        ask(self.manager, NodesNow(), timeout_s=DEADLINE_S)  # what came before has been obeyed
        return [node.orders.get_nowait() for _ in range(node.orders.qsize())]


@pytest.fixture
def two_gpus(request: pytest.FixtureRequest) -> Iterator[TwoGpus]:
    cluster = TwoGpus(num_restarts=request.param)
    yield cluster
    assert stop([cluster.manager], timeout_s=DEADLINE_S) == []


@pytest.mark.parametrize("two_gpus", [1], indirect=True)
@pytest.mark.parametrize("fault", ["XID 79", "it is gone"])
def test_a_job_whose_gpu_breaks_begins_anew_where_there_is_another(two_gpus: TwoGpus, fault: str) -> None:
    two_gpus.offers(two_gpus.other, "")  # what is told again changes nothing
    assert ("stop", "job") not in two_gpus.orders_of(two_gpus.holder)
    two_gpus.offers(two_gpus.holder, fault)
    for node in (two_gpus.holder, two_gpus.other):
        if ("stop", "job") in two_gpus.orders_of(node):
            tell(two_gpus.manager, JobStopped(JobId("job"), node.id, ()))
    assert ("deploy", "job~2") in two_gpus.orders_of(two_gpus.other)
    assert two_gpus.free_gpus(two_gpus.other) == two_gpus.free_gpus(two_gpus.holder) == 0
    two_gpus.offers(two_gpus.holder, "")
    assert two_gpus.free_gpus(two_gpus.holder) == 1


@pytest.mark.parametrize("two_gpus", [0], indirect=True)
def test_a_job_without_restarts_fails_by_the_gpu_that_it_lost(two_gpus: TwoGpus) -> None:
    two_gpus.offers(two_gpus.holder, "XID 79")
    for node in (two_gpus.holder, two_gpus.other):
        if ("stop", "job") in two_gpus.orders_of(node):
            tell(two_gpus.manager, JobStopped(JobId("job"), node.id, ()))
    while not (view := two_gpus.views.get(timeout=DEADLINE_S)).is_over:
        pass
    assert isinstance(view.error, DeviceLost)
    assert f"has lost its GPU 0 (GPU-{two_gpus.holder.id}): XID 79" in view.error.what
