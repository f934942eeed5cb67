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


class DemoReport(msgspec.Struct, frozen=True):
    """A whole run. `started_s`: until the engines were up; the job's time is in `metrics`."""

    answers: tuple[AnswerReport, ...]
    metrics: JobMetrics
    engines: tuple[EngineStatus, ...]
    started_s: float


def report_of(
    answers: Sequence[Answered], metrics: JobMetrics, engines: Sequence[EngineStatus], *, started_s: float
) -> DemoReport:
    """Return the report, its answers in the order of their questions."""
    in_order = sorted(answers, key=lambda answered: answered.found.question.number)
    return DemoReport(tuple(map(_answer, in_order)), metrics, tuple(engines), started_s)


def _answer(answered: Answered) -> AnswerReport:
    found = answered.found
    is_right = found.is_right if found.question.topics else None
    return AnswerReport(found.question.text, found.passages, answered.answer, is_right)


def text_of(report: DemoReport) -> str:
    """Return what stands below the answers: a line in words, then the table."""
    metrics = report.metrics
    num_chunks = sum(chain.records_out for chain in metrics.chains if EMBED_STEP in chain.steps)
    tokens = sum(engine.prompt_tokens + engine.completion_tokens for engine in report.engines)
    done = f"{num_chunks:,} passages indexed and {len(report.answers)} questions answered in {metrics.duration_s:.1f} s"
    lines = [f"{done}, after {report.started_s:.1f} s to start the engines; {tokens:,} tokens went through them."]
    labelled = [answer.is_right for answer in report.answers if answer.is_right is not None]
    if labelled:
        lines.append(
            f"The right topic is among the first passages of {sum(labelled)} of {len(labelled)} labelled questions."
        )
    return "\n".join([*lines, "", what_ran_where(metrics, report.engines)])
