"""Waiting tickets of one lane, fair between tenants in tokens. Knows no engine and no clock.

Within a tenant the order is another's. Adding and taking cost O(log waiting + log tenants).
"""

import math
from bisect import insort
from collections.abc import Callable, Collection
from dataclasses import dataclass
from weakref import WeakValueDictionary

from cluster.serving.order import Key, Order
from cluster.serving.ticket import Ticket
from sage.base.inference import TEXT_KINDS, ServiceClass

_BATCH = ServiceClass.BATCH

WeightOf = Callable[[str], float]
"""Returns a tenant's share beside others: 2 gets twice as much as 1."""

NEWCOMERS_AS = 4.0
"""As many tenants as those never seen before count together beside one that waits: they all begin alike, and one that
had its turn would else stand behind each that comes."""


def alike(tenant: str) -> float:
    """Weigh all tenants alike."""
    return 1.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Counter:
    """Tokens served to a tenant. `refund`: what is taken from its next charge; `is_new`: it was served nothing yet."""

    served: float = 0.0
    refund: float = 0.0
    is_new: bool = False


class Counters:
    """Tokens served to each tenant, over all lanes, as start tags (SFQ: Goyal et al., SIGCOMM 1996; for tokens of
    language models VTC: Sheng et al., OSDI 2024).

    Counters only grow: what was charged too much is taken from the next charge. A tenant that comes back starts where
    the tenant that was served last stood, or up to `saved_tokens` before that if it stood there, so that nobody saves
    up more while idle. A token counts by its tenant's weight.
    """

    def __init__(self, weight_of: WeightOf = alike, *, saved_tokens: float = 0.0) -> None:
        self._weight_of = None if weight_of is alike else weight_of
        self._saved_tokens = saved_tokens
        self._known: dict[str, Counter] = {}
        self._newcomer = 0.0
        """Where a tenant stands that is not known: where whoever was served last stood then, and on by what newcomers
        were served, by `NEWCOMERS_AS`."""
        self._in_use: WeakValueDictionary[str, Counter] = WeakValueDictionary()  # of who was forgotten while it waited
        self._num_kept = 1024

    def of(self, tenant: str) -> float:
        counter = self._known.get(tenant)
        return self._newcomer if counter is None else counter.served

    def begin(self, tenant: str) -> Counter:
        """Return the counter of a tenant that begins to wait; it is remembered from now on."""
        counter = self._known.get(tenant)
        if counter is None:
            counter = self._remember(tenant)
            counter.is_new = True
        counter.served = max(counter.served, self._newcomer - self._saved_tokens)
        if len(self._known) > self._num_kept:
            self._forget()
        return counter

    def charge(self, tenant: str, tokens: float) -> None:
        """Charge a tenant that is served now."""
        if self._weight_of is not None:
            tokens /= self._weight_of(tenant)
        counter = self._known.get(tenant) or self._remember(tenant)
        before = counter.served
        if before > self._newcomer:
            self._newcomer = before
        if counter.is_new:
            counter.is_new = False
            self._newcomer += tokens / NEWCOMERS_AS
        if counter.refund:
            tokens, counter.refund = max(0.0, tokens - counter.refund), 0.0
        counter.served = before + tokens

    def correct(self, tenant: str, tokens: float) -> None:
        """Charge what a request took more than it was charged for, or keep for the next charge what it took less."""
        if self._weight_of is not None:
            tokens /= self._weight_of(tenant)
        counter = self._known.get(tenant) or self._remember(tenant)
        if tokens >= 0.0:
            counter.served += tokens
        else:
            counter.refund -= tokens

    def _remember(self, tenant: str) -> Counter:
        """Let a tenant that is not known stand where newcomers do: with the counter that its orders have, if any."""
        counter = self._known[tenant] = self._in_use.get(tenant, Counter())
        counter.served, counter.refund, counter.is_new = self._newcomer, 0.0, False
        return counter

    def _forget(self) -> None:
        """Forget who stands no further than a newcomer would: what it saved is lost, and refunds not yet used. Who
        waits meanwhile stands where it stood, until it is served."""
        self._in_use.update({tenant: each for tenant, each in self._known.items() if each.served <= self._newcomer})
        self._known = {tenant: each for tenant, each in self._known.items() if each.served > self._newcomer}
        self._num_kept = max(1024, 2 * len(self._known))


class Fair:
    """The tenant who was served the fewest tokens first; of those within `quantum_tokens` of it, the one whose head
    finds most of its prompt in an engine's cache (DLPM: Cao et al., Locality-aware Fair Scheduling in LLM Serving,
    2025: longest prefix within a deficit). Before those, near it, whose head is sparse where that is favoured: such a
    tenant takes no more than its share (sparse flows: Hoeiland-Joergensen et al., RFC 8290, 4.2). Looks at the heads of
    at most `MAX_LOOKED_AT` tenants."""

    MAX_LOOKED_AT = 8

    def __init__(
        self,
        counters: Counters,
        child: Callable[[], Order],
        *,
        quantum_tokens: float = 0.0,
        affinity_tokens: Callable[[Ticket], float | None] | None = None,
        favours_sparse: bool = False,
    ) -> None:
        self._counters = counters
        self._child = child
        self._quantum_tokens = quantum_tokens
        self._affinity_tokens = affinity_tokens
        self._favours_sparse = favours_sparse
        self._tenants: dict[str, _Tenant] = {}
        self._standing: list[tuple[float, int, _Tenant]] = []  # rising: counter as it was, number; once a tenant
        self._num_entered = 0
        self._num_sparse = 0  # that came and were not taken: those that were cancelled among them
        self._num_looked_at = 1 if affinity_tokens is None else self.MAX_LOOKED_AT
        self._chosen: _Tenant | None = None
        """As long as its head waits, it stands where it stood, nothing was taken, and nothing came that goes first in
        its tenant: what comes behind others changes no choice. Others may only have been served meanwhile."""
        self._chosen_stood_at = 0.0

    def add(self, ticket: Ticket) -> None:
        name = ticket.request.tenant
        tenant = self._tenants.get(name)
        head = None if tenant is None else tenant.order.first()
        if ticket.is_sparse is None:
            ticket.is_sparse = False
            if head is None and self._favours_sparse:
                ticket.is_sparse = self._is_sparse(ticket)
                tenant = self._tenants.get(name)  # who is met there and has nothing is forgotten
        if tenant is None:
            tenant = self._tenants[name] = _Tenant(name, self._child(), self._counters.begin(name))
            self._num_entered += 1
            insort(self._standing, (tenant.counter.served, self._num_entered, tenant))
        tenant.order.add(ticket)
        if ticket.is_sparse:
            self._num_sparse += 1
        if head is None or tenant.order.first() is not head:
            tenant.head = self._chosen = None

    def first(self) -> Ticket | None:
        chosen = self._chosen
        if (
            chosen is None
            or (head := chosen.head) is None
            or not head.is_waiting
            or chosen.counter.served != self._chosen_stood_at
        ):
            chosen = self._chosen = self._best_near()
            if chosen is None:
                return None
            head, self._chosen_stood_at = chosen.head, chosen.counter.served
        return head

    def key(self) -> Key | None:
        head, chosen = self.first(), self._chosen
        below = None if head is None or chosen is None else chosen.order.key()
        return None if chosen is None or below is None else (self._counters.of(chosen.name), *below)

    def take(self, now_s: float) -> Ticket:
        self.first()
        chosen = self._chosen
        assert chosen is not None, "nothing waits"
        ticket = chosen.order.take(now_s)
        if ticket.is_sparse:
            self._num_sparse -= 1
        self._counters.charge(chosen.name, ticket.cost_tokens)
        chosen.head = self._chosen = None
        return ticket

    def classes(self) -> Collection[ServiceClass]:
        return ()

    def passed_over(self, taken: Ticket, tokens: float, now_s: float, beside: Collection[ServiceClass]) -> None:
        """Nothing to note: counters of tenants are those of all lanes."""

    def num_places(self) -> int:
        return sum(tenant.order.num_places() for tenant in self._tenants.values())

    def _is_sparse(self, ticket: Ticket) -> bool:
        """Say of what comes while nothing of its tenant waits whether others do; not of batches, which are in no hurry,
        and of texts, which wait for none."""
        if ticket.request.service_class is _BATCH or ticket.lane.kind in TEXT_KINDS:
            return False
        return self.first() is not None

    def _best_near(self) -> "_Tenant | None":
        """Return the first of the near ones whose head is sparse, else the first of those whose head has the most
        tokens cached; None where nobody waits.

        Those that are looked at stand by their counters then, each with its head; who has none stands no more. Where a
        counter has grown, its tenant moves back: O(tenants) by one memmove, 4 us for 10,000 of them.
        """
        standing, at = self._standing, 0
        best: _Tenant | None = None
        limit, most, num = math.inf, 0.0, min(self._num_looked_at, len(standing))
        while at < num:
            counter, number, tenant = standing[at]
            head = tenant.head
            if head is None or not head.is_waiting:
                head = tenant.head = tenant.order.first()
                if head is None:
                    del standing[at], self._tenants[tenant.name]
                    num = min(self._num_looked_at, len(standing))
                    continue
            if (now := tenant.counter.served) > counter:
                del standing[at]
                insort(standing, (now, number, tenant))
                continue
            if best is None:
                best, limit = tenant, counter + self._quantum_tokens
                if head.is_sparse:
                    return tenant
            elif counter > limit:
                break
            elif head.is_sparse:
                return tenant
            else:
                if at == 1:  # where one alone is near, it is not asked for
                    cached = self._cached(best.head)
                    if cached is None and not self._num_sparse:  # nobody could go before it
                        return best
                    most = cached or 0.0
                cached = head.affinity_tokens
                if cached is None:
                    cached = self._cached(head) or 0.0
                if cached > most:
                    best, most = tenant, cached
            at += 1
        return best

    def _cached(self, head: Ticket | None) -> float | None:
        """Return what a head has cached, as it was when it first stood there: to look it up is dear. None where the
        route does not ask."""
        assert head is not None, "the near ones have heads"
        if head.affinity_tokens is None:
            assert self._affinity_tokens is not None, "else one alone is looked at"
            head.affinity_tokens = self._affinity_tokens(head)
        return head.affinity_tokens


@dataclass(slots=True, eq=False)
class _Tenant:
    """What waits of one tenant; `head`: the first of it, None where that is to be looked up."""

    name: str
    order: Order
    counter: Counter
    head: Ticket | None = None
