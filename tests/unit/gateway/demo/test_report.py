"""What is printed below the answers."""

from gateway.demo.flow import EMBED_STEP, Answered
from gateway.demo.questions import Found, Question
from gateway.demo.report import Milestones, report_of, text_of
from sage.base.ids import NodeId
from sage.base.inference import Kind, ModelCard
from sage.flow.index import Passage
from sage.flow.runner import ChainMetrics, EngineStatus, JobMetrics, JobStatus

CHAIN = ChainMetrics("embed", (EMBED_STEP,), (NodeId("local"),), 1, 700, 700)
CHAT = ModelCard("chat", (Kind.CHAT,), 8192)
ENGINE = EngineStatus("chat", "openvino", "ready", "CPU", False, (CHAT,), 0, 10, 4000, 200)
METRICS = JobMetrics(JobStatus.FINISHED, 89, 10, 12.0, (CHAIN,))


def answered(number: int, topic: str, *labels: str) -> Answered:
    passage = Passage("text", 0.5, f"{topic}: section")
    return Answered(Found(Question(number, f"q{number}", frozenset(labels)), (passage,)), "answer")


def test_answers_are_in_the_order_of_their_questions_and_say_whether_the_topic_was_right() -> None:
    answers = [answered(2, "for", "try"), answered(1, "try", "try"), answered(3, "try")]
    report = report_of(answers, Milestones(), METRICS, [ENGINE])
    assert [(answer.question, answer.is_right) for answer in report.answers] == [
        ("q1", True),
        ("q2", False),
        ("q3", None),
    ]


def test_rates_are_over_the_time_in_which_the_work_was_done() -> None:
    text = text_of(report_of([answered(1, "try", "try")], Milestones(2.0, 3.0, 9.0, 11.0), METRICS, [ENGINE]))
    assert "700 passages are indexed (100 passages/s)" in text
    assert "1 question is answered (100 tokens/s)" in text
    assert "the right topic is among the best passages of 1 of 1 questions" in text
    assert "chat (openvino)" in text


def test_questions_without_labels_are_not_judged() -> None:
    assert "right topic" not in text_of(report_of([answered(1, "try")], Milestones(), METRICS, []))
