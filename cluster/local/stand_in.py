"""Functions that stand for models: from a request to the replies that an engine would give. Knows no engine."""

import math
from array import array
from collections.abc import Mapping, Sequence
from sys import byteorder

from sage.base.errors import FlowInvalid, RequestFailed, SageError
from sage.base.ids import EngineId
from sage.base.inference import (
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    Reply,
    Request,
    ScoreRequest,
    TextsRequest,
    Token,
    Usage,
)
from sage.flow.graph import Graph, models_of
from sage.flow.rehearsal import Model

_ENGINE = EngineId("stand-in")


def check_models(graph: Graph, models: Mapping[str, Model]) -> None:
    """Raise FlowInvalid where a step asks a model that has no stand-in."""
    for use in models_of(graph):
        if use.model not in models:
            what = f"step {use.step.name!r} ({use.step.where}) asks the model {use.model!r}, and nothing stands for it"
            raise FlowInvalid(what, f"Write models={{{use.model!r}: fn}}, a function of the text.", param="models")


def replies_of(request: Request, models: Mapping[str, Model]) -> tuple[Reply, ...]:
    """Return what the function of the request's model says; what it raises fails the request."""
    model = models[request.model]
    try:
        if isinstance(request, EmbedRequest):
            return (_embedded(request, [_vector(model(text)) for text in request.texts]),)
        if isinstance(request, ScoreRequest):
            return (_embedded(request, _scores(request, model)),)
        prompt = request.messages[-1].content if isinstance(request, ChatRequest) else request.prompt
        return (Token(request.id, _text(model(prompt))), Finished(request.id, "stop", Usage(), _ENGINE))
    except SageError as error:
        return (Failed(request.id, Failure.of(error)),)
    except Exception as error:  # noqa: BLE001 - whatever the user's function raises is how the request fails
        return (Failed(request.id, Failure.of(RequestFailed(f"{type(error).__name__}: {error}"))),)


def _text(answer: object) -> str:
    if not isinstance(answer, str):
        raise TypeError(f"what stands for a model gave {answer!r:.80}, and is to give text")
    return answer


def _vector(numbers: object) -> list[float]:
    """Return a vector of length 1."""
    if isinstance(numbers, str) or not isinstance(numbers, Sequence) or not numbers:
        raise TypeError(f"what stands for a model gave {numbers!r:.80}, and is to give numbers")
    length = math.hypot(*numbers) or 1.0
    return [number / length for number in numbers]


def _scores(request: ScoreRequest, model: Model) -> list[list[float]]:
    """Return the cosines of what the model gives for the query and each text."""
    query = _vector(model(request.query))
    return [[sum(a * b for a, b in zip(query, _vector(model(text)), strict=True))] for text in request.texts]


def _embedded(request: TextsRequest, vectors: Sequence[Sequence[float]]) -> Embedded:
    flat = array("f", [number for vector in vectors for number in vector])
    if byteorder == "big":
        flat.byteswap()
    return Embedded(request.id, flat.tobytes(), len(vectors[0]), Usage(), _ENGINE)
