"""A plane's numbers put together, for whoever asks how it is. Decides nothing."""

from collections import Counter

from cluster.runtime.states import TenantState
from cluster.serving.admission import Offer
from cluster.serving.gate import Gate
from cluster.serving.queue import WaitingQueue
from cluster.serving.quota import Quotas
from cluster.serving.route import Router
from cluster.serving.statistics import PlaneView, Totals, waiting_view


def plane_view(
    queue: WaitingQueue,
    router: Router,
    gate: Gate,
    offer: Offer,
    totals: Totals,
    *,
    num_running: int,
    num_taken_back: int,
) -> PlaneView:
    """Return a plane at this moment; costs O(waiting)."""
    return PlaneView(
        policy=queue.policy.name,
        route=router.route.name,
        admission=gate.admission,
        window=router.window,
        max_waiting=gate.max_waiting,
        num_waiting=len(queue),
        num_running=num_running,
        waiting=waiting_view(queue.tickets()),
        engines=totals.engines_view(router, offer.engines_starting()),
        ended=totals.ended_view(),
        waited=totals.waited_view(),
        tokens=totals.tokens_view(),
        batch_sizes=totals.batch_sizes(),
        picked=totals.picked_view(),
        num_taken_back=num_taken_back,
    )


def tenant_states(quotas: Quotas, queue: WaitingQueue, now_s: float) -> tuple[TenantState, ...]:
    """Return every tenant that has terms, an account or requests that wait, by name; costs O(waiting)."""
    num_waiting = Counter(ticket.request.tenant for ticket in queue.tickets())
    return tuple(quotas.state(name, num_waiting[name], now_s) for name in sorted(quotas.names() | num_waiting.keys()))
