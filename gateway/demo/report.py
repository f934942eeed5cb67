"""What came of a demo, as a value: answers with their passages, and what ran where. Knows no terminal."""

from collections.abc import Sequence

import msgspec

from gateway.demo.flow import EMBED_STEP, Answered
from gateway.demo.table import what_ran_where
from sage.flow.index import Passage
from sage.flow.runner import EngineStatus, JobMetrics


class AnswerReport(msgspec.Struct, frozen=True):
    """`is_right`: whether a passage is of a labelled topic; None where the question has no label."""

    question: str
    passages: tuple[Passage, ...]
    answer: str
    is_right: bool | None


class Milestones(msgspec.Struct, frozen=True):
    """When what was reached, in seconds from the job's start; 0 where it never was."""

    embedding_s: float = 0.0
    chat_s: float = 0.0
    indexed_s: float = 0.0
    answered_s: float = 0.0


class DemoReport(msgspec.Struct, frozen=True):
    """A whole run."""

    answers: tuple[AnswerReport, ...]
    milestones: Milestones
    metrics: JobMetrics
    engines: tuple[EngineStatus, ...]


def report_of(
    answers: Sequence[Answered], milestones: Milestones, metrics: JobMetrics, engines: Sequence[EngineStatus]
) -> DemoReport:
    """Return the report, its answers in the order of their questions."""
    in_order = sorted(answers, key=lambda answered: answered.found.question.number)
    return DemoReport(tuple(map(_answer, in_order)), milestones, metrics, tuple(engines))


def text_of(report: DemoReport) -> str:
    """Return what stands below the answers: how fast it went in words, then what ran where."""
    return "\n".join([*_lines(report), "", what_ran_where(report.metrics, report.engines)])


def _lines(report: DemoReport) -> list[str]:
    reached = report.milestones
    num_chunks = sum(chain.records_out for chain in report.metrics.chains if EMBED_STEP in chain.steps)
    num_tokens = sum(engine.completion_tokens for engine in report.engines)
    lines = [
        f"{reached.embedding_s:5.1f} s  the embedding engine is ready, {reached.chat_s:.1f} s: the chat engine",
        f"{reached.indexed_s:5.1f} s  {num_chunks:,} passages are indexed"
        + _rate(num_chunks, "passages", reached.indexed_s - reached.embedding_s),
        f"{reached.answered_s:5.1f} s  {_questions(len(report.answers))} answered"
        + _rate(num_tokens, "tokens", reached.answered_s - max(reached.indexed_s, reached.chat_s)),
    ]
    labelled = [answer.is_right for answer in report.answers if answer.is_right is not None]
    if labelled:
        lines.append(
            f"         the right topic is among the best passages of {sum(labelled)} of {len(labelled)} questions"
        )
    return lines


def _questions(num: int) -> str:
    return "1 question is" if num == 1 else f"{num} questions are"


def _rate(num: int, noun: str, seconds: float) -> str:
    return f" ({num / seconds:,.0f} {noun}/s)" if seconds > 0 else ""


def _answer(answered: Answered) -> AnswerReport:
    found = answered.found
    is_right = found.is_right if found.question.topics else None
    return AnswerReport(found.question.text, found.passages, answered.answer, is_right)
