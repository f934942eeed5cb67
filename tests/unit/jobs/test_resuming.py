"""Jobs that an earlier manager left: begun again where there is room, given up in time, cancelled meanwhile."""

import queue
from collections.abc import Iterator
from random import Random

import pytest
from pykka import ActorRef

import sage
from cluster.jobs.journal import JobRecord, MemoryJournal
from cluster.jobs.manager import JobManager
from cluster.jobs.node_news import NodeJoined, NodeLeft
from cluster.jobs.orders import CancelJob, JobView, ResumePlan
from cluster.runtime.actor import stop, tell
from sage.base.clock import SystemClock
from sage.base.errors import JobCancelled, NodeLost, NoRoom, UnknownModel
from sage.base.ids import JobId, NodeId
from sage.base.offer import NodeOffer
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobStatus
from tests.unit.jobs.test_manager import DEADLINE_S, RecordedNode

JOB, NODE = JobId("job"), NodeId("a")
LEFT = JobRecord(JOB, "flow", b"code", JobStatus.CREATED, {}, 2, 1, 5.0, about=b"about")


class Resumed:
    """A manager that took up one job, and a node that has not joined yet."""

    def __init__(self, *, patience_s: float = DEADLINE_S, refusal: UnknownModel | None = None) -> None:
        self.views: queue.SimpleQueue[JobView] = queue.SimpleQueue()
        self.journal = MemoryJournal()
        self.journal.keep(LEFT)
        self.node = RecordedNode(NODE)
        self.manager: ActorRef[JobManager] = JobManager.start(
            SystemClock(), Random(1), journal=self.journal, patience_s=patience_s
        )
        flow = sage.Flow("flow")
        flow.from_collection([1]).map(abs).with_resources(cpus=0.5).collect()
        tell(self.manager, ResumePlan(LEFT, plan_from_graph(flow.graph()), self.views.put, refusal=refusal))

    def next_view(self) -> JobView:
        return self.views.get(timeout=DEADLINE_S)

    def node_joins(self) -> None:
        tell(self.manager, NodeJoined(NODE, self.node, NodeOffer(cpus=1.0)))


@pytest.fixture
def resumed() -> Iterator[Resumed]:
    made = Resumed()
    yield made
    assert stop([made.manager], timeout_s=DEADLINE_S) == []


def test_a_job_waits_for_a_node_and_begins_there_as_a_run_of_its_own(resumed: Resumed) -> None:
    view = resumed.next_view()
    assert (view.metrics.status, view.num_restarts, isinstance(view.error, NoRoom)) == (JobStatus.CREATED, 2, True)
    resumed.node_joins()
    assert resumed.node.next_order() == ("deploy", "job~3")
    assert (resumed.next_view().run_id, resumed.journal.jobs()[0].num_restarts_left) == ("job~3", 1)


def test_a_run_stands_in_the_journal_before_a_node_sees_its_number(resumed: Resumed) -> None:
    resumed.node_joins()
    resumed.node.next_order()
    tasks = resumed.journal.jobs()[0].placement
    assert len(tasks) > 0
    assert all(task_id.startswith("job~3/") for task_id in tasks)


def test_a_job_that_waits_is_cancelled(resumed: Resumed) -> None:
    resumed.next_view()
    tell(resumed.manager, CancelJob(JOB))
    view = resumed.next_view()
    assert (view.metrics.status, view.is_over, isinstance(view.error, JobCancelled)) == (
        JobStatus.CANCELLED, True, True,
    )  # fmt: skip
    assert (resumed.journal.jobs()[0].status, resumed.journal.jobs()[0].code) == (JobStatus.CANCELLED, b"")
    resumed.node_joins()
    assert resumed.node.orders.empty()


def test_a_job_that_loses_its_only_node_waits_for_it_to_come_back(resumed: Resumed) -> None:
    resumed.node_joins()
    resumed.node.next_order()
    tell(resumed.manager, NodeLeft(NODE, NodeLost("silent")))
    while not isinstance((view := resumed.next_view()).error, NoRoom) or view.num_restarts < 3:
        pass
    assert (view.is_over, "silent" in view.error.__notes__[0]) == (False, True)
    resumed.node_joins()
    assert resumed.node.next_order() == ("deploy", "job~4")


def test_a_job_for_which_no_room_comes_fails_in_time_and_says_why() -> None:
    resumed = Resumed(patience_s=0.01)
    while not (view := resumed.next_view()).is_over:
        pass
    assert (view.metrics.status, isinstance(view.error, NoRoom)) == (JobStatus.FAILED, True)
    assert stop([resumed.manager], timeout_s=DEADLINE_S) == []


def test_a_job_that_cannot_be_run_again_fails_by_the_reason() -> None:
    resumed = Resumed(refusal=UnknownModel("no engine serves 'm'"))
    view = resumed.next_view()
    assert (view.is_over, isinstance(view.error, UnknownModel)) == (True, True)
    assert stop([resumed.manager], timeout_s=DEADLINE_S) == []
