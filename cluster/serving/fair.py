"""Waiting tickets of one lane, fair between tenants in tokens. Knows no engine and no clock.

Within a tenant the order is another's. Adding and taking cost O(log waiting + log tenants).
"""

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from cluster.serving.order import Key, Order
from cluster.serving.ticket import Ticket

WeightOf = Callable[[str], float]
"""Returns a tenant's share beside others: 2 gets twice as much as 1."""


def alike(tenant: str) -> float:
    """Weigh all tenants alike."""
    return 1.0


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
