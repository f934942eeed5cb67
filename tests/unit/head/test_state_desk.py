"""Questions for states at the head: each goes to the node of its task, and the answer to whoever asked."""

import pytest

import sage
from cluster.head.book import JobBook
from cluster.head.open_questions import MAX_ASKED, WAITS_S
from cluster.head.state_desk import StateDesk
from cluster.jobs.orders import JobView
from cluster.jobs.outline import outline_from_plan
from cluster.runtime.channel import PeerId
from cluster.runtime.control import ControlMessage
from cluster.runtime.control_clients import Declined
from cluster.runtime.control_message import RemoteFailure
from cluster.runtime.control_state import GetState, LookUpState, StateAnswer, StateFound
from cluster.runtime.travelling_code import FileCode
from sage.base.clock import ManualClock
from sage.base.errors import Overloaded, StateUnreachable, UnknownJob, UnknownState
from sage.base.ids import JobId, NodeId, TaskId
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobMetrics, JobStatus

JOB, NODE, CLIENT = JobId("job"), NodeId("a"), PeerId(0, b"client")


class Desk:
    """A desk with one job whose count has two instances, and what it said."""

    def __init__(self) -> None:
        flow = sage.Flow("flow")
        flow.from_collection([1]).key_by(abs).count().named("count").with_parallelism(2).named("count").collect()
        plan = plan_from_graph(flow.graph())
        self.clock, self.book = ManualClock(), JobBook()
        outline = outline_from_plan(plan)
        assert [step.name for step in outline.steps if step.has_state] == ["count"]
        self.entry = self.book.add(JOB, FileCode("f.py:f", "0" * 64), outline, submitted_unix_s=1.0, collector=None)
        self.book.begin_run(self.entry, JOB, [(TaskId(f"job/count/{at}"), NODE) for at in range(2)])
        self.entry.view = JobView(JobMetrics(JobStatus.RUNNING, 1, 1, 0.1, ()), None, 0, False, JOB, 0)
        self.told: list[LookUpState] = []
        self.sent: list[tuple[PeerId, ControlMessage]] = []
        self.is_member = True
        self.desk = StateDesk(
            self.book, self._tell, lambda peer, said: self.sent.append((peer, said)), self.clock.monotonic_s
        )

    def _tell(self, node_id: NodeId, message: ControlMessage) -> bool:
        assert isinstance(message, LookUpState)
        if self.is_member and node_id == NODE:
            self.told.append(message)
        return self.is_member and node_id == NODE

    def ask(self, question: int = 1, *, job: JobId = JOB, step: str = "count", instance: int = 1) -> None:
        self.desk.ask(CLIENT, GetState(question, job, step, instance, b"key"))


def test_a_question_goes_to_the_node_of_the_instance_and_each_answer_to_its_question() -> None:
    desk = Desk()
    desk.ask(7, instance=0)
    desk.ask(8, instance=1)
    assert [(order.task_id, order.key) for order in desk.told] == [("job/count/0", b"key"), ("job/count/1", b"key")]
    failure = RemoteFailure.of(UnknownState("no"))
    desk.desk.found(NODE, StateFound(desk.told[1].number, b"", "", failure))
    for _ in range(2):  # what comes twice is passed over
        desk.desk.found(NODE, StateFound(desk.told[0].number, b"value", "5", None))
    assert desk.sent == [(CLIENT, Declined(8, failure.failure)), (CLIENT, StateAnswer(7, b"value", "5"))]


def test_another_node_cannot_answer_for_the_one_that_was_asked() -> None:
    desk = Desk()
    desk.ask()
    desk.desk.found(NodeId("b"), StateFound(desk.told[0].number, b"forged", "6", None))
    assert desk.sent == []


def test_what_runs_nowhere_is_refused() -> None:
    desk = Desk()
    with pytest.raises(UnknownJob):
        desk.ask(job=JobId("other"))
    with pytest.raises(UnknownState, match="no instance 2"):
        desk.ask(instance=2)
    with pytest.raises(UnknownState, match="a step 'nope'"):
        desk.ask(step="nope")
    desk.is_member = False
    with pytest.raises(StateUnreachable, match="task job/count/1 does not run now"):
        desk.ask()
    desk.is_member = True
    desk.entry.view = JobView(JobMetrics(JobStatus.FINISHED, 1, 1, 0.1, ()), None, 0, True, JOB, 0)
    with pytest.raises(StateUnreachable):
        desk.ask()


def test_questions_are_bounded_and_those_that_nobody_waits_for_are_forgotten() -> None:
    desk = Desk()
    for question in range(MAX_ASKED):
        desk.ask(question)
    with pytest.raises(Overloaded):
        desk.ask(MAX_ASKED)
    desk.clock.advance(WAITS_S)
    desk.ask(MAX_ASKED)
    desk.desk.found(NODE, StateFound(desk.told[0].number, b"late", "", None))
    assert desk.sent == []
