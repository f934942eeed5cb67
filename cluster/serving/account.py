"""What one engine holds and has room for. Knows nothing of other engines."""

from dataclasses import dataclass, field

from cluster.serving.engines.port import EngineInfo
from cluster.serving.latency import LatencyModel
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import RequestId
from sage.base.inference import Kind

MAX_EMBEDDING_BATCHES = 2  # one in work, one at hand: the engine never idles, and the rest can still be ordered here

MIN_TOKENS_TIMED = 4  # the time between fewer tokens is mostly that of one iteration and of the way


@dataclass(slots=True, eq=False)
class EngineAccount:
    """What an engine holds, from the pick until the engine says that it ended.

    `load_tokens`: prompts and longest answers. `work`: the same as the route weighs them, without what is cached.
    `prefill_tokens`: of prompts whose first token has not come, what was not cached; `num_decoding`: of the others.
    """

    info: EngineInfo
    lanes: tuple[Lane, ...]
    held: dict[RequestId, Ticket] = field(default_factory=dict)
    load_tokens: int = 0
    work: float = 0.0
    prefill_tokens: int = 0
    num_decoding: int = 0
    latency: LatencyModel = field(default_factory=LatencyModel)
    batches: dict[int, int] = field(default_factory=dict)  # embedding batch: how many of its requests it still holds
    last_pick: int = 0
    version: int = 0
    is_retired: bool = False

    def free_slots(self) -> int:
        return self.info.max_running - len(self.held)

    def has_room(self, kind: Kind) -> bool:
        """Say whether it may be given something of `kind` now."""
        if self.is_retired:
            return False
        if kind is Kind.EMBED and len(self.batches) >= MAX_EMBEDDING_BATCHES:
            return False
        return self.free_slots() > 0

    def take(self, ticket: Ticket, uncached_tokens: int, work: float, now_s: float) -> None:
        """Hold a ticket that is sent now."""
        ticket.engine_id, ticket.sent_s, ticket.first_s = self.info.engine_id, now_s, None
        ticket.work, ticket.uncached_tokens = work, uncached_tokens
        self.held[ticket.request.id] = ticket
        self.load_tokens += ticket.cost_tokens
        self.work += work
        if ticket.lane.kind is not Kind.EMBED:
            self.prefill_tokens += uncached_tokens
            ticket.tokens_ahead, ticket.num_beside = self.prefill_tokens, self.num_decoding

    def saw_first_token(self, ticket: Ticket, now_s: float) -> None:
        """Note that the first token of a ticket that is held came now."""
        if ticket.first_s is not None or ticket.lane.kind is Kind.EMBED:
            return
        ticket.first_s = now_s
        self.prefill_tokens -= ticket.uncached_tokens
        self.num_decoding += 1
        self.latency.saw_first_token(ticket.tokens_ahead, ticket.num_beside, now_s - ticket.sent_s)

    def drop(self, ticket: Ticket, completion_tokens: int, now_s: float) -> None:
        """Hold a ticket no more; it got so many tokens by now."""
        del self.held[ticket.request.id]
        self.load_tokens -= ticket.cost_tokens
        self.work = self.work - ticket.work if self.held else 0.0  # what rounding left goes with the last
        if ticket.lane.kind is Kind.EMBED:
            return
        if ticket.first_s is None:
            self.prefill_tokens -= ticket.uncached_tokens
            return
        if completion_tokens >= MIN_TOKENS_TIMED:
            beside = (ticket.num_beside + 1 + self.num_decoding) / 2
            self.latency.saw_decode(beside, (now_s - ticket.first_s) / (completion_tokens - 1))
        self.num_decoding -= 1
