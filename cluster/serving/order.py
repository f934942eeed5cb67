"""Waiting tickets of one lane in an order: by rank, by class. Knows no engine and no clock.

Orders nest: classes of tenants (`fair`) of ranks. A ticket that stopped waiting (`is_waiting`) is passed over when it
comes up. Adding and taking cost O(log waiting).
"""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Protocol

from cluster.serving.recent import Recent
from cluster.serving.ticket import Lane, Ticket
from sage.base.inference import ServiceClass

Key = tuple[float, ...]
"""Orders the heads of several lanes; keys of one policy have one length."""


class Order(Protocol):
    """Tickets that wait. What `first` names is what `take` takes, if nothing came or was taken in between."""

    def add(self, ticket: Ticket) -> None: ...

    def first(self) -> Ticket | None: ...

    def key(self) -> Key | None:
        """Return where the head stands among the heads of other lanes; None where nothing waits."""
        ...

    def take(self, now_s: float) -> Ticket:
        """Remove and return the head; something must wait."""
        ...

    def classes(self) -> Collection[ServiceClass]:
        """Return the classes of which something waits, where those have floors."""
        ...

    def passed_over(self, taken: Ticket, tokens: float, now_s: float, beside: Collection[ServiceClass]) -> None:
        """Note that `tokens` that these could have had went to a ticket of another lane, where `beside` wait."""
        ...

    def num_places(self) -> int:
        """Return how many tickets are held, those that wait no more and were not met yet among them."""
        ...


class Ranked:
    """By a rank that is given once, then by arrival."""

    def __init__(self, rank: Callable[[Ticket], float]) -> None:
        self._rank = rank
        self._heap: list[tuple[float, int, Ticket]] = []

    def add(self, ticket: Ticket) -> None:
        heapq.heappush(self._heap, (self._rank(ticket), ticket.arrival, ticket))

    def first(self) -> Ticket | None:
        heap = self._heap
        while heap:
            ticket = heap[0][2]
            if ticket.is_waiting:
                return ticket
            heapq.heappop(heap)
        return None

    def key(self) -> Key | None:
        return None if self.first() is None else self._heap[0][:2]

    def take(self, now_s: float) -> Ticket:
        heap = self._heap
        while not (ticket := heapq.heappop(heap)[2]).is_waiting:
            pass
        return ticket

    def classes(self) -> Collection[ServiceClass]:
        return ()

    def passed_over(self, taken: Ticket, tokens: float, now_s: float, beside: Collection[ServiceClass]) -> None:
        """Nothing to note: a rank is given once."""

    def num_places(self) -> int:
        return len(self._heap)


class Floor:
    """Tokens owed to each class of one lane below those that were served before it.

    `shares`: what a class that waits gets for each token that goes to a more urgent one. A class whose head has waited
    for `ageing_s` is owed twice as much. What a class is given while nobody is more urgent counts beforehand, up to
    `most_beforehand` tokens, until it has been given nothing for `ageing_s`.
    """

    def __init__(self, shares: Mapping[ServiceClass, float], ageing_s: float, most_beforehand: float = 0.0) -> None:
        self._shares = shares
        self._ageing_s = ageing_s
        self._most_beforehand = most_beforehand
        self._given_s = dict.fromkeys(shares, -math.inf)
        self.owed = dict.fromkeys(ServiceClass, 0.0)

    def is_due(self, ticket: Ticket) -> bool:
        """Say whether its class may go before more urgent ones with this ticket."""
        return self.owed[ticket.request.service_class] >= ticket.cost_tokens

    def passed_over(self, waiting: Iterable[Ticket], tokens: float, now_s: float) -> None:
        """Note that `tokens` went to a more urgent class than those of these heads. Credit is kept for one head."""
        shares, all_owed, aged_s = self._shares, self.owed, self._ageing_s
        for head in waiting:
            service_class, most = head.request.service_class, 2.0 * head.cost_tokens
            more, owed = shares[service_class] * tokens, all_owed[service_class]
            if owed < 0.0 and now_s - self._given_s[service_class] >= aged_s:
                owed = 0.0
            owed += more if now_s - head.arrived_s < aged_s else 2.0 * more
            all_owed[service_class] = owed if owed < most else most

    def owes(self, head: Ticket, tokens: float, now_s: float) -> None:
        """Note that its class, in another lane, was given `tokens` that this head has as much of a claim to, once it
        has waited for as long as makes it old."""
        if now_s - head.arrived_s >= self._ageing_s:
            service_class = head.request.service_class
            self.owed[service_class] = min(max(0.0, self.owed[service_class]) + tokens, 2.0 * head.cost_tokens)

    def given(self, ticket: Ticket, now_s: float) -> None:
        """Note that a class that is owed less than this ticket is given it all the same."""
        service_class = ticket.request.service_class
        if service_class in self._given_s:
            self._given_s[service_class] = now_s
            owed, least = self.owed[service_class], -self._most_beforehand
            if owed > least:
                owed -= ticket.cost_tokens
                self.owed[service_class] = owed if owed > least else least

    def paid(self, ticket: Ticket, now_s: float) -> None:
        self._given_s[ticket.request.service_class] = now_s
        self.owed[ticket.request.service_class] -= ticket.cost_tokens


class Floors:
    """A floor a lane. Were they one, small heads of one lane would use up what a long one of another is owed.

    A lane that comes back finds its own as it left it, if fewer than `MAX_LANES` others came meanwhile.
    """

    MAX_LANES = 1024

    def __init__(self, shares: Mapping[ServiceClass, float], ageing_s: float, most_beforehand: float = 0.0) -> None:
        """For what they are see Floor."""
        self._made_of = (shares, ageing_s, most_beforehand)
        self._floors: Recent[Lane, Floor] = Recent(self.MAX_LANES)

    def of(self, lane: Lane) -> Floor:
        """Return the floor of a lane, a new one where none is known."""
        floor = self._floors.get(lane)
        if floor is None:
            floor = Floor(*self._made_of)
            self._floors.put(lane, floor)
        return floor


class Classes:
    """Interactive before standard before batch, but each class gets its floor of tokens."""

    def __init__(self, floors: Floors, child: Callable[[], Order]) -> None:
        self._floors = floors
        self._floor: Floor | None = None  # of the one lane that comes here: by its first ticket
        self._child = child
        self._children: dict[ServiceClass, Order] = {}  # made when first needed
        self._by_urgency: list[Order] = []  # the same
        self._picked: Ticket | None = None  # as long as it waits, and nothing came or was taken
        self._heads: list[Ticket] = []  # of each class that waits, the most urgent first: as of that pick

    def add(self, ticket: Ticket) -> None:
        order = self._children.get(ticket.request.service_class)
        if order is None:
            order = self._children[ticket.request.service_class] = self._child()
            self._by_urgency = [self._children[each] for each in _URGENCY if each in self._children]
            self._floor = self._floors.of(ticket.lane)
        order.add(ticket)
        self._picked = None

    def first(self) -> Ticket | None:
        picked = self._picked
        if picked is None or not picked.is_waiting:
            owed, due = {} if self._floor is None else self._floor.owed, None
            self._heads = heads = []
            for child in self._by_urgency:
                if (head := child.first()) is not None:
                    heads.append(head)
                    if due is None and owed[head.request.service_class] >= head.cost_tokens:
                        due = head
            picked = self._picked = due or (heads[0] if heads else None)
        return picked

    def key(self) -> Key | None:
        picked = self.first()
        if picked is None:
            return None
        service_class = picked.request.service_class
        below = self._children[service_class].key()
        assert below is not None, "it has a head"
        return (_FLOOR if self._own_floor().is_due(picked) else _URGENCY[service_class], *below)

    def take(self, now_s: float) -> Ticket:
        picked, floor = self._picked, self._own_floor()
        if picked is None or not picked.is_waiting:
            picked = self.first()
        assert picked is not None, "nothing waits"
        self._picked = None
        service_class, cost_tokens = picked.request.service_class, picked.cost_tokens
        picked.is_by_floor = floor.owed[service_class] >= cost_tokens
        if picked.is_by_floor:
            floor.paid(picked, now_s)
        else:
            floor.given(picked, now_s)
            if picked is not (heads := self._heads)[-1]:
                floor.passed_over(heads[heads.index(picked) + 1 :], cost_tokens, now_s)
        return self._children[service_class].take(now_s)

    def classes(self) -> Collection[ServiceClass]:
        return [service_class for service_class, child in self._children.items() if child.first() is not None]

    def passed_over(self, taken: Ticket, tokens: float, now_s: float, beside: Collection[ServiceClass]) -> None:
        """Classes that wait in the other lane too are owed for that there: of them this one gets what that was given
        by its floor. So a class has its share once, however many lanes it waits in."""
        if self.first() is None:
            return
        of, floor = taken.request.service_class, self._own_floor()
        for head in self._heads:
            service_class = head.request.service_class
            if service_class is of and taken.is_by_floor:
                floor.owes(head, tokens, now_s)
            elif _URGENCY[service_class] > _URGENCY[of] and service_class not in beside:
                floor.passed_over((head,), tokens, now_s)
            if floor.is_due(head):
                self._picked = None

    def num_places(self) -> int:
        return sum(child.num_places() for child in self._by_urgency)

    def _own_floor(self) -> Floor:
        assert self._floor is not None, "something came"
        return self._floor


_URGENCY = {service_class: float(number) for number, service_class in enumerate(ServiceClass)}
_FLOOR = -1.0  # stands before every class
