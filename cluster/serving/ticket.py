"""A request and what the plane knows of it. Knows nothing of queues, engines or policies."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from sage.base.ids import EngineId
from sage.base.inference import ChatRequest, EmbedRequest, GenerateRequest, Kind, Request, kind_of

CHARACTERS_PER_TOKEN = 4  # English text and byte-pair vocabularies; only the ratios between requests matter
ASSUMED_ANSWER_TOKENS = 256  # where a request names no max_tokens


class Lane(NamedTuple):
    """Requests that the same engines serve wait in one lane."""

    model: str
    kind: Kind


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that was let in, until it is answered and no engine holds it.

    `arrival` counts requests let in; `deadline_s` is monotonic, infinite where there is none; `engine_id` is set at
    the pick; `batch` numbers the embedding batch at that engine.
    """

    request: Request
    lane: Lane
    arrival: int
    arrived_s: float
    deadline_s: float
    cost_tokens: int
    engine_id: EngineId | None = None
    batch: int | None = None
    is_answered: bool = False


def ticket_for(request: Request, lane: Lane, arrival: int, now_s: float) -> Ticket:
    """Return the ticket of a request that arrives now; `lane` is its lane."""
    deadline_s = math.inf if request.timeout_s is None else now_s + request.timeout_s
    return Ticket(request, lane, arrival, now_s, deadline_s, cost_tokens(request))


def lane_of(request: Request) -> Lane:
    return Lane(request.model, kind_of(request))


def cost_tokens(request: Request) -> int:
    """Estimate the tokens an engine will work on: prompt and longest answer, or texts; at least 1."""
    match request:
        case ChatRequest():
            return _generation_tokens(sum(len(m.content) for m in request.messages), request.sampling.max_tokens)
        case GenerateRequest():
            return _generation_tokens(len(request.prompt), request.sampling.max_tokens)
        case EmbedRequest():
            return 1 + sum(map(len, request.texts)) // CHARACTERS_PER_TOKEN


def _generation_tokens(num_characters: int, max_tokens: int | None) -> int:
    answer_tokens = ASSUMED_ANSWER_TOKENS if max_tokens is None else max_tokens
    return 1 + num_characters // CHARACTERS_PER_TOKEN + answer_tokens
