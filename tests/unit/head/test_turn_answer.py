"""The answer to one chat request out of what is said of its records: in order, whole, each piece once."""

from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cluster.head.turn_answer import TurnAnswer
from sage.base.ids import RequestId
from sage.base.inference import Usage
from sage.base.turns import Place, Reason, TurnNews, TurnShareEnded, TurnText

ID = RequestId("r")
WHOLE = Place()
Script = list[tuple[Place, str, list[str], Reason | None]]
"""Of each record: its place, who speaks for it, what is said, and how it ends; None: it is left away."""


def text(place: Place, said: str, speaker: str = "say") -> TurnText:
    return TurnText(ID, place, speaker, said)


def ended(place: Place, reason: Reason | None = "stop", speaker: str = "say") -> TurnShareEnded:
    return TurnShareEnded(ID, place, speaker, reason)


def take(answer: TurnAnswer, news: TurnNews) -> list[str]:
    return answer.said(news) if isinstance(news, TurnText) else answer.share_ended(news)  # type: ignore[arg-type]  # one of two


def test_what_one_record_says_is_passed_on_as_it_comes() -> None:
    answer = TurnAnswer()
    assert answer.said(text(WHOLE, "a")) == ["a"]
    assert answer.said(text(WHOLE, "b")) == ["b"]
    assert not answer.is_whole
    assert answer.share_ended(ended(WHOLE, "length")) == []
    assert (answer.is_whole, answer.has_reply, answer.reason) == (True, True, "length")


def test_a_later_part_waits_until_those_before_it_have_ended() -> None:
    first, second = WHOLE.parted(0, 2), WHOLE.parted(1, 2)
    answer = TurnAnswer()
    assert answer.said(text(second, "2")) == []
    assert answer.share_ended(ended(second)) == []
    assert answer.said(text(first, "1")) == ["1"]
    assert answer.share_ended(ended(first)) == ["2"]
    assert answer.is_whole


def test_a_part_that_is_left_away_lets_the_next_one_speak() -> None:
    answer = TurnAnswer()
    assert answer.said(text(WHOLE.parted(1, 2), "2")) == []
    assert answer.share_ended(ended(WHOLE.parted(0, 2), None)) == ["2"]


def test_of_two_ways_for_one_part_the_first_that_speaks_is_heard_as_a_whole() -> None:
    way = Place(2)
    answer = TurnAnswer()
    assert answer.said(text(way, "x", "b")) == ["x"]
    assert answer.said(text(way, "y", "a")) == []
    assert answer.share_ended(ended(way, "stop", "a")) == []
    assert answer.said(text(way, "z", "b")) == ["z"]
    assert answer.share_ended(ended(way, "stop", "b")) == ["y"]
    assert answer.is_whole


def test_a_later_part_of_one_way_waits_for_the_first_part_of_the_same_way() -> None:
    whole, first, second = Place(2), Place(2).parted(0, 4), Place(2).parted(1, 4)
    answer = TurnAnswer()
    assert answer.said(text(whole, "w", "a")) == ["w"]
    assert answer.share_ended(ended(whole, "stop", "a")) == []
    assert answer.said(text(second, "2", "b")) == []
    assert answer.said(text(first, "1", "b")) == ["1"]
    assert answer.share_ended(ended(first, "stop", "b")) == ["2"]


def test_nothing_but_records_left_away_is_no_reply() -> None:
    answer = TurnAnswer()
    answer.share_ended(ended(Place(2), None))
    answer.share_ended(ended(Place(2), None))
    assert (answer.is_whole, answer.has_reply) == (True, False)


def test_tokens_of_all_requests_to_models_are_added_up() -> None:
    answer = TurnAnswer()
    answer.used(Usage(5, 2, 1))
    answer.used(Usage(7, 3, 0))
    assert answer.usage == Usage(12, 5, 1)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Draw, by one or two ways, a tree of parts each; each leaf speaks or is left away."""
    num_ways = draw(st.integers(1, 2))
    script: Script = []
    for way in range(num_ways):
        places = [Place(num_ways)]
        for _ in range(draw(st.integers(0, 3))):
            at, num = draw(st.integers(0, len(places) - 1)), draw(st.integers(1, 3))
            places[at : at + 1] = [places[at].parted(number, num) for number in range(num)]
        for part, place in enumerate(places):
            said = [f"{place.begin} {way} {part} {piece}" for piece in range(draw(st.integers(0, 2)))]
            reason: Reason | None = draw(st.sampled_from(["stop", None])) if not said else "stop"
            script.append((place, f"way {way}", said, reason))
    return script


@given(script=scripts(), order=st.randoms(use_true_random=False))
def test_in_whatever_order_records_speak_every_part_is_heard_once_and_in_its_place(
    script: Script,
    order: Random,
) -> None:
    queues: list[list[TurnNews]] = [
        [*(text(place, piece, speaker) for piece in said), ended(place, reason, speaker)]
        for place, speaker, said, reason in script
    ]
    answer, heard = TurnAnswer(), list[str]()
    while queues:
        queue = order.choice(queues)
        heard += take(answer, queue.pop(0))
        queues = [queue for queue in queues if queue]
        assert answer.is_whole == (not queues)
    assert answer.len_held == 0
    assert sorted(heard) == sorted(piece for _, _, said, _ in script for piece in said)
    begins = [Fraction(piece.split()[0]) for piece in heard]
    assert begins == sorted(begins)
    for _, _, said, _ in script:
        first = heard.index(said[0]) if said else 0
        assert heard[first : first + len(said)] == said
    assert answer.has_reply == any(reason is not None for _, _, _, reason in script)
