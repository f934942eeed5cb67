"""How the language reference is read and cut."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.demo.questions import built_in_questions
from gateway.demo.topics import CHUNK_CHARS, Chunk, Topic, chunks_of, more_specific, read_topics

ARTICLE = """The "with" statement
********************

It wraps a block.

   with a: pass


Managers
========

They have two methods.
"""


def test_an_article_is_cut_at_its_section_titles() -> None:
    chunks = chunks_of(Topic("with", ARTICLE))
    assert [(chunk.section, chunk.text) for chunk in chunks] == [
        ("The with statement", "It wraps a block.\n\n   with a: pass"),
        ("Managers", "They have two methods."),
    ]
    assert chunks[0].source == "with: The with statement"
    assert chunks[1].titled_text == "Managers\nThey have two methods."


def test_text_before_the_first_title_goes_by_the_topic_name() -> None:
    assert chunks_of(Topic("pass", "It does nothing."))[0].section == "pass"


def test_cuts_fall_between_paragraphs_and_within_one_only_if_it_is_too_long() -> None:
    long = "\n".join(f"line {number:02}" for number in range(4))
    chunks = chunks_of(Topic("t", f"one\n\ntwo\n\n{long}"), max_chars=20)
    assert [chunk.text for chunk in chunks] == ["one\n\ntwo", "line 00\nline 01", "line 02\nline 03"]


@given(st.lists(st.text(alphabet="ab \n", max_size=60), max_size=8))
def test_no_word_is_lost_or_doubled_by_cutting(paragraphs: list[str]) -> None:
    text = "\n\n".join(paragraphs)
    chunks = chunks_of(Topic("topic", text), max_chars=25)
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()


def test_of_two_equal_chunks_the_one_of_the_shorter_article_stays() -> None:
    long, short = Chunk("compound", "s", "t", 50_000), Chunk("with", "s", "t", 3_000)
    assert more_specific(long, short) == more_specific(short, long) == short


def test_the_reference_of_this_python_is_cut_into_chunks_of_the_stated_length() -> None:
    topics = read_topics()
    chunks = [chunk for topic in topics for chunk in chunks_of(topic)]
    assert len(topics) >= 70
    assert {chunk.topic for chunk in chunks} == {topic.name for topic in topics}
    assert 600 <= len({chunk.text for chunk in chunks}) <= 1200
    assert max(len(chunk.text) for chunk in chunks) <= CHUNK_CHARS


def test_every_label_of_a_question_is_a_topic_of_this_python() -> None:
    names = {topic.name for topic in read_topics()}
    questions = built_in_questions()
    assert len(questions) == 10
    assert all(question.topics and question.topics <= names for question in questions)
