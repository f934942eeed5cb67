"""A task's model calls: what was answered before is not asked, and what is left of a request is."""

from collections.abc import Sequence

import msgspec
import pytest

from cluster.runtime.call_book import CallBook, key_of, key_of_text
from operators.machine import Counts
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    Reply,
    Request,
    Sampling,
    ScoreRequest,
    ServiceClass,
    Token,
    Usage,
)

ID = RequestId("r-1")
ENGINE = EngineId("engine")
ASKED = ChatRequest(ID, "model", (ChatMessage("user", "why?"),), Sampling(temperature=0.5))
OTHERS = [
    msgspec.structs.replace(ASKED, model="other"),
    msgspec.structs.replace(ASKED, messages=(ChatMessage("user", "how?"),)),
    msgspec.structs.replace(ASKED, sampling=Sampling(temperature=0.5, seed=1)),
    msgspec.structs.replace(ASKED, sampling=Sampling(temperature=0.5, max_tokens=1)),
]


class MemoryJournal:
    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.num_failed = 0

    def take(self, key: bytes) -> bytes | None:
        return self.kept.get(key)

    def drop(self, key: bytes, answer: bytes) -> None:
        assert self.kept.pop(key) == answer

    def asks(self, keys: Sequence[bytes]) -> int:
        return 0

    def ended(self, answers: Sequence[tuple[bytes, bytes | None]]) -> None:
        self.num_failed += sum(answer is None for _, answer in answers)
        self.kept.update((key, answer) for key, answer in answers if answer is not None)

    def close(self) -> None:
        pass


@pytest.fixture
def book() -> CallBook:
    return CallBook(MemoryJournal())


def embedded(book: CallBook, texts: tuple[str, ...], vectors: bytes) -> None:
    book.ask([EmbedRequest(ID, "model", texts)], Counts())
    book.hear([Embedded(ID, vectors, 1, Usage(prompt_tokens=5), ENGINE)])


def test_an_answer_that_was_kept_comes_as_the_engine_gave_it(book: CallBook) -> None:
    counts = Counts()
    assert book.ask([ASKED], counts) == ([ASKED], [])
    replies: list[Reply] = [Token(ID, "be"), Token(ID, "cause"), Finished(ID, "length", Usage(3, 2), ENGINE)]
    assert book.hear(replies) == replies
    again = msgspec.structs.replace(ASKED, id=RequestId("r-2"), service_class=ServiceClass.BATCH, tenant="other")
    asked, [token, finished] = book.ask([again], counts)
    assert asked == []
    assert token == Token(again.id, "because", 2)
    assert isinstance(finished, Finished)
    assert (finished.request_id, finished.reason, finished.usage) == (again.id, "length", Usage(3, 2))
    assert counts.num_replayed == 1


@pytest.mark.parametrize("other", OTHERS)
def test_what_changes_the_answer_makes_another_call(other: ChatRequest) -> None:
    assert key_of(other) != key_of(ASKED)


@pytest.mark.parametrize("ends_by", ["failure", "withdrawal"])
def test_a_call_that_was_not_answered_is_made_again(book: CallBook, ends_by: str) -> None:
    book.ask([ASKED], Counts())
    if ends_by == "failure":
        book.hear([Failed(ID, Failure("request_failed", "no"))])
    else:
        book.withdraw([ID])
    asked: list[Request] = book.ask([ASKED], Counts())[0]
    assert asked == [ASKED]


def test_only_texts_without_a_vector_are_asked_and_all_come_in_order(book: CallBook) -> None:
    embedded(book, ("a", "b"), b"aaaabbbb")
    counts = Counts()
    [left], known = book.ask([EmbedRequest(ID, "model", ("x", "b", "y", "a"))], counts)
    assert isinstance(left, EmbedRequest)
    assert (left.texts, known, counts.num_replayed) == (("x", "y"), [], 2)
    [whole] = book.hear([Embedded(ID, b"xxxxyyyy", 1, Usage(prompt_tokens=1), ENGINE)])
    assert isinstance(whole, Embedded)
    assert (whole.vectors, whole.dim, whole.usage.prompt_tokens) == (b"xxxxbbbbyyyyaaaa", 1, 6)


def test_a_score_is_known_by_query_and_text(book: CallBook) -> None:
    book.ask([ScoreRequest(ID, "model", "q", ("a", "b"))], Counts())
    book.hear([Embedded(ID, b"aaaabbbb", 1, Usage(prompt_tokens=5), ENGINE)])
    others: list[Request] = [
        ScoreRequest(RequestId("r-2"), "model", "p", ("a",)),
        ScoreRequest(RequestId("r-3"), "other", "q", ("a",)),
        EmbedRequest(RequestId("r-4"), "model", ("a",)),
    ]
    counts = Counts()
    assert book.ask(others, counts) == (others, [])
    [left], known = book.ask([ScoreRequest(RequestId("r-5"), "model", "q", ("b", "c", "a"))], counts)
    assert isinstance(left, ScoreRequest)
    assert (left.query, left.texts, known, counts.num_replayed) == ("q", ("c",), [], 2)
    [whole] = book.hear([Embedded(RequestId("r-5"), b"cccc", 1, Usage(), ENGINE)])
    assert isinstance(whole, Embedded)
    assert whole.vectors == b"bbbbccccaaaa"


@pytest.mark.parametrize("kept", [b"", b"what another version wrote", b"\xc0"])
def test_an_answer_that_cannot_be_read_is_dropped_and_asked_for_again(kept: bytes) -> None:
    journal, counts = MemoryJournal(), Counts()
    journal.kept = {key_of(ASKED): kept, key_of_text("model", "a"): kept}
    texts = EmbedRequest(RequestId("r-2"), "model", ("a",))
    assert CallBook(journal, is_cache=True).ask([ASKED, texts], counts) == ([ASKED, texts], [])
    assert (counts.num_cached, counts.num_unreadable, journal.kept) == (0, 2, {})


def test_texts_that_all_have_vectors_are_not_asked(book: CallBook) -> None:
    embedded(book, ("a", "b"), b"aaaabbbb")
    asked, [whole] = book.ask([EmbedRequest(ID, "model", ("b", "a"))], Counts())
    assert asked == []
    assert isinstance(whole, Embedded)
    assert whole.vectors == b"bbbbaaaa"


def test_what_is_withdrawn_once_the_book_is_closed_stays_out() -> None:
    journal = MemoryJournal()
    book = CallBook(journal)
    book.ask([ASKED], Counts())
    book.close()
    book.withdraw([ASKED.id])
    assert journal.num_failed == 0
    other = CallBook(journal)
    other.ask([ASKED], Counts())
    other.withdraw([ASKED.id])
    assert journal.num_failed == 1, "nobody waits for it, and the task goes on"
