"""Jobs in the journal: written down before they run, at each change and at their end."""

import queue
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pykka import ActorRef
from structlog.testing import capture_logs

import sage
from cluster.jobs.journal import JobRecord, Journal, MemoryJournal
from cluster.jobs.manager import JobManager
from cluster.jobs.node_news import NodeJoined, NodeLeft
from cluster.jobs.node_port import Deployment
from cluster.jobs.orders import CancelJob, JobView, NodesNow, SubmitPlan
from cluster.jobs.recovery import BeginAgain, recover
from cluster.jobs.sqlite_journal import SqliteJournal
from cluster.jobs.waiting import RETRY_S
from cluster.runtime.actor import ask, stop, tell
from cluster.runtime.messages import JobOpened, JobSetAside, JobStopped
from cluster.runtime.saving import CheckpointStage
from sage.base.clock import ManualClock
from sage.base.errors import JournalUnusable, NodeLost
from sage.base.ids import JobId, NodeId
from sage.base.offer import NodeOffer
from sage.flow.plan import Plan, plan_from_graph
from sage.flow.runner import DeadLetterRecord, JobStatus

DEADLINE_S = 10.0
A, B = NodeId("a"), NodeId("b")
JOB = JobId("job")


class DeafNode:
    """Takes orders and does nothing."""

    def __init__(self) -> None:
        self.num_orders = 0
        self.num_deployed = 0

    def deploy(self, deployment: Deployment) -> None:
        self.num_orders += 1
        self.num_deployed += 1

    def begin(self, run_id: JobId) -> None:
        self.num_orders += 1

    def checkpoint(self, run_id: JobId, checkpoint_id: int, stage: CheckpointStage) -> None:
        self.num_orders += 1

    def stop(self, run_id: JobId) -> None:
        self.num_orders += 1


class StuckJournal(MemoryJournal):
    """A journal whose disk is full while `is_full`."""

    is_full = False

    def keep(self, record: JobRecord) -> None:
        if self.is_full:
            raise JournalUnusable("disk full")
        super().keep(record)


class Managed:
    """A manager with two deaf nodes and this journal."""

    def __init__(self, journal: Journal, *, patience_s: float = 0.0) -> None:
        self.views: queue.SimpleQueue[JobView] = queue.SimpleQueue()
        self.node = DeafNode()
        self.clock = ManualClock(unix_s=50.0)
        self.manager: ActorRef[Any] = JobManager.start(self.clock, Random(1), journal=journal, patience_s=patience_s)
        for node_id in (A, B):
            tell(self.manager, NodeJoined(node_id, self.node, NodeOffer(cpus=1.0)))

    def submit(self, *, num_restarts: int = 0) -> None:
        flow = sage.Flow("flow")
        flow.from_collection([1]).map(abs).with_parallelism(2).with_resources(cpus=0.5).collect()
        plan = plan_from_graph(flow.graph())
        order = SubmitPlan(plan, self.views.put, JOB, num_restarts, code=b"module:flow")
        ask(self.manager, order, timeout_s=DEADLINE_S)

    def told(self, *facts: object) -> None:
        """Tell the manager, and wait until it has taken all of it."""
        for fact in facts:
            tell(self.manager, fact)
        ask(self.manager, NodesNow(), timeout_s=DEADLINE_S)

    def end(self) -> None:
        assert stop([self.manager], timeout_s=DEADLINE_S) == []


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Journal:
    return MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "jobs.db")


def only(journal: Journal) -> JobRecord:
    (record,) = journal.jobs()
    return record


def test_the_journal_follows_a_job_from_before_it_runs_to_its_end(journal: Journal) -> None:
    managed = Managed(journal)
    managed.submit()
    first = only(journal)
    assert (first.name, first.code, first.status, first.created_unix_s) == ("flow", b"module:flow", "created", 50.0)
    assert set(first.placement.values()) == {A, B}
    letter = DeadLetterRecord("1", "map", "x", "bad", "")
    managed.told(JobOpened(JOB, A), JobOpened(JOB, B), JobSetAside(JOB, (letter, letter)))
    assert only(journal).status is JobStatus.RUNNING
    managed.told(CancelJob(JOB), JobStopped(JOB, A, ()), JobStopped(JOB, B, ()))
    last = only(journal)
    assert (last.status, last.ended_unix_s, last.num_dead_letters) == (JobStatus.CANCELLED, 50.0, 2)
    assert last.error is not None
    assert last.error.failure.what == "job job was cancelled"
    managed.end()
    journal.close()


def test_a_run_that_begins_anew_is_written_down_with_what_is_left(journal: Journal) -> None:
    managed = Managed(journal)
    managed.submit(num_restarts=2)
    managed.told(NodeLeft(A, NodeLost("a is silent")), JobStopped(JOB, B, ()))
    record = only(journal)
    assert (record.status, record.num_restarts, record.num_restarts_left) == (JobStatus.CREATED, 1, 1)
    assert set(record.placement.values()) == {B}
    assert all(task_id.startswith("job~2/") for task_id in record.placement)
    managed.end()
    journal.close()


def test_a_job_that_cannot_be_written_down_is_not_started() -> None:
    journal = StuckJournal()
    journal.is_full = True
    managed = Managed(journal)
    with pytest.raises(JournalUnusable, match="disk full"):
        managed.submit()
    assert managed.node.num_orders == 0
    assert all(node.num_tasks == 0 for node in ask(managed.manager, NodesNow(), timeout_s=DEADLINE_S))
    journal.is_full = False
    managed.submit()
    managed.end()


@pytest.mark.parametrize("is_over", [False, True])
def test_what_could_not_be_written_is_logged_and_written_with_the_next_change(is_over: bool) -> None:
    journal = StuckJournal()
    managed = Managed(journal)
    managed.submit()
    journal.is_full = True
    with capture_logs() as logs:
        managed.told(JobOpened(JOB, A), JobOpened(JOB, B))
        if is_over:
            managed.told(CancelJob(JOB), JobStopped(JOB, A, ()), JobStopped(JOB, B, ()))
    assert {(line["event"], line["why"]) for line in logs} == {("job not written down", "disk full")}
    journal.is_full = False
    order = SubmitPlan(_plan(), managed.views.put, JobId("other"))
    ask(managed.manager, order, timeout_s=DEADLINE_S)
    managed.told(JobOpened(JobId("other"), A), JobOpened(JobId("other"), B))
    assert journal.jobs()[0].status is (JobStatus.CANCELLED if is_over else JobStatus.RUNNING)
    managed.end()


def test_a_run_that_cannot_be_written_down_waits_until_it_can() -> None:
    """Else a head that comes back begins another run of the same id (seed 294 of the simulated clusters)."""
    journal = StuckJournal()
    managed = Managed(journal, patience_s=60.0)
    managed.submit(num_restarts=2)
    journal.is_full = True
    managed.told(NodeLeft(A, NodeLost("a is silent")), JobStopped(JOB, B, ()))
    managed.told(NodeJoined(A, managed.node, NodeOffer(cpus=1.0)))
    assert managed.node.num_deployed == 2, "on two nodes, once"
    assert journal.jobs()[0].num_restarts == 0
    journal.is_full = False
    managed.clock.advance(RETRY_S)
    managed.told(NodeLeft(A, NodeLost("a is silent")), NodeJoined(A, managed.node, NodeOffer(cpus=1.0)))
    assert managed.node.num_deployed > 2
    assert journal.jobs()[0].num_restarts == 1
    managed.end()


def test_a_manager_that_is_started_again_knows_what_ran_and_what_to_do_about_it(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path / "jobs.db") as journal:
        managed = Managed(journal)
        managed.submit(num_restarts=1)
        managed.told(JobOpened(JOB, A), JobOpened(JOB, B))
        managed.end()
    with SqliteJournal(tmp_path / "jobs.db") as journal:
        (order,) = recover(journal.jobs(), now_unix_s=60.0)
    assert isinstance(order, BeginAgain)
    assert (order.record.id, order.record.code, order.record.num_restarts) == (JOB, b"module:flow", 1)


def _plan() -> Plan:
    flow = sage.Flow("other")
    flow.from_collection([1]).collect()
    return plan_from_graph(flow.graph())
