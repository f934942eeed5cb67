"""How answers that grow side by side become one readable text."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.questions import Question
from gateway.demo.transcript import Transcript, preview
from sage.flow.index import Passage

FIRST, SECOND = Question(1, "Why?"), Question(2, "How?")
PASSAGES = (
    Passage("It is so.\n\n   Really.", 0.75, "try: finally clause"),
    Passage("Or not.", 0.5, "for: The for statement"),
)


def test_passages_come_first_then_the_answer_then_its_sources() -> None:
    transcript = Transcript(1)
    text = transcript.found(FIRST, PASSAGES) + transcript.token(FIRST, " Be") + transcript.token(FIRST, "cause.")
    text += transcript.answered(FIRST)
    assert text == (
        "\n1. Why?\n"
        "    0.75   try: finally clause     It is so. Really.\n"
        "    0.50   for: The for statement  Or not.\n"
        "   answer  Because.\n"
        "   sources try: finally clause; for: The for statement\n"
        '           in full, in a Python shell: help("try"), help("for")\n'
    )


def test_a_token_of_a_later_question_is_held_until_its_turn() -> None:
    transcript = Transcript(2)
    transcript.found(FIRST, ())
    assert transcript.found(SECOND, ()) == ""
    assert transcript.token(SECOND, "Thus") == ""
    assert transcript.token(FIRST, "So") == "So"
    assert transcript.answered(SECOND) == ""
    assert "2. How?\n   answer  Thus\n" in transcript.answered(FIRST)


def test_a_second_opening_of_a_question_writes_nothing() -> None:
    transcript = Transcript(1)
    assert transcript.found(FIRST, PASSAGES)
    assert transcript.found(FIRST, PASSAGES) == ""


def test_long_answers_are_broken_at_spaces() -> None:
    transcript = Transcript(1, width=31)
    transcript.found(FIRST, ())
    written = "".join(transcript.token(FIRST, piece) for piece in (" twelve chars", " and eight", " more", "\nend"))
    assert written == "twelve chars and\n           eight more\n           end"


@given(st.data())
def test_whatever_the_order_of_events_the_text_is_the_same(data: st.DataObject) -> None:
    questions = [Question(number, f"q{number}") for number in (1, 2, 3)]
    waiting = {
        question.number: [("found", ""), ("token", f" a{question.number}"), ("token", " b"), ("answered", "")]
        for question in questions
    }
    transcript = Transcript(3)
    written = ""
    while left := [number for number, events in waiting.items() if events]:
        number = data.draw(st.sampled_from(left))
        event, text = waiting[number].pop(0)
        question = questions[number - 1]
        match event:
            case "found":
                written += transcript.found(question, PASSAGES)
            case "token":
                written += transcript.token(question, text)
            case _:
                written += transcript.answered(question)
    straight = Transcript(3)
    expected = "".join(
        straight.found(question, PASSAGES)
        + straight.token(question, f" a{question.number}")
        + straight.token(question, " b")
        + straight.answered(question)
        for question in questions
    )
    assert written == expected


def test_a_preview_is_one_line_cut_at_its_length() -> None:
    assert preview("a\n  b", 40) == "a b"
    assert preview("x" * 50, 30) == "x" * 29 + "…"
