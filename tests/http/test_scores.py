"""Rerank and score as vLLM, Jina and Cohere have them."""

import struct
from collections.abc import Sequence

import pytest

from sage.base.errors import Overloaded
from sage.base.inference import (
    MAX_SCORE_TEXTS,
    Embedded,
    Failed,
    Failure,
    Reply,
    Request,
    ScoreRequest,
    ServiceClass,
    Usage,
)
from tests.http.clients import post
from tests.http.scripted import ENGINE, ScriptedInference
from tests.http.served import served

QUERY = {"model": "vectors", "query": "why"}
DOCUMENTS = ["aaa", "a", "aa"]


def lengths(request: Request) -> Sequence[Reply]:
    """Score each text by how long it is, for 2 tokens a text."""
    assert isinstance(request, ScoreRequest)
    data = struct.pack(f"<{len(request.texts)}f", *map(len, request.texts))
    return [Embedded(request.id, data, 1, Usage(2 * len(request.texts)), ENGINE)]


def ask(
    path: str, body: dict[str, object], inference: ScriptedInference | None = None, **headers: str
) -> tuple[int, dict]:  # type: ignore[type-arg]  # foreign JSON
    with served(inference or ScriptedInference(lengths)) as gateway:
        answer = post(gateway.url, path, body, headers=headers)
    return answer.status_code, answer.json()


def test_documents_come_back_by_their_scores() -> None:
    status, said = ask("/v1/rerank", {**QUERY, "documents": DOCUMENTS})
    assert status == 200
    assert said["results"] == [
        {"index": 0, "relevance_score": 3.0, "document": {"text": "aaa"}},
        {"index": 2, "relevance_score": 2.0, "document": {"text": "aa"}},
        {"index": 1, "relevance_score": 1.0, "document": {"text": "a"}},
    ]
    assert said["model"] == "vectors"
    assert said["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    assert said["id"].startswith("rerank-")


def test_only_so_many_and_without_their_texts() -> None:
    body = {**QUERY, "documents": [{"text": "a"}, "bb"], "top_n": 1, "return_documents": False}
    assert ask("/v1/rerank", body)[1]["results"] == [{"index": 1, "relevance_score": 2.0}]


@pytest.mark.parametrize(("top_n", "indexes"), [(0, [0, 2, 1]), (2, [0, 2]), (3, [0, 2, 1]), (100, [0, 2, 1])])
def test_at_most_so_many_come_back_and_all_where_none_are_said(top_n: int, indexes: list[int]) -> None:
    results = ask("/v1/rerank", {**QUERY, "documents": DOCUMENTS, "top_n": top_n})[1]["results"]
    assert [result["index"] for result in results] == indexes


def test_a_request_says_how_urgent_it_is_and_travels_whole() -> None:
    inference = ScriptedInference(lengths)
    ask("/v1/rerank", {**QUERY, "documents": ["x"] * MAX_SCORE_TEXTS}, inference)
    [request] = inference.requests
    assert isinstance(request, ScoreRequest)
    assert (request.query, len(request.texts), request.service_class) == ("why", 1024, ServiceClass.INTERACTIVE)


@pytest.mark.parametrize(
    ("first", "second", "scores"),
    [
        ("q", ["a", "bbb"], [1.0, 3.0]),
        ("q", "aa", [2.0]),
        (["q"], ["a", "bbb"], [1.0, 3.0]),
        (["q", "q", "p"], ["a", "bb", "ccc"], [1.0, 2.0, 3.0]),
    ],
)
def test_one_text_is_scored_with_each_of_several_or_as_many_with_as_many(
    first: object, second: object, scores: list[float]
) -> None:
    inference = ScriptedInference(lengths)
    status, said = ask("/v1/score", {"model": "vectors", "text_1": first, "text_2": second}, inference)
    assert status == 200
    assert len({request.part_of for request in inference.requests if isinstance(request, ScoreRequest)}) == 1
    assert said["data"] == [{"index": at, "object": "score", "score": score} for at, score in enumerate(scores)]
    assert said["usage"]["total_tokens"] == 2 * len(scores)
    assert said["object"] == "list"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/rerank", {**QUERY, "documents": []}, "documents"),
        ("/v1/rerank", {**QUERY, "documents": ["x"] * (MAX_SCORE_TEXTS + 1)}, "documents"),
        ("/v1/rerank", {**QUERY, "documents": [{"image": "x"}]}, "documents[0].image"),
        ("/v1/rerank", {**QUERY, "documents": ["x"], "top_n": -1}, "top_n"),
        ("/v1/rerank", {**QUERY, "documents": ["x"], "truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
        ("/v1/rerank", {**QUERY, "query": "", "documents": ["x"]}, "query"),
        ("/v1/score", {"model": "m", "text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_2"),
        ("/v1/score", {"model": "m", "text_1": "", "text_2": "a"}, "text_1"),
        ("/v1/score", {"model": "m", "text_1": "a"}, "text_2"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(path: str, body: dict[str, object], param: str) -> None:
    status, said = ask(path, body)
    assert (status, said["error"]["param"]) == (400, param)


def test_a_failure_has_its_status() -> None:
    failure = Failure.of(Overloaded("full", retry_after_s=2.0))
    inference = ScriptedInference(lambda request: [Failed(request.id, failure)])
    assert ask("/v1/score", {"model": "vectors", "text_1": "a", "text_2": "b"}, inference)[0] == 503
