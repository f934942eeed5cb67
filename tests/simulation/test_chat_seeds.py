"""Flows asked as models in clusters with faults: every turn is answered once, whole and in order, or told why not.

seeds.py says how to run one alone.
"""

from collections.abc import Callable
from fractions import Fraction

import pytest

from cluster.head.chat_desk import ChatDesk
from cluster.head.turn_answer import TurnAnswer
from cluster.node.turns_here import RunTurns
from sage.base.turns import TurnText
from tests.simulation.chat_flows import Answer, Part
from tests.simulation.chat_story import ChatStory
from tests.simulation.seeds import for_seeds, run_each

_SHARE = 0.2


@for_seeds(_SHARE)
def test_every_turn_is_answered_once_or_told_why_not_whatever_breaks(seeds: range) -> None:
    run_each(seeds, lambda seed: ChatStory(seed).run())


# The ledger notices: one promise broken on purpose at a time.


def wrongs(num_seeds: int = 60) -> str:
    """Return what the first story complains of that complains."""
    for seed in range(num_seeds):
        try:
            ChatStory(seed).run()
        except AssertionError as error:
            return str(error)
    return ""


def spoken(change: Callable[[list[str]], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    said = TurnAnswer.said
    monkeypatch.setattr(TurnAnswer, "said", lambda answer, news: change(said(answer, news)))


@pytest.mark.parametrize("change", [lambda texts: texts[1:], lambda texts: texts * 2], ids=["lost", "twice"])
def test_a_piece_that_is_lost_or_repeated_is_noticed(
    change: Callable[[list[str]], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    spoken(change, monkeypatch)
    said = wrongs()
    assert "instead of" in said or "no beginning" in said


def test_parts_in_the_order_in_which_they_come_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_comes(answer: TurnAnswer, news: TurnText) -> list[str]:
        return [news.text]

    monkeypatch.setattr(TurnAnswer, "said", as_it_comes)
    said = wrongs()
    assert "instead of" in said or "no beginning" in said


def test_a_record_that_left_and_is_not_told_of_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RunTurns, "leave", lambda turns, record, num_ways: None)
    assert "has not come to every turn's end" in wrongs()


def test_turns_of_a_run_that_is_over_and_stay_open_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ChatDesk, "job_changed", lambda desk, entry: None)
    monkeypatch.setattr(ChatDesk, "run_ends", lambda desk, run_id: None)
    assert "has not come to every turn's end" in wrongs()


# What it is made of.

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("heard", "begins", "is_all"),
    [
        ("", True, False),
        ("ab", True, False),
        ("abcd", True, False),
        ("cdab", True, False),
        ("acbd", False, False),
        ("abcdef", True, True),
        ("cdabef", True, True),
        ("abef", False, False),
        ("efabcd", False, False),
        ("abcdefe", False, False),
    ],
)
def test_parts_that_begin_together_come_in_any_order_and_others_in_theirs(
    heard: str, begins: bool, is_all: bool
) -> None:
    answer = Answer(((Fraction(0), "ab"), (Fraction(0), "cd"), (HALF, "ef")), fails=False)
    assert (answer.begins_with(heard), answer.is_all(heard)) == (begins, is_all)


def test_the_parts_of_a_record_share_its_place() -> None:
    first, second = Part("x", HALF, HALF).parted(["y", "z"])
    assert (first.begin, second.begin, second.width) == (HALF, Fraction(3, 4), Fraction(1, 4))
