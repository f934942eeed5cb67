"""When a request that arrives now will have its first token. Knows nothing of what is done about it.

Before it stands the work that waits in its lane and is served first, which leaves as fast as engines have been done
with work; then its prompt on an engine, by that engine's own latency model.
"""

from cluster.serving.drain import DrainRate
from cluster.serving.queue import WaitingQueue
from cluster.serving.route import Router
from cluster.serving.ticket import Lane, Ticket
from sage.base.inference import ServiceClass


class Forecast:
    """Reads queue and engines; counts the work that is done in a lane. A forecast costs O(engines of a lane)."""

    def __init__(self, queue: WaitingQueue, router: Router) -> None:
        self._queue = queue
        self._router = router
        self._rates: dict[Lane, DrainRate] = {}

    def ended(self, ticket: Ticket, now_s: float) -> None:
        """Count work that an engine has done: what it is given while it fills up says nothing of its speed."""
        self._rates.setdefault(ticket.lane, DrainRate()).left(ticket.size.work, now_s)

    def first_token_in_s(self, ticket: Ticket, now_s: float) -> float | None:
        """Return seconds from now; None where nothing is known yet."""
        engine = self._router.pick(ticket.lane)
        if engine is not None:
            return engine.latency.first_token_s(engine.prefill_tokens + ticket.size.prompt_tokens, engine.num_decoding)
        rate = self._rates.get(ticket.lane)
        work_per_s = 0.0 if rate is None else rate.per_s(now_s)
        if work_per_s <= 0.0:
            return None
        on_engine_s = [
            first_s
            for account in self._router.serving(ticket.lane)
            if (first_s := account.latency.first_token_s(ticket.size.prompt_tokens, account.num_decoding)) is not None
        ]
        return self._work_ahead(ticket) / work_per_s + min(on_engine_s, default=0.0)

    def _work_ahead(self, ticket: Ticket) -> float:
        classes = list(ServiceClass)
        if self._queue.policy.is_by_class:
            classes = classes[: classes.index(ticket.request.service_class) + 1]
        return sum(self._queue.waiting_work(ticket.lane, service_class) for service_class in classes)
