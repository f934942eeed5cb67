"""Requests that wait, in the order of a policy. Knows nothing of engines, deadlines or answers."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from cluster.serving.backlog import Ahead, Backlog
from cluster.serving.fair import WeightOf, alike
from cluster.serving.order import Key, Order
from cluster.serving.patience import USUAL, Patience
from cluster.serving.policy import Policy
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import RequestId
from sage.base.inference import ServiceClass

_INTERACTIVE = ServiceClass.INTERACTIVE


class WaitingQueue:
    """An order a lane. Adding, taking and removing cost O(log n) on average; changing the policy O(n log n)."""

    def __init__(
        self, policy: Policy, weight_of: WeightOf = alike, *, is_summed: bool = True, patience: Patience = USUAL
    ) -> None:
        """`weight_of` a tenant is its share beside others where the policy is fair. `is_summed`: `ahead_of` and
        `num_waiting_of` will be asked; their sums cost as much as the rest of a place in the queue.
        """
        self.policy = policy
        self._tickets: dict[RequestId, Ticket] = {}
        self._lanes: dict[Lane, _InLane] = {}  # those in which something waits
        self.num_reserved = 0
        """Places that are kept for what comes back from engines."""
        self._is_summed = is_summed
        self._backlog = Backlog(weight_of, patience)
        self._num_removed = 0  # since the orders were last made anew: at most so many of their places are empty

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, request_id: RequestId) -> bool:
        return request_id in self._tickets

    def add(self, ticket: Ticket) -> None:
        """Let `ticket` wait; its id must not be waiting already."""
        lane, request_id = ticket.lane, ticket.request.id
        assert request_id not in self._tickets, request_id
        self._tickets[request_id] = ticket
        ticket.is_waiting, ticket.is_sparse = True, None
        waiting = self._lanes.get(lane)
        if waiting is None:
            waiting = self._lanes[lane] = _InLane(self.policy.order())
        waiting.num += 1
        if ticket.request.service_class is _INTERACTIVE:
            waiting.num_urgent += 1
        if self._is_summed:
            self._backlog.add(ticket)
        waiting.order.add(ticket)

    def waits_in(self, lane: Lane) -> bool:
        """Say whether anything waits in `lane`."""
        return lane in self._lanes

    def waiting_among(self, lanes: Collection[Lane]) -> list[Lane]:
        """Return those of `lanes` in which something waits; O(1) for each of them, or each in which something does."""
        own = self._lanes
        if len(lanes) <= len(own):
            return [lane for lane in lanes if lane in own]
        return [lane for lane in own if lane in lanes]

    def num_urgent(self, lane: Lane) -> int:
        """Return how many interactive requests wait in `lane`."""
        waiting = self._lanes.get(lane)
        return 0 if waiting is None else waiting.num_urgent

    def head(self, lane: Lane) -> Key | None:
        """Return where the first of `lane` stands among lanes; lower goes first. None where nothing waits."""
        waiting = self._lanes.get(lane)
        return None if waiting is None else waiting.order.key()

    def first(self, lane: Lane) -> Ticket | None:
        """Return the ticket that `take` would take."""
        waiting = self._lanes.get(lane)
        return None if waiting is None else waiting.order.first()

    def passed_over(self, lanes: Collection[Lane], taken: Ticket, now_s: float) -> None:
        """Note that a ticket was taken while something waited in these other lanes of its engine."""
        own = self._lanes.get(taken.lane)
        beside = () if own is None else own.order.classes()
        for lane in lanes:
            self._lanes[lane].order.passed_over(taken, taken.cost_tokens / len(lanes), now_s, beside)

    def take(self, lane: Lane, now_s: float) -> Ticket:
        """Remove and return the first of `lane`; something must wait there."""
        waiting = self._lanes[lane]
        ticket = waiting.order.take(now_s)
        del self._tickets[ticket.request.id]
        self._waits_no_more(ticket, waiting)
        return ticket

    def take_all(self, lane: Lane, now_s: float) -> list[Ticket]:
        """Remove and return everything that waits in `lane`, in order."""
        taken = []
        while self.first(lane) is not None:
            taken.append(self.take(lane, now_s))
        return taken

    def remove(self, request_id: RequestId) -> Ticket | None:
        """Remove one from wherever it waits; None if it does not wait."""
        ticket = self._tickets.pop(request_id, None)
        if ticket is None:
            return None
        self._waits_no_more(ticket, self._lanes[ticket.lane])
        self._num_removed += 1
        if self._num_removed > len(self._tickets) + 64:
            self._rebuild()
        return ticket

    def num_waiting_of(self, tenant: str) -> int:
        """Return how many requests of a tenant wait."""
        assert self._is_summed, "sums are kept only where they are asked for"
        return self._backlog.num_waiting_of(tenant)

    def ahead_of(self, ticket: Ticket) -> Ahead:
        """Return what would be served before a ticket that does not wait yet, about."""
        assert self._is_summed, "sums are kept only where they are asked for"
        policy = self.policy
        return self._backlog.before(
            ticket, is_by_class=policy.is_by_class, is_by_due=policy.is_by_due, is_fair=policy.is_fair
        )

    def behind(self, ticket: Ticket) -> list[tuple[Ahead, Ahead]]:
        """Return what would be served after a ticket that does not wait yet, as far as one tenant alone waits; see
        `Backlog.behind`. Among tenants served alike nobody is put behind by how early another is due."""
        policy = self.policy
        if not (policy.is_by_class and policy.is_by_due) or self._backlog.num_tenants(ticket.lane) > 1:
            return []
        return self._backlog.behind(ticket)

    def change_policy(self, policy: Policy) -> None:
        """Order what waits, and what comes, by `policy`."""
        self.policy = policy
        self._rebuild()

    def lanes(self) -> Collection[Lane]:
        """Return the lanes in which something may wait."""
        return tuple(self._lanes)

    def tickets(self) -> Iterator[Ticket]:
        """Iterate over all that wait, in no order."""
        return iter(self._tickets.values())

    def num_places(self) -> int:
        """Return how many tickets the orders hold, those removed by id and not yet swept out among them."""
        return sum(waiting.order.num_places() for waiting in self._lanes.values())

    def _waits_no_more(self, ticket: Ticket, waiting: "_InLane") -> None:
        ticket.is_waiting = False
        if self._is_summed:
            self._backlog.remove(ticket)
        if ticket.request.service_class is _INTERACTIVE:
            waiting.num_urgent -= 1
        waiting.num -= 1
        if not waiting.num:
            del self._lanes[ticket.lane]

    def _rebuild(self) -> None:
        """Make the orders anew, without what was removed: O(1) a removal on average."""
        self._num_removed = 0
        for waiting in self._lanes.values():
            waiting.order = self.policy.order()
        for ticket in self._tickets.values():
            ticket.is_sparse = bool(ticket.is_sparse) and self.policy.favours_sparse  # it came when it came
            self._lanes[ticket.lane].order.add(ticket)


@dataclass(slots=True, eq=False)
class _InLane:
    """What waits in one lane: in its order, how much, and how much of it is interactive."""

    order: Order
    num: int = 0
    num_urgent: int = 0
