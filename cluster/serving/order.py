"""Waiting tickets of one lane in an order: by rank, fair between tenants, by class. Knows no engine and no clock.

Orders nest: classes of tenants of ranks. A ticket that stopped waiting (`is_waiting`) is passed over when it comes up.
Adding and taking cost O(log waiting + log tenants).
"""

import heapq
import math
from bisect import insort
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cluster.serving.ticket import Ticket
from sage.base.inference import ServiceClass

Key = tuple[float, ...]
"""Orders the heads of several lanes; keys of one policy have one length."""


WeightOf = Callable[[str], float]
"""Returns a tenant's share beside others: 2 gets twice as much as 1."""


def alike(tenant: str) -> float:
    """Weigh all tenants alike."""
    return 1.0


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
        ticket = self.first()
        assert ticket is not None, "nothing waits"
        heapq.heappop(self._heap)
        return ticket

    def num_places(self) -> int:
        return len(self._heap)


class Counters:
    """Tokens served to each tenant, over all lanes, as start tags (SFQ: Goyal et al., SIGCOMM 1996; for tokens of
    language models VTC: Sheng et al., OSDI 2024).

    Counters only grow: what was charged too much is taken from the next charge. A tenant that comes back starts where
    the tenant that was served last stood, so that nobody saves up while idle. A token counts by its tenant's weight.
    """

    def __init__(self, weight_of: WeightOf = alike) -> None:
        self._weight_of = weight_of
        self.served: dict[str, float] = {}
        self.newcomer = 0.0
        """Where a tenant stands that is not in `served`: where whoever was served last stood then."""
        self._refunds: dict[str, float] = {}
        self._num_kept = 1024

    def of(self, tenant: str) -> float:
        return self.served.get(tenant, self.newcomer)

    def begin(self, tenant: str) -> float:
        """Return where a tenant stands that begins to wait; it is remembered from now on."""
        counter = self.served[tenant] = max(self.of(tenant), self.newcomer)
        if len(self.served) > self._num_kept:
            self._forget()
        return counter

    def charge(self, tenant: str, tokens: float) -> None:
        """Charge a tenant that is served now."""
        tokens /= self._weight_of(tenant)
        before = self.of(tenant)
        if before > self.newcomer:
            self.newcomer = before
        refund = min(self._refunds.pop(tenant), tokens) if tenant in self._refunds else 0.0
        self.served[tenant] = before + tokens - refund

    def correct(self, tenant: str, tokens: float) -> None:
        """Charge what a request took more than it was charged for, or keep for the next charge what it took less."""
        tokens /= self._weight_of(tenant)
        if tokens >= 0.0:
            self.served[tenant] = self.of(tenant) + tokens
        else:
            self._refunds[tenant] = self._refunds.get(tenant, 0.0) - tokens

    def _forget(self) -> None:
        """Forget who stands where a newcomer would: it makes no difference, but for refunds not yet used."""
        self.served = {tenant: served for tenant, served in self.served.items() if served > self.newcomer}
        self._refunds = {tenant: tokens for tenant, tokens in self._refunds.items() if tenant in self.served}
        self._num_kept = max(1024, 2 * len(self.served))


class Fair:
    """The tenant who was served the fewest tokens first; of those within `quantum_tokens` of it, the one whose head
    finds most of its prompt in an engine's cache (DLPM: Cao et al., Locality-aware Fair Scheduling in LLM Serving,
    2025: longest prefix within a deficit). Looks at the heads of at most `MAX_LOOKED_AT` tenants."""

    MAX_LOOKED_AT = 8

    def __init__(
        self,
        counters: Counters,
        child: Callable[[], Order],
        *,
        quantum_tokens: float = 0.0,
        affinity_tokens: Callable[[Ticket], float] | None = None,
    ) -> None:
        self._counters = counters
        self._child = child
        self._quantum_tokens = quantum_tokens
        self._affinity_tokens = affinity_tokens
        self._tenants: dict[str, _Tenant] = {}
        self._standing: list[tuple[float, int, _Tenant]] = []  # rising: counter as it was, number; once a tenant
        self._num_entered = 0
        self._most = 1 if affinity_tokens is None else self.MAX_LOOKED_AT
        self._num_near = 0  # of those that stand: within the quantum of the first of them
        self._chosen: _Tenant | None = None  # as long as its head waits, and nothing came or was taken

    def add(self, ticket: Ticket) -> None:
        name = ticket.request.tenant
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(name, self._child())
            self._num_entered += 1
            insort(self._standing, (self._counters.begin(name), self._num_entered, tenant))
        tenant.order.add(ticket)
        tenant.head = self._chosen = None

    def first(self) -> Ticket | None:
        chosen = self._choose()
        return None if chosen is None else chosen.head

    def key(self) -> Key | None:
        chosen = self._choose()
        below = None if chosen is None else chosen.order.key()
        return None if chosen is None or below is None else (self._counters.of(chosen.name), *below)

    def take(self, now_s: float) -> Ticket:
        chosen = self._choose()
        assert chosen is not None, "nothing waits"
        ticket = chosen.order.take(now_s)
        self._counters.charge(chosen.name, ticket.cost_tokens)
        chosen.head = self._chosen = None
        return ticket

    def num_places(self) -> int:
        return sum(tenant.order.num_places() for tenant in self._tenants.values())

    def _choose(self) -> "_Tenant | None":
        chosen = self._chosen
        if chosen is None or chosen.head is None or not chosen.head.is_waiting:
            self._put_in_place()
            chosen = self._chosen = self._best() if self._standing else None
        return chosen

    def _put_in_place(self) -> None:
        """Let those that are looked at stand by their counters, each with its head; who has none stands no more.

        Where a counter has grown, its tenant moves back: O(tenants) by one memmove, 4 us for 10,000 of them.
        """
        standing, at = self._standing, 0
        counter_of, newcomer = self._counters.served.get, self._counters.newcomer
        limit = math.inf
        while at < self._most and at < len(standing):
            counter, number, tenant = standing[at]
            head = tenant.head
            if head is None or not head.is_waiting:
                head = tenant.head = tenant.order.first()
                if head is None:
                    del standing[at], self._tenants[tenant.name]
                    continue
            now = counter_of(tenant.name, newcomer)
            if now > counter:
                del standing[at]
                insort(standing, (now, number, tenant))
                continue
            if at == 0:
                limit = counter + self._quantum_tokens
            elif counter > limit:
                break
            at += 1
        self._num_near = at

    def _best(self) -> "_Tenant":
        """Return the first of the near ones whose head has the most tokens cached.

        What a head has is kept as it was when it first stood there: to look it up is dear."""
        best = self._standing[0][2]
        if self._num_near == 1:
            return best
        assert self._affinity_tokens is not None
        most = -1.0
        for _, _, tenant in self._standing[: self._num_near]:
            head = tenant.head
            assert head is not None, "the near ones have heads"
            cached = head.affinity_tokens
            if cached is None:
                cached = head.affinity_tokens = self._affinity_tokens(head)
            if cached > most:
                best, most = tenant, cached
        return best


@dataclass(slots=True, eq=False)
class _Tenant:
    """What waits of one tenant; `head`: the first of it, None where that is to be looked up."""

    name: str
    order: Order
    head: Ticket | None = None


class Floors:
    """Tokens owed to each class below those that were served before it, over all lanes.

    `shares`: what a class that waits gets for each token that goes to a more urgent one. A class whose head has waited
    for `ageing_s` is owed twice as much.
    """

    def __init__(self, shares: Mapping[ServiceClass, float], ageing_s: float) -> None:
        self._shares = shares
        self._ageing_s = ageing_s
        self._owed = dict.fromkeys(shares, 0.0)

    def is_due(self, ticket: Ticket) -> bool:
        """Say whether its class may go before more urgent ones with this ticket."""
        return self._owed.get(ticket.request.service_class, 0.0) >= ticket.cost_tokens

    def passed_over(self, waiting: Iterable[Ticket], tokens: float, now_s: float) -> None:
        """Note that `tokens` went to a more urgent class than those of these heads. Credit is kept for one head."""
        for head in waiting:
            service_class = head.request.service_class
            aged = 2.0 if now_s - head.arrived_s >= self._ageing_s else 1.0
            owed = self._owed[service_class] + aged * self._shares[service_class] * tokens
            most = 2.0 * head.cost_tokens
            self._owed[service_class] = owed if owed < most else most

    def paid(self, ticket: Ticket) -> None:
        self._owed[ticket.request.service_class] -= ticket.cost_tokens


class Classes:
    """Interactive before standard before batch, but each class gets its floor of tokens."""

    def __init__(self, floors: Floors, child: Callable[[], Order]) -> None:
        self._floors = floors
        self._child = child
        self._children: list[Order | None] = [None] * len(_URGENCY)  # by urgency; made when first needed
        self._picked: Ticket | None = None  # as long as it waits, and nothing came or was taken
        self._heads: list[Ticket] = []  # of each class that waits, the most urgent first: as of that pick

    def add(self, ticket: Ticket) -> None:
        urgency = _URGENCY[ticket.request.service_class]
        order = self._children[urgency]
        if order is None:
            order = self._children[urgency] = self._child()
        order.add(ticket)
        self._picked = None

    def first(self) -> Ticket | None:
        picked = self._picked
        if picked is None or not picked.is_waiting:
            self._heads = heads = []
            for child in self._children:
                if child is not None and (head := child.first()) is not None:
                    heads.append(head)  # noqa: PERF401  # a comprehension is one more call until Python 3.12
            picked = self._picked = self._pick(heads) if heads else None
        return picked

    def key(self) -> Key | None:
        picked = self.first()
        if picked is None:
            return None
        urgency = _URGENCY[picked.request.service_class]
        below = self._of(urgency).key()
        assert below is not None, "it has a head"
        return (_FLOOR if self._floors.is_due(picked) else float(urgency), *below)

    def take(self, now_s: float) -> Ticket:
        picked = self.first()
        assert picked is not None, "nothing waits"
        picked.is_by_floor = self._floors.is_due(picked)
        if picked.is_by_floor:
            self._floors.paid(picked)
        else:
            less_urgent = self._heads[self._heads.index(picked) + 1 :]
            self._floors.passed_over(less_urgent, picked.cost_tokens, now_s)
        self._picked = None
        return self._of(_URGENCY[picked.request.service_class]).take(now_s)

    def num_places(self) -> int:
        return sum(child.num_places() for child in self._children if child is not None)

    def _of(self, urgency: int) -> Order:
        child = self._children[urgency]
        assert child is not None, "it has a head"
        return child

    def _pick(self, heads: list[Ticket]) -> Ticket:
        for head in heads:
            if self._floors.is_due(head):
                return head
        return heads[0]


_URGENCY = {service_class: number for number, service_class in enumerate(ServiceClass)}
_FLOOR = -1.0  # stands before every class
