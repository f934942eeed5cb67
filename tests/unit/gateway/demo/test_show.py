"""What the demo writes while it runs."""

import io

import pytest

from gateway.demo.flow import CHUNK_STEP, EMBED_STEP, Answered
from gateway.demo.progress import QuarterLines, counts_of
from gateway.demo.questions import Found, Question
from gateway.demo.show import Show
from sage.base.ids import NodeId
from sage.flow.index import Passage
from sage.flow.runner import ChainMetrics, JobMetrics, JobStatus

FOUND = Found(Question(1, "Why?"), (Passage("It is so.", 0.75, "try: finally clause"),))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def metrics(done: int, total: int) -> JobMetrics:
    chains = (
        ChainMetrics("topics", ("topics", "chunk"), (NodeId("n"),), 1, 79, 1000),
        ChainMetrics("each", (CHUNK_STEP, "map"), (NodeId("n"),), 1, 1000, total),
        ChainMetrics("embed", (EMBED_STEP,), (NodeId("n"),), 1, total, done),
    )
    return JobMetrics(JobStatus.RUNNING, 79, 0, 1.0, chains)


def test_progress_counts_chunks_that_were_embedded_of_those_that_there_are() -> None:
    assert counts_of(metrics(64, 705), step=EMBED_STEP, before=CHUNK_STEP) == (64, 705)


def test_plain_progress_is_a_line_a_quarter() -> None:
    out = io.StringIO()
    progress = QuarterLines("indexing", out)
    for done, total in ((0, 0), (0, 0), (10, 100), (25, 100), (30, 100), (80, 100), (100, 100)):
        progress.show(done, total)
    assert out.getvalue().splitlines() == [
        "indexing",
        "indexing: 25 of 100",
        "indexing: 80 of 100",
        "indexing: 100 of 100",
    ]


def test_progress_ends_where_the_first_question_begins() -> None:
    out, err = io.StringIO(), io.StringIO()
    show = Show(1, out=out, err=err)
    show.on_progress(metrics(0, 0))
    listeners = show.listeners()
    listeners.on_found(FOUND)
    show.on_progress(metrics(705, 705))
    listeners.on_token(FOUND, " So.")
    listeners.on_answered(Answered(FOUND, "So."))
    assert err.getvalue() == "indexing the Python reference\n"
    assert "1. Why?" in out.getvalue()
    assert show.answers == [Answered(FOUND, "So.")]


def test_a_terminal_gets_a_bar_that_is_cleared_and_bold_questions() -> None:
    out, err = Terminal(), Terminal()
    show = Show(1, out=out, err=err)
    show.on_progress(metrics(64, 705))
    show.close()
    show.close()
    assert "indexing the Python reference" in err.getvalue()
    show.listeners().on_found(FOUND)
    assert "\x1b[1m1. Why?\x1b[0m" in out.getvalue()


def test_an_answer_that_was_broken_off_ends_its_line_once() -> None:
    out = io.StringIO()
    show = Show(1, out=out, err=io.StringIO())
    show.listeners().on_token(FOUND, " It is")
    show.close()
    show.close()
    assert out.getvalue().endswith("It is\n")


class Closed(io.StringIO):
    def write(self, text: str, /) -> int:
        raise BrokenPipeError


def test_a_reader_that_left_does_not_keep_the_demo_from_closing() -> None:
    show = Show(1, out=Closed(), err=io.StringIO())
    with pytest.raises(BrokenPipeError):
        show.listeners().on_token(FOUND, " It is")
    show.close()
