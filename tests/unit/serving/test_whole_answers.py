"""Deadlines of whole answers at the door: refused only where not even a short answer would be whole in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.events import EngineEnded
from cluster.serving.plane import Plane
from cluster.serving.whole_answers import WholeAnswers
from sage.base.ids import EngineId
from tests.unit.serving.arrange import CheckedPlane, chat, chat_engine, dispatched, finished

TOKEN_S = 0.1
NUM_TOKENS = 51


def known_plane(admission: str = "deadline", *, max_running: int = 1) -> CheckedPlane:
    """Return an idle plane whose engine has given 30 answers of NUM_TOKENS tokens, one each TOKEN_S."""
    plane = CheckedPlane(Plane(("chat", "embed"), policy="priority", admission=admission))
    plane.up(chat_engine(max_running=max_running))
    for number in range(30):
        answer(plane, f"known{number}")
    return plane


def answer(plane: CheckedPlane, id: str) -> None:
    """Have the engine answer one more request, its first token after a tenth of a second."""
    plane.submit(chat(id, max_tokens=None))
    plane.now_s += 0.1
    plane.first(id)
    plane.now_s += TOKEN_S * (NUM_TOKENS - 1)
    plane.handle(EngineEnded(EngineId("c1"), (finished(id, completion_tokens=NUM_TOKENS),)))


def test_an_answer_that_cannot_be_whole_in_time_is_refused_at_once_and_not_to_come_again() -> None:
    plane = known_plane()
    plane.submit(chat("hasty", timeout_s=3.0, max_tokens=None))
    failure = plane.failure("hasty")
    assert failure.code == "SAGE-2205"
    assert "the deadline is 3 s" in failure.what
    assert failure.retry_after_s is None


@pytest.mark.parametrize(("timeout_s", "max_tokens"), [(3.0, 10), (6.0, None), (None, None)])
def test_what_may_be_whole_in_time_goes_to_an_engine(timeout_s: float | None, max_tokens: int | None) -> None:
    plane = known_plane()
    assert dispatched(plane.submit(chat("r", timeout_s=timeout_s, max_tokens=max_tokens))) == [("c1", ["r"])]


def test_where_waiting_takes_too_long_it_is_said_when_to_come_again() -> None:
    plane = known_plane()
    plane.submit(*(chat(f"before{number}", max_tokens=None) for number in range(2)))
    plane.submit(chat("later", timeout_s=8.0, max_tokens=None))
    failure = plane.failure("later")
    assert failure.code == "SAGE-2201"
    assert failure.what.startswith("a short answer would come in")
    assert failure.retry_after_s is not None


def test_a_plane_that_refuses_nothing_lets_it_wait() -> None:
    plane = known_plane("none")
    plane.submit(chat("hasty", timeout_s=3.0, max_tokens=None))
    assert plane.outcome("hasty") == "open"


def test_what_was_long_ago_counts_no_more() -> None:
    plane = known_plane()
    plane.wait(61.0)
    assert dispatched(plane.submit(chat("hasty", timeout_s=3.0, max_tokens=None))) == [("c1", ["hasty"])]


@given(
    st.lists(st.tuples(st.integers(2, 4_000), st.floats(0.001, 1.0)), min_size=20, max_size=200),
    st.integers(1, 5_000),
)
def test_nine_of_ten_answers_took_as_long_at_least(seen: list[tuple[int, float]], most_tokens: int) -> None:
    answers = WholeAnswers()
    for tokens, token_s in seen:
        answers.answered(tokens, (tokens - 1) * token_s, 0.0)
    least_s = answers.least_s(most_tokens, 0.0)
    longer = [tokens for tokens, _ in seen if min(tokens, most_tokens) - 1 >= least_s / max(each for _, each in seen)]
    slower = [each for _, each in seen if each * (most_tokens - 1) >= least_s]
    assert len(longer) >= 0.9 * len(seen) - 1
    assert len(slower) >= 0.9 * len(seen) - 1


def test_what_was_seen_before_is_forgotten() -> None:
    answers = WholeAnswers()
    for _ in range(5_000):
        answers.answered(1_001, 100.0, 0.0)
    slow_s = answers.least_s(1_001, 0.0)
    for _ in range(5_000):
        answers.answered(11, 0.1, 0.0)
    assert answers.least_s(1_001, 0.0) < slow_s / 100
