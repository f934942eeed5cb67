"""A request and what the plane knows of it. Knows nothing of queues, engines or policies."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from cluster.serving.engine_caches import Run
from cluster.serving.patience import USUAL, Patience
from cluster.serving.size import PromptPrefix, Size
from sage.base.ids import EngineId
from sage.base.inference import Kind, Request, kind_of

ALIKE_TOKENS = 1_000
"""Prompts up to so long are alike to whoever orders by `order_s`: where prompts are short, the shortest first gains
requests and loses about as many tokens (rough simulated readings of Azure's traces, 2026-11-22)."""


class Lane(NamedTuple):
    """Requests that the same engines serve wait in one lane."""

    model: str
    kind: Kind


class Staying(NamedTuple):
    """That a prompt stays at an engine that has its beginning cached, beside one that stands idle, and what that costs
    in prompt tokens; None: it goes to the idle one."""

    engine_id: EngineId
    beginning: int
    costs_tokens: float | None


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
    | order_s | the same, prompts of up to ALIKE_TOKENS being alike; both by its record's slack, where that is due |
    | work, uncached_tokens | what that engine was charged; what of the prompt it did not have cached |
    | num_beside | when it was sent: sequences that decoded |
    | prefill_s, planned_s, foretold_s | when it was sent: seconds that its prompt should take; when by the engine's
      plan it would have its first token; the same, by how late the engine was then |
    | cached_tokens | when it arrived, where that was looked at: what of its prompt an engine had cached |
    | forecast_s | when it arrived: seconds until its first token, as was foretold; None where nothing was known |
    | given_before | when it was sent: what of its prompt that engine had been given, and how much it was given since |
    | adapter, is_loaded_for | when it was sent: the adapter of that engine that answers it, and whether it had to be
      loaded |
    | kv_answer_tokens | when it was sent, to an engine that tells of its memory for keys and values: the tokens of that
      which its answer is counted for |
    | is_by_floor, num_taken_back | when it was taken from its order: before more urgent ones, since its class was due;
      how often an engine gave it back before its first token |
    | is_sparse | whether it came while nothing of its tenant waited and others did, where tenants are served alike;
      None: that is to be seen yet |
    | staying | when an engine was last chosen for it: what comes of that for copies, if it is given to that engine |
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
    order_s: float
    engine_id: EngineId | None = None
    batch: int | None = None
    work: float = 0.0
    uncached_tokens: int = 0
    sent_s: float = 0.0
    prefill_s: float = 0.0
    took_s: float = 0.0
    planned_s: float = 0.0
    foretold_s: float = 0.0
    forecast_s: float | None = None
    num_beside: int = 0
    cached_tokens: int = 0
    first_s: float | None = None
    prefix: PromptPrefix | None = None
    affinity_tokens: float | None = None
    staying: Staying | None = None
    given_before: tuple[Run, ...] = ()
    adapter: str | None = None
    is_loaded_for: bool = False
    kv_answer_tokens: float = 0.0
    is_by_floor: bool = False
    is_sparse: bool | None = None
    num_taken_back: int = 0
    is_waiting: bool = False
    is_answered: bool = False

    @property
    def expected_tokens(self) -> int:
        """What of the prompt is to be worked off, as far as was known when it arrived."""
        return self.size.prompt_tokens - self.cached_tokens

    @property
    def tells_speed(self) -> bool:
        """Say whether its first token tells how fast its engine reads prompts: no adapter was loaded before it, and no
        more than half was cached. Where nearly all is, what any prompt costs would count as that of a few tokens."""
        return not self.is_loaded_for and 2 * self.uncached_tokens >= self.size.prompt_tokens

    @property
    def expected_work(self) -> float:
        return self.size.work - self.cached_tokens


def ticket_for(
    request: Request, lane: Lane, arrival: int, now_s: float, size: Size, *, patience: Patience = USUAL
) -> Ticket:
    """Return the ticket of a request that arrives now; `lane` is its lane."""
    deadline_s = math.inf if request.timeout_s is None else now_s + request.timeout_s
    patient_s, tokens_per_s = now_s + patience.of[request.service_class], patience.prompt_tokens_per_s
    order_s = min(deadline_s, patient_s + max(0, size.prompt_tokens - ALIKE_TOKENS) / tokens_per_s)
    due_s = min(deadline_s, patient_s + size.prompt_tokens / tokens_per_s)
    return Ticket(request, lane, arrival, now_s, deadline_s, size, size.total_tokens, due_s, order_s)


def engine_of(ticket: Ticket) -> EngineId:
    """Return the engine that a ticket was picked for."""
    assert ticket.engine_id is not None, ticket
    return ticket.engine_id


def lane_of(request: Request) -> Lane:
    return lane_for(request.model, kind_of(request))


@lru_cache(maxsize=1024)
def lane_for(model: str, kind: Kind) -> Lane:
    """Return one lane for equal ones: found in a third of the time that making another takes, and compared at once."""
    return Lane(model, kind)
