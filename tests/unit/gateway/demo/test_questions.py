"""Which questions are asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest

from gateway.demo.questions import Found, Question, asked_questions, built_in_questions
from sage.base.errors import InvalidRequest
from sage.flow.index import Passage


@contextmanager
def piped(text: str | None) -> Iterator[TextIO]:
    """A pipe with `text` in it and closed, or open and empty."""
    reading, writing = os.pipe()
    if text is not None:
        os.write(writing, text.encode())
        os.close(writing)
    with os.fdopen(reading) as stdin:
        yield stdin
    if text is None:
        os.close(writing)


def test_questions_on_the_command_line_win_over_piped_ones() -> None:
    with piped("piped?\n") as stdin:
        assert asked_questions(["one?", " two? "], stdin) == [Question(1, "one?"), Question(2, "two?")]


def test_piped_lines_are_questions_and_empty_lines_are_left_out() -> None:
    with piped("one?\n\n  \ntwo?") as stdin:
        assert asked_questions([], stdin) == [Question(1, "one?"), Question(2, "two?")]


def test_a_file_as_standard_input_is_read(tmp_path: Path) -> None:
    (tmp_path / "questions.txt").write_text("one?\n")
    with (tmp_path / "questions.txt").open() as stdin:
        assert asked_questions([], stdin) == [Question(1, "one?")]


@pytest.mark.parametrize("text", ["", "\n", None], ids=["closed", "empty line", "open pipe that nobody writes to"])
def test_where_nothing_is_piped_the_built_in_questions_are_asked(text: str | None) -> None:
    with piped(text) as stdin:
        assert asked_questions([], stdin) == built_in_questions()


def test_a_pipe_that_is_silent_for_too_long_is_not_passed_over_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with piped(None) as stdin:
        asked_questions([], stdin)
    assert "asking the built-in questions" in capsys.readouterr().err


def test_an_empty_question_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        asked_questions([" "])


def test_what_was_found_is_right_if_one_passage_is_of_a_labelled_topic() -> None:
    question = Question(1, "?", frozenset({"try"}))
    right, wrong = Passage("t", 0.5, "try: finally clause"), Passage("t", 0.9, "for: The for statement")
    assert Found(question, (wrong, right)).is_right
    assert not Found(question, (wrong,)).is_right


def test_a_question_too_long_for_any_model_is_refused_before_anything_runs() -> None:
    with piped("what is a closure?\n" + "why " * 501 + "\n") as stdin, pytest.raises(InvalidRequest) as refused:
        asked_questions([], stdin)
    assert "question 2 has 2,003 characters, 'why why" in refused.value.what
    assert "at most 2,000" in refused.value.do
