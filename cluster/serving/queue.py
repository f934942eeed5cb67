"""Requests that wait, in the order of a policy. Knows nothing of engines, deadlines or answers."""

import heapq
from collections.abc import Collection, Iterator

from cluster.serving.policy import Policy
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import RequestId

_Place = tuple[float, int, Ticket]  # rank, arrival (unique, so that tickets are never compared), ticket


class WaitingQueue:
    """One heap a lane. Adding, taking and removing cost O(log n) on average; changing the policy O(n)."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._tickets: dict[RequestId, Ticket] = {}
        self._heaps: dict[Lane, list[_Place]] = {}
        self._num_places = 0  # in all heaps, of tickets removed by id too

    @property
    def policy(self) -> Policy:
        return self._policy

    def __len__(self) -> int:
        return len(self._tickets)

    def __contains__(self, request_id: RequestId) -> bool:
        return request_id in self._tickets

    def add(self, ticket: Ticket) -> None:
        """Let `ticket` wait; its id must not be waiting already."""
        assert ticket.request.id not in self._tickets, ticket.request.id
        self._tickets[ticket.request.id] = ticket
        heapq.heappush(self._heaps.setdefault(ticket.lane, []), self._place(ticket))
        self._num_places += 1

    def head(self, lane: Lane) -> tuple[float, int] | None:
        """Return rank and arrival of the first in `lane`; lower goes first. None where nothing waits."""
        heap = self._cleaned(lane)
        return heap[0][:2] if heap else None

    def first(self, lane: Lane) -> Ticket | None:
        """Return the ticket that `take` would take."""
        heap = self._cleaned(lane)
        return heap[0][2] if heap else None

    def take(self, lane: Lane) -> Ticket:
        """Remove and return the first of `lane`; something must wait there."""
        ticket = heapq.heappop(self._cleaned(lane))[2]
        self._num_places -= 1
        del self._tickets[ticket.request.id]
        return ticket

    def take_all(self, lane: Lane) -> list[Ticket]:
        """Remove and return everything that waits in `lane`, in order."""
        taken = []
        while self.head(lane) is not None:
            taken.append(self.take(lane))
        return taken

    def remove(self, request_id: RequestId) -> Ticket | None:
        """Remove one from wherever it waits; None if it does not wait."""
        ticket = self._tickets.pop(request_id, None)
        if ticket is not None:
            self._compact()
        return ticket

    def change_policy(self, policy: Policy) -> None:
        """Order what waits, and what comes, by `policy`."""
        self._policy = policy
        self._rebuild()

    def lanes(self) -> Collection[Lane]:
        """Return the lanes in which something may wait."""
        return tuple(self._heaps)

    def tickets(self) -> Iterator[Ticket]:
        """Iterate over all that wait, in no order."""
        return iter(self._tickets.values())

    def num_places(self) -> int:
        """Return how many tickets the heaps hold, those removed by id and not yet swept out among them."""
        return self._num_places

    def _place(self, ticket: Ticket) -> _Place:
        return self._policy.rank(ticket), ticket.arrival, ticket

    def _cleaned(self, lane: Lane) -> list[_Place]:
        """Return the lane's heap with a waiting ticket on top, or empty; an empty lane is forgotten."""
        heap = self._heaps.get(lane)
        if heap is None:
            return []
        while heap:
            ticket = heap[0][2]
            if self._tickets.get(ticket.request.id) is ticket:
                return heap
            heapq.heappop(heap)
            self._num_places -= 1
        del self._heaps[lane]
        return heap

    def _compact(self) -> None:
        """Drop removed tickets from the heaps once they outnumber those that wait: O(1) a removal on average."""
        if self._num_places > 2 * len(self._tickets) + 64:
            self._rebuild()

    def _rebuild(self) -> None:
        self._heaps = {}
        for ticket in self._tickets.values():
            self._heaps.setdefault(ticket.lane, []).append(self._place(ticket))
        for heap in self._heaps.values():
            heapq.heapify(heap)
        self._num_places = len(self._tickets)
