"""How long answers will be, those that still run among what is learned from."""

import pytest

from cluster.serving.answer_lengths import MOST_TOKENS, AnswerLengths


def test_nothing_is_known_before_a_few_answers_ended() -> None:
    answers = AnswerLengths()
    for _ in range(3):
        answers.began(1_000, 0.0)
        answers.over(1_000, 0.0)
        answers.answered(1_000, 100, 10.0)
    assert answers.expected(1_000, 10.0) is None
    answers.answered(1_000, 100, 10.0)
    assert answers.expected(1_000, 10.0) == pytest.approx(100.0)


def test_answers_to_prompts_about_as_long_are_alike() -> None:
    answers = AnswerLengths()
    for _ in range(200):
        answers.answered(400, 100, 10.0)
        answers.answered(1_000, 400, 40.0)
    assert answers.expected(410, 0.0) == pytest.approx(100.0, rel=0.03)
    assert answers.expected(1_010, 0.0) == pytest.approx(400.0, rel=0.03)
    assert answers.expected(9_000, 0.0) == pytest.approx(250.0, rel=0.03), "as all, where none was seen"


def filling_up(now_s: float) -> AnswerLengths:
    """Return what has seen, since 0 s, ten answers a second begin: one in ten of 20 tokens, the others of 400; a token
    takes a tenth of a second."""
    answers = AnswerLengths()
    begins = [n / 10 for n in range(int(10 * now_s))]
    for n, begin_s in enumerate(begins):
        num_tokens = 20 if n % 10 == 0 else 400
        answers.began(1_000, begin_s)
        if begin_s + num_tokens / 10 <= now_s:
            answers.over(1_000, begin_s)
            answers.answered(1_000, num_tokens, num_tokens / 10)
    return answers


def test_long_answers_count_before_the_first_of_them_has_ended() -> None:
    expected = filling_up(15.0).expected(1_000, 15.0)
    assert expected is not None
    assert expected > 300.0, "where those that ended had 20 tokens"


def test_once_all_have_ended_the_mean_is_left() -> None:
    answers = filling_up(15.0)
    for n in range(150):
        if n % 10:
            answers.over(1_000, n / 10)
            answers.answered(1_000, 400, 40.0)
    assert answers.expected(1_000, 60.0) == pytest.approx(0.1 * 20 + 0.9 * 400, rel=0.05)


def test_what_runs_for_long_while_little_has_ended_is_not_believed_without_end() -> None:
    answers = AnswerLengths()
    for _ in range(4):
        answers.answered(200, 10, 1.0)
    for _ in range(500):
        answers.began(1_000, 0.0)
    assert answers.expected(1_000, 3_600.0) == MOST_TOKENS


def test_answers_that_ended_without_a_beginning_that_was_noted_leave_none_that_runs() -> None:
    answers = AnswerLengths()
    for _ in range(100):
        answers.over(1_000, 5.0)
        answers.answered(1_000, 100, 10.0)
    assert answers.expected(1_000, 1e6) == pytest.approx(100.0)


def test_answers_of_one_token_tell_no_pace() -> None:
    answers = AnswerLengths()
    for n in range(10):
        answers.began(1_000, float(n))
        answers.over(1_000, float(n))
        answers.answered(1_000, 1, 0.0)
        answers.began(1_000, float(n))
    assert answers.expected(1_000, 100.0) == pytest.approx(1.0)
