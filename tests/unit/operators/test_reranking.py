"""Records ask for a score a passage, and leave with their passages, the best first."""

import struct
from collections.abc import Callable
from typing import Any

import pytest

from operators.machine import Emit
from sage.base.batch import Batch
from sage.base.errors import InternalError, InvalidRequest, RecordFailed
from sage.base.ids import EngineId
from sage.base.inference import Embedded, Origin, Reply, Request, ScoreRequest, ServiceClass, Token, Usage
from sage.flow.graph import OnError
from sage.flow.index import Passage
from sage.flow.spec import Rerank
from tests.unit.operators.arrange import dead_of, machine, step, values_of
from tests.unit.operators.asked import asked, reply, says

SPEC = Rerank("judge", "question")
FOUND = [Passage("a", 0.9, "one"), Passage("b", 0.8, "two"), Passage("c", 0.7)]
RECORD = {"question": "why", "passages": FOUND}


def scores(commands: Any) -> list[ScoreRequest]:
    requests = [request for request in asked(commands) if isinstance(request, ScoreRequest)]
    assert len(requests) == len(asked(commands))
    return requests


def scored(request: ScoreRequest, *numbers: float) -> Embedded:
    data = struct.pack(f"<{len(numbers)}f", *numbers)
    return Embedded(request.id, data, 1, Usage(len(numbers)), EngineId("e"))


def test_a_record_asks_with_its_query_and_all_its_passages() -> None:
    spec = Rerank("judge", "Q: {question}", priority=ServiceClass.BATCH, deadline_s=2.0, tenant="us")
    [request] = scores(machine(spec).on_batch(Batch([RECORD])))
    assert request == ScoreRequest(
        request.id, "judge", "Q: why", ("a", "b", "c"), ServiceClass.BATCH, "us", 2.0, Origin("", "step-0")
    )


def test_passages_leave_the_best_first_with_their_new_scores_and_old_sources() -> None:
    driven = machine(SPEC)
    [request] = scores(driven.on_batch(Batch([RECORD])))
    [left] = values_of(reply(driven, scored(request, 0.25, 0.75, 0.5)))
    assert left == {
        "question": "why",
        "passages": [Passage("b", 0.75, "two"), Passage("c", 0.5), Passage("a", 0.25, "one")],
    }
    assert RECORD["passages"] is FOUND


def test_only_the_first_k_are_kept_and_equal_scores_keep_their_order() -> None:
    driven = machine(Rerank("judge", "question", k=2, into=None))
    [request] = scores(driven.on_batch(Batch([RECORD])))
    [left] = values_of(reply(driven, scored(request, 0.5, 0.5, 0.5)))
    assert [passage.text for passage in left] == ["a", "b"]


def test_texts_are_passages_too() -> None:
    driven = machine(
        Rerank("judge", str.upper, lambda record: [record, "b"], into=lambda record, ranked: (record, ranked))
    )
    [request] = scores(driven.on_batch(Batch(["a"])))
    assert (request.query, request.texts) == ("A", ("a", "b"))
    assert values_of(reply(driven, scored(request, 0.0, 1.0))) == [("a", [Passage("b", 1.0), Passage("a", 0.0)])]


def test_a_record_without_passages_asks_nobody_and_keeps_its_place() -> None:
    driven = machine(SPEC)
    commands = driven.on_batch(Batch([RECORD, {"question": "who", "passages": []}]))
    [request] = scores(commands)
    assert not any(isinstance(command, Emit) for command in commands)
    left = values_of(reply(driven, scored(request, 0.1, 0.2, 0.3)))
    assert [len(record["passages"]) for record in left] == [3, 0]


def test_equal_questions_share_a_request_and_each_keeps_its_own_sources() -> None:
    driven = machine(SPEC)
    twin = {"question": "why", "passages": [Passage(each.text, 0.0, "mine") for each in FOUND]}
    [request] = scores(driven.on_batch(Batch([RECORD, twin])))
    first, second = values_of(reply(driven, scored(request, 0.1, 0.2, 0.3)))
    assert [each.source for each in first["passages"]] == ["", "two", "one"]
    assert {each.source for each in second["passages"]} == {"mine"}


@pytest.mark.parametrize("bad", ["one text", b"one", 7, [1], [["a"]], {"a": 1}, {"a"}, iter(["a"])])
def test_what_are_no_passages_fails_its_record_alone(bad: object) -> None:
    driven = machine(step(SPEC, on_error=OnError.DEAD_LETTER))
    commands = driven.on_batch(Batch([{"question": "why", "passages": bad}, RECORD]))
    assert len(scores(commands)) == 1
    [dead] = dead_of(commands)
    assert InvalidRequest.code in dead.traceback or "InvalidRequest" in dead.traceback


def test_what_is_no_score_a_passage_is_a_fault_of_ours() -> None:
    def too_few(request: Request) -> list[Reply]:
        return [Embedded(request.id, b"\0\0\0\0", 1, Usage(), EngineId("e"))]

    def a_token(request: Request) -> list[Reply]:
        return [Token(request.id, "x")]

    wrongs: list[Callable[[Request], list[Reply]]] = [too_few, a_token, says]
    for wrong in wrongs:
        driven = machine(SPEC)
        [request] = scores(driven.on_batch(Batch([RECORD])))
        replies = wrong(request)
        with pytest.raises((InternalError, RecordFailed)):
            reply(driven, *replies)
