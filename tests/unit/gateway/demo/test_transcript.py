"""How answers that grow side by side become one readable text."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.questions import Found, Question
from gateway.demo.transcript import Transcript, preview
from sage.flow.index import Passage

PASSAGES = (
    Passage("It is so.\n\n   Really.", 0.75, "try: finally clause"),
    Passage("Or not.", 0.5, "for: The for statement"),
)
FIRST, SECOND = Found(Question(1, "Why?"), PASSAGES), Found(Question(2, "How?"), ())


def test_passages_come_first_then_the_answer_then_its_sources() -> None:
    transcript = Transcript(1)
    text = transcript.found(FIRST) + transcript.token(FIRST, " Be") + transcript.token(FIRST, "cause.")
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
    transcript.found(FIRST)
    assert transcript.found(SECOND) == ""
    assert transcript.token(SECOND, "Thus") == ""
    assert transcript.token(FIRST, "So") == "So"
    assert transcript.answered(SECOND) == ""
    assert "2. How?\n   answer  Thus\n" in transcript.answered(FIRST)


def test_long_answers_are_broken_at_spaces() -> None:
    transcript = Transcript(1, width=31)
    transcript.found(FIRST)
    written = "".join(transcript.token(FIRST, piece) for piece in (" twelve chars", " and eight", " more", "\nend"))
    assert written == "twelve chars and\n           eight more\n           end"


@given(st.data())
def test_whatever_the_order_of_events_the_text_is_the_same(data: st.DataObject) -> None:
    pages = [Found(Question(number, f"q{number}"), PASSAGES) for number in (1, 2, 3)]
    waiting = {at: [("found", ""), ("token", f" a{at}"), ("token", " b"), ("answered", "")] for at in range(3)}
    transcript = Transcript(3)
    written = ""
    while left := [at for at, events in waiting.items() if events]:
        at = data.draw(st.sampled_from(left))
        event, text = waiting[at].pop(0)
        match event:
            case "found":
                written += transcript.found(pages[at])
            case "token":
                written += transcript.token(pages[at], text)
            case _:
                written += transcript.answered(pages[at])
    straight = Transcript(3)
    assert written == "".join(
        straight.found(page) + straight.token(page, f" a{at}") + straight.token(page, " b") + straight.answered(page)
        for at, page in enumerate(pages)
    )


def test_a_token_that_comes_before_its_passages_opens_the_question() -> None:
    transcript = Transcript(1)
    assert transcript.token(FIRST, " So").startswith("\n1. Why?\n")
    assert transcript.found(FIRST) == ""


def test_a_preview_is_one_line_cut_at_its_length() -> None:
    assert preview("a\n  b", 40) == "a b"
    assert preview("x" * 50, 30) == "x" * 29 + "…"
