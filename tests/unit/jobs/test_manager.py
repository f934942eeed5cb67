"""The job manager's actor: late facts pass, and nobody waits for a manager that broke."""

import queue
from random import Random
from typing import Any

from pykka import ActorRef

import sage
from cluster.jobs.manager import DeadLettersOf, JobManager, JobView, NodeJoined, NodesNow, SubmitPlan
from cluster.runtime.actor import Actor, ask, stop, tell
from cluster.runtime.messages import JobStopped, NodeOrder
from sage.base.clock import SystemClock
from sage.base.errors import InternalError
from sage.base.ids import JobId, NodeId
from sage.base.offer import NodeOffer
from sage.flow.plan import plan_from_graph

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
        tell(self.manager, NodeJoined(NODE, self.node, NodeOffer(cpus=2.0)))

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
