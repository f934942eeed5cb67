"""Filling an index and asking it, alone and in chains."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.exact import ExactIndex
from operators.index import IndexStore
from operators.registry import machine_for
from sage.base.batch import Batch
from sage.base.errors import InternalError, InvalidRequest, RecordFailed
from sage.flow.graph import OnError
from sage.flow.index import Passage
from sage.flow.spec import IndexInto, Map, Retrieve
from tests.unit.operators.arrange import chain, context, dead_of, run, step, values_of

FILL = IndexInto("docs", "text", "vector", "source")
ASK = Retrieve("docs", 2, "vector")


def doc(text: str, *vector: float, source: str = "s") -> dict[str, Any]:
    return {"text": text, "vector": vector, "source": source}


def filled(*docs: dict[str, Any]) -> IndexStore:
    indexes = IndexStore()
    run(FILL, batches=[docs], indexes=indexes)
    return indexes


def texts_of(record: dict[str, Any]) -> list[str]:
    return [passage.text for passage in record["passages"]]


def test_a_question_gets_its_nearest_passages_with_their_scores_and_sources() -> None:
    indexes = filled(doc("east", 1, 0, source="E"), doc("north", 0, 2), doc("west", -3, 0))
    question = {"vector": [1.0, 1e-3], "id": 7}
    [answer] = values_of(run(ASK, batches=[[question]], indexes=indexes))
    assert answer["passages"] == [Passage("east", 1.0, "E"), Passage("north", 0.001, "s")]
    assert answer["id"] == 7
    assert "passages" not in question


def test_equal_scores_come_in_the_order_of_filling() -> None:
    indexes = filled(*(doc(str(at), 1, 2) for at in range(9)))
    [answer] = values_of(run(Retrieve("docs", 4, "vector"), batches=[[{"vector": (2, 4)}]], indexes=indexes))
    assert texts_of(answer) == ["0", "1", "2", "3"]


def test_fewer_passages_than_asked_for_are_all_there_is() -> None:
    [answer] = values_of(run(Retrieve("docs", 5, "vector"), batches=[[doc("q", 1, 0)]], indexes=filled(doc("a", 1, 1))))
    assert texts_of(answer) == ["a"]


def test_into_and_vector_may_be_functions() -> None:
    indexes = filled(doc("a", 1, 0))
    retrieve = Retrieve("docs", 1, lambda question: question[1], lambda question, found: (question[0], found[0].text))
    assert values_of(run(retrieve, batches=[[("q", [1, 0])]], indexes=indexes)) == [("q", "a")]


def test_a_source_is_optional_and_shown_as_text() -> None:
    indexes = IndexStore()
    run(IndexInto("docs", "text", "vector"), batches=[[doc("a", 1, 0)]], indexes=indexes)
    run(IndexInto("docs", "text", "vector", lambda _: 12), batches=[[doc("b", 0, 1)]], indexes=indexes, task_id="other")
    found = indexes.index("docs").search(np.array([[1, 0.5]], np.float32), 2)[0]
    assert [passage.source for passage in found] == ["", "12"]


def test_an_index_grows_over_batches_and_counts_what_it_holds() -> None:
    indexes = IndexStore()
    batches = [[doc(f"{at}-{i}", at, i, 1) for i in range(100)] for at in range(7)]
    run(FILL, batches=batches, indexes=indexes)
    assert len(indexes.index("docs")) == 700
    [found] = indexes.index("docs").search(np.array([[6, 1, 1]], np.float32), 1)
    assert found[0].text == "6-1"
    assert len(indexes.index("other")) == 0


def test_tasks_that_fill_one_index_have_parts_of_their_own() -> None:
    indexes = IndexStore()
    for task_id in ("b", "a"):
        filling = machine_for(chain(FILL), context(indexes, task_id=task_id))
        filling.open()
        assert filling.on_batch(Batch([doc(task_id, 1, 1)])) == []
        assert filling.counts.records_out == 1
    [answer] = values_of(run(ASK, batches=[[{"vector": (1, 1)}]], indexes=indexes))
    assert texts_of(answer) == ["a", "b"]


@pytest.mark.parametrize(
    ("vector", "message"),
    [
        ((1, 2, 3), "the vector has 3 numbers, but those of the index 'docs' have 2"),
        ((), r"has shape \(0,\)"),
        (((1, 2), (3, 4)), r"has shape \(2, 2\)"),
        ((1, float("nan")), "not a number"),
        ("text", "a str is no vector"),
        (None, "no vector|shape"),
    ],
)
def test_a_bad_vector_fails_alone_and_says_why(vector: Any, message: str) -> None:
    indexes = filled(doc("a", 1, 0))
    bad, good = {"vector": vector, "text": "x", "source": ""}, doc("b", 0, 1)
    for spec in (ASK, FILL):
        with pytest.raises(RecordFailed, match=message):
            run(spec, batches=[[good, bad]], indexes=indexes)
        commands = run(step(spec, on_error=OnError.DEAD_LETTER), batches=[[bad, good]], indexes=indexes)
        assert [letter.value for letter in dead_of(commands)] == [bad]


def test_the_first_vector_settles_the_dimension_within_its_own_batch() -> None:
    with pytest.raises(RecordFailed, match=r"failed on record 2: .* has 3 numbers"):
        filled(doc("a", 1, 0), doc("b", 1, 0, 0))


def test_asking_an_empty_index_says_so_and_settles_no_dimension() -> None:
    indexes = IndexStore()
    with pytest.raises(RecordFailed, match="the index 'docs' is empty"):
        run(ASK, batches=[[doc("q", 1, 0, 0)]], indexes=indexes)
    run(FILL, batches=[[doc("a", 1, 0)]], indexes=indexes)


def test_an_into_that_fails_shows_the_record_and_not_our_pair() -> None:
    indexes = filled(doc("a", 1, 0))
    commands = run(
        step(Retrieve("docs", 1, lambda _: (1, 0), "passages"), on_error=OnError.DEAD_LETTER),
        batches=[["a question", {"id": 1}]],
        indexes=indexes,
    )
    assert [letter.value for letter in dead_of(commands)] == ["a question"]
    assert [answer["id"] for answer in values_of(commands)] == [1]


def test_steps_around_a_retrieval_are_fused_with_it() -> None:
    indexes = filled(doc("a", 1, 0))
    commands = run(Map(lambda x: {"vector": (x, 0)}), ASK, Map(texts_of), batches=[[1, 2]], indexes=indexes)
    assert values_of(commands) == [["a"], ["a"]]


def test_vectors_that_were_not_checked_are_our_fault() -> None:
    index = ExactIndex("docs")
    index.checked([1, 0], settles=True)
    with pytest.raises(InternalError):
        index.add("part", np.ones((1, 3), np.float32), [("a", "")])
    with pytest.raises(InvalidRequest):
        index.search(np.ones((1, 2), np.float32), 1)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_what_is_found_is_what_a_full_sort_finds(num: int, num_questions: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, questions = (rng.standard_normal((n, 6)).astype(np.float32) for n in (num, num_questions))
    index = ExactIndex("docs")
    index.checked(rows[0], settles=True)
    for at in range(num):
        index.add("part", rows[at : at + 1], [(str(at), "")])
    cosines = (questions / np.linalg.norm(questions, axis=1, keepdims=True)) @ (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
    ).T
    for found, row in zip(index.search(questions, k), cosines, strict=True):
        best = sorted(range(num), key=lambda at: (-round(float(row[at]), 6), at))[:k]
        np.testing.assert_allclose([passage.score for passage in found], row[best], atol=2e-6)
        assert len({passage.text for passage in found}) == min(k, num)


def test_what_an_earlier_run_of_the_same_task_added_goes_when_it_begins_anew() -> None:
    indexes = IndexStore()
    for run_id, text in (("job-1/fill/0", "lost"), ("job-1~2/fill/0", "kept")):
        run(FILL, batches=[[doc(text, 1, 0)]], indexes=indexes, task_id=run_id)
    found = indexes.index("docs").search(np.array([[1, 0]], np.float32), 5)[0]
    assert [passage.text for passage in found] == ["kept"]
