"""What always holds of a plane between two events; for tests. Decides nothing."""

from collections.abc import Mapping

from cluster.serving.admission import Offer
from cluster.serving.gate import Gate
from cluster.serving.preemption import Preemption
from cluster.serving.queue import WaitingQueue
from cluster.serving.quota import Quotas
from cluster.serving.route import Router
from cluster.serving.ticket import Ticket
from sage.base.ids import RequestId


def check_plane(
    queue: WaitingQueue,
    router: Router,
    gate: Gate,
    offer: Offer,
    quotas: Quotas,
    *,
    preemption: Preemption,
    running: Mapping[RequestId, Ticket],
    abandoned: Mapping[RequestId, Ticket],
) -> None:
    """Assert it; costs O(everything)."""
    waiting = {ticket.request.id: ticket for ticket in queue.tickets()}
    held = {id: ticket for account in router for id, ticket in account.held.items()}
    coming = preemption.coming.tickets
    assert held == {**running, **abandoned}, "what engines hold is running or abandoned"
    num = len(waiting) + len(running) + len(abandoned)
    assert num == len(waiting.keys() | held.keys()), "each request is in exactly one state"
    assert len(waiting) + len(coming) <= gate.max_waiting, (len(waiting), len(coming))
    assert queue.num_reserved == len(coming), "who comes back has a place to wait"
    assert coming.keys() <= running.keys(), "what comes back is at work, and not answered"
    assert all(ticket.first_s is None for ticket in coming.values()), "nothing is taken back after its first token"
    assert quotas.num_open() <= num, "what is over was settled"
    assert all(not ticket.is_answered for ticket in (*waiting.values(), *running.values()))
    assert all(ticket.is_answered for ticket in abandoned.values())
    assert all(offer.is_served(ticket.lane) for ticket in waiting.values()), "nobody waits in vain"
    for ticket in waiting.values():
        assert not router.takes_at_once(ticket.lane), "nothing waits while an engine has room for it"
    for lane in queue.lanes():
        staying = [account for account in router.serving(lane) if not account.is_retired]
        assert not staying or any(account.held for account in staying), "nothing waits beside engines that all idle"
    router.check()
