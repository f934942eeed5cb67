"""A request and what the plane knows of it. Knows nothing of queues, engines or policies."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from cluster.serving.size import PromptPrefix, Size
from sage.base.ids import EngineId
from sage.base.inference import Kind, Request, ServiceClass, kind_of

PATIENCE_S = {ServiceClass.INTERACTIVE: 2.0, ServiceClass.STANDARD: 30.0, ServiceClass.BATCH: 600.0}
"""When the first token of a request without a deadline is due, after its arrival; its prompt adds to it."""

PROMPT_TOKENS_PER_S = 8_000.0
"""Prompt tokens that add a second to when the first token is due (the SLO of `findings`: 2 s + prompt / 8k s)."""


class Lane(NamedTuple):
    """Requests that the same engines serve wait in one lane."""

    model: str
    kind: Kind


@dataclass(slots=True, eq=False)
class Ticket:
    """A request that was let in, until it is answered and no engine holds it.

    | field | meaning |
    | --- | --- |
    | arrival | counts requests let in |
    | deadline_s, sent_s, first_s | monotonic: infinite where there is none; when an engine got it; its first token |
    | engine_id, batch | set at the pick; the number of the embedding batch at that engine |
    | cost_tokens | tokens that an engine will work on at most |
    | due_s | when it should be begun at the latest, monotonic: by its deadline, or by the patience of its class |
    | work, uncached_tokens | what that engine was charged; what of the prompt it did not have cached |
    | tokens_ahead, num_beside | when it was sent: prompt tokens to work off, its own too; sequences that decoded |
    | prefix, affinity_tokens | set where asked for: the prompt's blocks; how much of it an engine had cached |
    """

    request: Request
    lane: Lane
    arrival: int
    arrived_s: float
    deadline_s: float
    size: Size
    cost_tokens: int
    due_s: float
    engine_id: EngineId | None = None
    batch: int | None = None
    work: float = 0.0
    uncached_tokens: int = 0
    sent_s: float = 0.0
    tokens_ahead: int = 0
    num_beside: int = 0
    first_s: float | None = None
    prefix: PromptPrefix | None = None
    affinity_tokens: float | None = None
    is_waiting: bool = False
    is_answered: bool = False


def ticket_for(request: Request, lane: Lane, arrival: int, now_s: float, size: Size) -> Ticket:
    """Return the ticket of a request that arrives now; `lane` is its lane."""
    deadline_s = math.inf if request.timeout_s is None else now_s + request.timeout_s
    due_s = min(deadline_s, now_s + PATIENCE_S[request.service_class] + size.prompt_tokens / PROMPT_TOKENS_PER_S)
    return Ticket(request, lane, arrival, now_s, deadline_s, size, size.prompt_tokens + size.answer_tokens, due_s)


def lane_of(request: Request) -> Lane:
    return Lane(request.model, kind_of(request))
