"""When a request that arrives now will have its first token. Knows nothing of what is done about it.

Before it stands the work that waits in its lane and is served first, which leaves as fast as engines have been done
with work; then its prompt on an engine, by that engine's own latency model. Texts have no first token: what is foretold
is their answer, by how long the engines take for batches of them.
"""

import math
from dataclasses import dataclass

from cluster.serving.backlog import Ahead
from cluster.serving.drain import DrainRate
from cluster.serving.latency import RobustLine
from cluster.serving.queue import WaitingQueue
from cluster.serving.route import Router
from cluster.serving.ticket import Lane, Ticket, engine_of
from sage.base.inference import TextsRequest

LATE_SHARE = 0.02  # of those let in, whose first token may come late
_STEP = 0.02
_LEAST_CAUTION, _MOST_CAUTION = 0.5, 3.0


class Forecast:
    """Reads queue and engines; counts the work that is done in a lane. A forecast costs as much as choosing an engine.

    What is foretold is compared with what comes: `caution` is the factor below which nine of ten first tokens came.
    """

    def __init__(self, queue: WaitingQueue, router: Router) -> None:
        self._queue = queue
        self._router = router
        self._rates: dict[Lane, DrainRate] = {}
        self._on_engine: dict[Lane, RobustLine] = {}
        self._speeds: dict[Lane, _Speed] = {}
        self.caution = 1.0

    def began(self, ticket: Ticket, now_s: float) -> None:
        """Note that the first token of a ticket came."""
        account = self._router.account(engine_of(ticket))
        if account is not None and account.slowness == 1.0:  # what waits is for these, and for slower ones at best
            line = self._on_engine.setdefault(ticket.lane, RobustLine())
            line.observe(ticket.uncached_tokens, now_s - ticket.sent_s)
            self._speeds.setdefault(ticket.lane, _Speed()).observe(ticket.uncached_tokens, ticket.took_s)
        if ticket.forecast_s:
            step = 1.0 - LATE_SHARE if now_s > ticket.due_s else -LATE_SHARE
            self.caution = min(max(self.caution + _STEP * step, _LEAST_CAUTION), _MOST_CAUTION)

    def ended(self, ticket: Ticket, now_s: float) -> None:
        """Count work that an engine has done: what it is given while it fills up says nothing of its speed."""
        self._rates.setdefault(ticket.lane, DrainRate()).left(ticket.expected_work, now_s)

    def first_token_in_s(self, ticket: Ticket, now_s: float) -> float | None:
        """Return seconds from now; None where nothing is known yet. Notes what of the prompt is cached somewhere."""
        cached_tokens = int(self._router.route.affinity_tokens(ticket) or 0)
        ticket.cached_tokens = max(0, min(cached_tokens, ticket.size.prompt_tokens - 1))
        engine = self._router.choose(ticket, now_s)
        if engine is not None:
            return engine.first_token_in_s(self._router.uncached_tokens(ticket, engine), now_s, ticket.lane)
        ahead, line = self._queue.ahead_of(ticket), self._on_engine.get(ticket.lane)
        wait_s = self._wait_s(ticket.lane, ahead, now_s)
        on_engine_s = None if line is None else line.at(ticket.expected_tokens)
        return None if on_engine_s is None else wait_s + on_engine_s

    def texts_in_s(self, ticket: Ticket, now_s: float) -> float | None:
        """Return in how many seconds texts would be answered; None where too little is known. O(engines)."""
        lane, tokens = ticket.lane, ticket.size.prompt_tokens
        ahead_tokens = self._queue.ahead_of(ticket).prompt_tokens
        held_s = tokens_per_s = 0.0
        own_s, engines = math.inf, self._router.serving(lane)
        for account in engines:
            full = max(1.0, min(ahead_tokens, account.info.max_batch_texts * tokens / _num_texts(ticket)))
            full_s, alone_s = account.texts.batch_s(lane, full), account.texts.batch_s(lane, tokens)
            if not full_s or not alone_s:
                return None
            held_s += account.texts.left_s(lane, now_s)
            tokens_per_s += full / full_s
            own_s = min(own_s, alone_s)
        if not engines:
            return None
        if self._router.takes_at_once(lane):
            held_s = min(account.texts.left_s(lane, now_s) for account in engines) * len(engines)
        return held_s / len(engines) + ahead_tokens / tokens_per_s + own_s

    def delays_others_s(self, ticket: Ticket, now_s: float) -> float:
        """Return by how much the first of those that wait, and would be served after `ticket`, would be late."""
        line = self._on_engine.get(ticket.lane)
        if line is None:
            return 0.0
        for before, waiting in self._queue.behind(ticket):
            wait_s = self._wait_s(ticket.lane, before.with_one_more(ticket), now_s)
            on_engine_s = line.at(waiting.prompt_tokens / waiting.num) or 0.0
            late_s = self.caution * (wait_s + on_engine_s) - (waiting.due_s / waiting.num - now_s)
            if late_s > 0.0:
                return late_s
        return 0.0

    def _wait_s(self, lane: Lane, ahead: Ahead, now_s: float) -> float:
        wait_s = self._prompts_s(lane, ahead)
        return max(wait_s, self._drain_s(lane, ahead, now_s)) if self._router.is_full(lane) else wait_s

    def _prompts_s(self, lane: Lane, ahead: Ahead) -> float:
        """Return how long all engines together take for prompts, while they have sequences to spare."""
        speed = self._speeds.get(lane)
        return 0.0 if speed is None else ahead.prompt_tokens * speed.token_s / self._router.num_as_fast(lane)

    def _drain_s(self, lane: Lane, ahead: Ahead, now_s: float) -> float:
        """Return how long it takes until so much is done, where only what ends makes room."""
        rate = self._rates.get(lane)
        work_per_s = 0.0 if rate is None else rate.per_s(now_s)
        return ahead.work / work_per_s if work_per_s > 0.0 else 0.0


@dataclass(slots=True)
class _Speed:
    """Seconds for a prompt token on one engine, cached ones left out: forgetting, weighed by tokens."""

    tokens: float = 0.0
    took_s: float = 0.0

    @property
    def token_s(self) -> float:
        return self.took_s / self.tokens

    def observe(self, tokens: int, took_s: float) -> None:
        self.tokens = 0.98 * self.tokens + tokens
        self.took_s = 0.98 * self.took_s + took_s


def _num_texts(ticket: Ticket) -> int:
    request = ticket.request
    return max(1, len(request.texts)) if isinstance(request, TextsRequest) else 1
