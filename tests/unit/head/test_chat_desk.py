"""Chat requests at the head: to the node that reads them, and back; each ends once, whatever happens meanwhile."""

from dataclasses import dataclass, field

import pytest

import sage
from cluster.head.book import JobBook, JobEntry
from cluster.head.chat_desk import ChatDesk, ChatPorts
from cluster.jobs.orders import JobView
from cluster.jobs.outline import outline_from_plan
from cluster.runtime.control import ControlMessage, TurnsAsked, TurnsWithdrawn
from cluster.runtime.job_outline import PlanOutline
from cluster.runtime.travelling_code import FileCode
from sage.base.clock import ManualClock
from sage.base.errors import NameTaken
from sage.base.ids import JobId, NodeId, RequestId, TaskId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Failed,
    Failure,
    Finished,
    GenerateRequest,
    Last,
    Reply,
    Token,
    Usage,
)
from sage.base.settings import ChatSettings
from sage.base.turns import Place, TurnFailed, TurnShareEnded, TurnText, TurnUsed
from sage.flow.plan import plan_from_graph
from sage.flow.runner import JobMetrics, JobStatus

JOB = JobId("job")
SETTINGS = ChatSettings(max_open=2, max_turn_s=60.0, max_answer_bytes=100)
NODE_A, NODE_B = NodeId("a"), NodeId("b")


def outline(name: str = "bot") -> PlanOutline:
    flow = sage.Flow("rag")
    flow.from_chat(name).map(str).reply()
    return outline_from_plan(plan_from_graph(flow.graph()))


def view(status: JobStatus, run_id: str = "job", *, is_over: bool = False) -> JobView:
    return JobView(JobMetrics(status, 0, 0, 0.0, ()), None, 0, is_over, JobId(run_id), 0)


def request(name: str, timeout_s: float | None = None) -> ChatRequest:
    return ChatRequest(RequestId(name), "bot", (ChatMessage("user", "hi"),), timeout_s=timeout_s)


@dataclass
class Desk:
    """A desk with one flow that runs, as `bot`, on nodes a (which reads) and b."""

    clock: ManualClock = field(default_factory=ManualClock)
    book: JobBook = field(default_factory=JobBook)
    sent: list[tuple[NodeId, ControlMessage]] = field(default_factory=list)
    wakes: list[float] = field(default_factory=list)
    came: dict[str, list[Reply]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.desk = ChatDesk(
            ChatPorts(
                self.book,
                lambda node_id, message: self.sent.append((node_id, message)),
                self.wakes.append,
                {"engine's"}.__contains__,
                SETTINGS,
                self.clock,
            )
        )
        code = FileCode("flow.py:flow", "0" * 64)
        self.entry: JobEntry = self.book.add(JOB, code, outline(), submitted_unix_s=1.0, collector=None)
        nodes = [(TaskId("job/from_chat/0"), NODE_A), (TaskId("job/other/0"), NODE_B)]
        self.book.begin_run(self.entry, JOB, nodes)
        self.entry.view = view(JobStatus.RUNNING)

    def ask(self, *requests: ChatRequest | GenerateRequest) -> None:
        for one in requests:
            self.came[one.id] = []
            self.desk.submit([one], self.came[one.id].extend)

    def text(self, name: str, text: str) -> None:
        self.desk.hear(JOB, [TurnText(RequestId(name), Place(), "s", text)])

    def end(self, name: str, *, is_reply: bool = True) -> None:
        self.desk.hear(JOB, [TurnShareEnded(RequestId(name), Place(), "s", "stop" if is_reply else None)])

    def code(self, name: str) -> str:
        """Return by which error a request has ended; it has ended once."""
        lasts = [reply for reply in self.came[name] if isinstance(reply, Last)]
        [last] = lasts
        assert isinstance(last, Failed)
        return last.failure.code

    def withdrawn(self) -> list[tuple[NodeId, tuple[RequestId, ...]]]:
        return sorted((node, one.turn_ids) for node, one in self.sent if isinstance(one, TurnsWithdrawn))


def test_a_request_goes_to_the_node_that_reads_and_its_answer_comes_back_with_what_it_took() -> None:
    desk = Desk()
    desk.ask(request("r"))
    assert desk.sent == [(NODE_A, TurnsAsked(JOB, "from_chat", (request("r"),)))]
    desk.text("r", "Hel")
    desk.desk.hear(JOB, [TurnUsed(RequestId("r"), Usage(4, 2))])
    desk.text("r", "lo")
    desk.end("r")
    tokens, [last] = desk.came["r"][:-1], desk.came["r"][-1:]
    assert [token.text for token in tokens if isinstance(token, Token)] == ["Hel", "lo"]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage) == ("stop", Usage(4, 2))
    assert desk.withdrawn() == []


def test_what_is_said_after_the_end_or_by_another_run_is_passed_over() -> None:
    desk = Desk()
    desk.ask(request("r"))
    desk.desk.hear(JobId("job~0"), [TurnText(RequestId("r"), Place(), "s", "old")])
    desk.end("r")
    num_replies = len(desk.came["r"])
    desk.text("r", "late")
    assert len(desk.came["r"]) == num_replies == 1


def test_a_flow_that_is_full_refuses_and_says_when_to_come_again_until_one_has_ended() -> None:
    desk = Desk()
    desk.ask(request("r"), request("s"), request("t"))
    assert desk.code("t") == "SAGE-2201"
    [refusal] = desk.came["t"]
    assert isinstance(refusal, Failed)
    assert refusal.failure.retry_after_s == 1.0
    desk.end("r")
    desk.ask(request("u"))
    assert desk.came["u"] == []


def test_a_caller_that_leaves_has_it_withdrawn_on_every_node_of_the_run() -> None:
    desk = Desk()
    desk.ask(request("r"))
    desk.desk.cancel([RequestId("r"), RequestId("unknown")])
    assert desk.code("r") == "SAGE-2206"
    assert desk.withdrawn() == [(NODE_A, ("r",)), (NODE_B, ("r",))]


def test_a_record_that_failed_fails_the_request_and_ends_the_rest_of_it() -> None:
    desk = Desk()
    desk.ask(request("r"))
    desk.desk.hear(JOB, [TurnFailed(RequestId("r"), Failure("SAGE-1301", "it broke"))])
    assert desk.code("r") == "SAGE-1301"
    assert len(desk.withdrawn()) == 2


def test_a_request_whose_records_are_all_left_away_is_told_that_there_is_no_reply() -> None:
    desk = Desk()
    desk.ask(request("r"))
    desk.end("r", is_reply=False)
    assert desk.code("r") == "SAGE-1309"


def test_the_callers_deadline_and_the_longest_time_of_all_end_a_request() -> None:
    desk = Desk()
    desk.ask(request("r", timeout_s=5.0), request("s"))
    assert desk.wakes == [5.0, 5.0]
    desk.clock.advance(5.0)
    desk.desk.on_due()
    assert desk.code("r") == "SAGE-2205"
    assert desk.wakes[-1] == 60.0
    desk.clock.advance(55.0)
    desk.desk.on_due()
    assert desk.code("s") == "SAGE-2205"


def test_an_answer_without_end_is_cut_off() -> None:
    desk = Desk()
    desk.ask(request("r"))
    desk.text("r", "x" * 100)
    assert len(desk.came["r"]) == 1
    desk.text("r", "x")
    assert desk.code("r") == "SAGE-1203"


@pytest.mark.parametrize("how", ["told to stop", "over", "another run"])
def test_the_end_of_a_run_ends_what_it_worked_on(how: str) -> None:
    desk = Desk()
    desk.ask(request("r"))
    if how == "told to stop":
        desk.desk.run_ends(JOB)
    elif how == "over":
        desk.entry.view = view(JobStatus.FAILED, is_over=True)
        desk.desk.job_changed(desk.entry)
    else:
        desk.book.begin_run(desk.entry, JobId("job~2"), [(TaskId("job~2/from_chat/0"), NODE_B)])
        desk.entry.view = view(JobStatus.RUNNING, "job~2")
        desk.desk.job_changed(desk.entry)
    assert desk.code("r") == "SAGE-2202"


def test_a_flow_is_asked_only_while_it_runs_and_only_to_chat() -> None:
    desk = Desk()
    desk.ask(GenerateRequest(RequestId("g"), "bot", "hi"))
    assert desk.code("g") == "SAGE-1203"
    desk.entry.view = view(JobStatus.CREATED)
    desk.ask(request("r"))
    assert desk.code("r") == "SAGE-2202"
    desk.entry.view = view(JobStatus.CANCELLED, is_over=True)
    assert not desk.desk.answers_as("bot")


def test_a_name_that_is_taken_is_refused_and_free_again_once_the_job_is_over() -> None:
    desk = Desk()
    with pytest.raises(NameTaken, match="the flow 'rag' \\(job job\\) answers as 'bot'"):
        desk.desk.check(outline())
    with pytest.raises(NameTaken, match="is a model of this cluster"):
        desk.desk.check(outline("engine's"))
    desk.desk.check(outline("other"))
    desk.entry.view = view(JobStatus.CANCELLED, is_over=True)
    desk.desk.check(outline())


def test_flows_are_listed_with_how_much_they_have_to_do() -> None:
    desk = Desk()
    desk.ask(request("r"))
    [model] = desk.desk.models()
    assert (model.name, model.flow, model.job_id, model.is_ready, model.num_open) == ("bot", "rag", JOB, True, 1)
