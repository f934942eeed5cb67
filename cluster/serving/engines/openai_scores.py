"""Requests to score as servers take them at `/rerank`, and their answers read. Pure; knows nothing of HTTP."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from sage.base.errors import RequestFailed
from sage.base.inference import ScoreRequest, Usage


class _Result(msgspec.Struct):
    index: int
    relevance_score: float


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    total_tokens: int = 0


class _Results(msgspec.Struct):
    results: list[_Result]
    usage: _Usage | None = None


_results = msgspec.json.Decoder(_Results)


def rerank_body(request: ScoreRequest) -> dict[str, object]:
    """Return the body that asks for the score of each text."""
    texts = [text or " " for text in request.texts]  # servers refuse the empty text
    return {"model": request.model, "query": request.query or " ", "documents": texts, "return_documents": False}


def scores_of(body: bytes, num_texts: int, where: str) -> tuple[NDArray[np.float32], Usage]:
    """Return float32 [num_texts, 1], in the order of the texts; raises RequestFailed where it is not one a text."""
    try:
        answer = _results.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestFailed(f"{where} sent what are no scores: {error}") from error
    scores = {result.index: result.relevance_score for result in answer.results}
    if len(answer.results) != num_texts or sorted(scores) != list(range(num_texts)):
        raise RequestFailed(f"{where} sent {len(answer.results)} scores for {num_texts} texts")
    if not all(map(math.isfinite, scores.values())):
        raise RequestFailed(f"{where} sent scores that are not finite")
    usage = answer.usage or _Usage()
    column = np.array([[scores[number]] for number in range(num_texts)], np.float32)
    return column, Usage(usage.total_tokens if usage.prompt_tokens is None else usage.prompt_tokens)
