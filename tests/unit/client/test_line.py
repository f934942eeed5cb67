"""The line to a head: answers find their askers, and nobody waits for a head that is gone."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from queue import SimpleQueue

import pytest

from cluster.client.connection import LineLost, LineReturned, News
from cluster.client.line import HeadLine
from cluster.runtime.control_clients import (
    ClientToHead,
    Declined,
    Done,
    GetLogs,
    Greet,
    Greeting,
    HeadToClient,
    ListJobs,
    ListNodes,
    LogNews,
    Logs,
    NodeList,
    StopCluster,
    WatchJob,
)
from cluster.runtime.control_printed import LogLine, PrintedTo
from sage.base.errors import ClusterUnreachable, InvalidRequest, UnknownJob, WireMismatch
from sage.base.ids import JobId, NodeId, RequestId
from sage.base.inference import Failed, Failure, GenerateRequest, Reply
from tests.unit.client.scripted_head import ScriptedHead, line_to

DEADLINE_S = 10.0
JOB = JobId("job-1")
BEFORE, AFTER = (
    LogNews(JOB, (LogLine(text, NodeId("node-1"), "print", PrintedTo.PRINT),)) for text in ("before", "after")
)


def answer(message: ClientToHead) -> Iterable[HeadToClient]:
    match message:
        case ListNodes(question):
            yield NodeList(question, ())
        case GetLogs(question, job_id):
            yield Declined(question, Failure.of(UnknownJob(f"no job {job_id}", "See jobs.")))
        case WatchJob(question):
            yield BEFORE
            yield Done(question)
            yield AFTER
        case ListJobs():
            yield Declined(None, Failure.of(WireMismatch("another version")))
        case _:
            pass


def test_a_question_is_answered(tmp_path: Path) -> None:
    with line_to(tmp_path, answer) as (_, line):
        assert line.greet("test").cluster == "scripted"
        assert line.ask(ListNodes, NodeList).nodes == ()


def test_what_the_head_declines_is_raised_as_what_it_is(tmp_path: Path) -> None:
    with line_to(tmp_path, answer) as (_, line), pytest.raises(UnknownJob, match="no job job-1") as caught:
        line.ask(lambda number: GetLogs(number, JOB), Logs)
    assert caught.value.do == "See jobs."


def test_news_of_a_job_reach_its_listener_in_order(tmp_path: Path) -> None:
    seen: list[News] = []
    with line_to(tmp_path, answer) as (_, line):
        line.listen(JOB, seen.append)
        line.ask(lambda number: WatchJob(number, JOB), Done)
        line.ask(ListNodes, NodeList)
    assert seen[:2] == [BEFORE, AFTER]


def test_a_head_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    with line_to(tmp_path, answer) as (_, line), pytest.raises(ClusterUnreachable, match=r"within 0\.05 s"):
        line.ask(StopCluster, Done, timeout_s=0.05)


def test_where_no_head_is_the_greeting_fails_and_leaves_nothing(tmp_path: Path) -> None:
    line = HeadLine(lambda socket: socket.connect(f"ipc://{tmp_path}/no"), where="nowhere")
    with pytest.raises(ClusterUnreachable, match="nowhere"):
        line.greet("test", timeout_s=0.05)


def test_an_address_that_cannot_be_connected_to_fails_as_it_says() -> None:
    def refuse(_: object) -> None:
        raise InvalidRequest("no such address")

    with pytest.raises(InvalidRequest, match="no such address"):
        HeadLine(refuse, where="nowhere").greet("test")


def test_a_head_that_does_not_speak_with_us_says_why(tmp_path: Path) -> None:
    def decline(message: ClientToHead) -> Iterable[HeadToClient]:
        return [Declined(None, Failure.of(WireMismatch("another version")))] if isinstance(message, Greet) else []

    head = ScriptedHead(tmp_path, decline, greets=False)
    try:
        with pytest.raises(WireMismatch, match="another version"):
            HeadLine(head.attach, where="scripted").greet("test")
    finally:
        head.end()


def test_when_the_head_is_gone_everybody_who_waits_is_told(tmp_path: Path) -> None:
    seen: list[News] = []
    replies: list[Reply] = []
    with line_to(tmp_path, answer) as (head, line):
        line.listen(JOB, seen.append)
        line.submit([GenerateRequest(RequestId("r"), "m", "hello")], replies.extend)
        line.ask(ListNodes, NodeList)
        head.end()
        with pytest.raises(ClusterUnreachable, match="lost"):
            line.ask(StopCluster, Done)
        with pytest.raises(ClusterUnreachable, match="lost"):
            line.ask(ListNodes, NodeList)
    assert [type(news) for news in seen] == [LineLost]
    assert [type(reply) for reply in replies] == [Failed]


def test_a_line_that_the_head_declines_later_is_lost(tmp_path: Path) -> None:
    with line_to(tmp_path, answer) as (_, line):
        with pytest.raises(WireMismatch):
            line.ask(ListJobs, NodeList)
        with pytest.raises(WireMismatch):
            line.ask(ListNodes, NodeList)


def test_a_closed_line_refuses_at_once(tmp_path: Path) -> None:
    with line_to(tmp_path, answer) as (_, line):
        line.close()
        with pytest.raises(ClusterUnreachable, match="closed"):
            line.ask(ListNodes, NodeList)


def test_a_head_that_comes_back_is_found_again_and_asked_again(tmp_path: Path) -> None:
    seen: list[News] = []
    answers: SimpleQueue[object] = SimpleQueue()

    def nodes_only(message: ClientToHead) -> Iterable[HeadToClient]:
        return answer(message) if isinstance(message, ListNodes) else []

    with line_to(tmp_path, nodes_only, reconnect_s=DEADLINE_S) as (head, line):
        line.listen(JOB, seen.append)
        line.ask(ListNodes, NodeList)
        line.call(lambda number: WatchJob(number, JOB), answers.put)
        head.end()
        other = ScriptedHead(tmp_path, answer, epoch=2)
        try:
            assert isinstance(answers.get(timeout=DEADLINE_S), Done)
            assert line.ask(ListNodes, NodeList).nodes == ()
        finally:
            other.end()
    assert seen[:3] == [LineReturned(2), BEFORE, AFTER]


def test_a_head_that_does_not_come_back_is_given_up_in_time_and_says_what_to_do(tmp_path: Path) -> None:
    seen: SimpleQueue[News] = SimpleQueue()
    with line_to(tmp_path, answer, reconnect_s=0.3) as (head, line):
        line.listen(JOB, seen.put)
        line.ask(ListNodes, NodeList)
        head.end()
        news = seen.get(timeout=DEADLINE_S)
        assert isinstance(news, LineLost)
        assert "has not come back within 0.3 s" in news.error.what
        with pytest.raises(ClusterUnreachable, match="has not come back"):
            line.ask(ListNodes, NodeList)


@pytest.mark.parametrize("job_is_over", [False, True])
def test_a_head_is_looked_for_only_while_somebody_waits_for_a_job(tmp_path: Path, job_is_over: bool) -> None:
    with line_to(tmp_path, answer, reconnect_s=DEADLINE_S) as (head, line):
        if job_is_over:
            line.listen(JOB, lambda news: None)
            line.listen_no_more(JOB)
        line.ask(ListNodes, NodeList)
        head.end()
        with pytest.raises(ClusterUnreachable, match="lost"):
            line.ask(ListNodes, NodeList)


def test_requests_to_models_are_answered_when_their_head_is_lost_and_while_it_is_looked_for(tmp_path: Path) -> None:
    replies: SimpleQueue[Sequence[Reply]] = SimpleQueue()
    with line_to(tmp_path, answer, reconnect_s=DEADLINE_S) as (head, line):
        line.listen(JOB, lambda news: None)
        line.submit([GenerateRequest(RequestId("a"), "m", "hello")], replies.put)
        line.ask(ListNodes, NodeList)
        head.end()
        assert [type(reply) for reply in replies.get(timeout=DEADLINE_S)] == [Failed]
        line.submit([GenerateRequest(RequestId("b"), "m", "hello")], replies.put)
        assert [type(reply) for reply in replies.get(timeout=DEADLINE_S)] == [Failed]


def test_a_head_that_says_nothing_any_more_is_lost(tmp_path: Path) -> None:
    """It is there, takes what comes and answers nothing, as one behind a cut cable; silence is noticed by its lease."""

    def greet_only(message: ClientToHead) -> Iterable[HeadToClient]:
        match message:
            case Greet(question):
                return [Greeting(question, "scripted", 1, heartbeat_s=0.02, lease_s=0.1)]
            case _:
                return []

    seen: SimpleQueue[News] = SimpleQueue()
    head = ScriptedHead(tmp_path, greet_only, greets=False)
    line = HeadLine(head.attach, where="scripted")
    try:
        line.greet("test")
        line.listen(JOB, seen.put)
        news = seen.get(timeout=DEADLINE_S)
        assert isinstance(news, LineLost)
        assert "the head has said nothing for" in news.error.what
    finally:
        line.close()
        head.end()
