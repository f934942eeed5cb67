"""Orders and routes without what makes them quick: what the plane must decide like. For the tests beside this."""

from bisect import insort
from collections.abc import Callable, Collection

from cluster.serving.account import EngineAccount
from cluster.serving.engine_caches import EngineCaches
from cluster.serving.fair import Counters, Fair
from cluster.serving.order import Key, Order
from cluster.serving.policy import QUANTUM_TOKENS, FairWithLocality, Hybrid
from cluster.serving.prefix_index import MAX_HOLDERS
from cluster.serving.routes import SoonestDone
from cluster.serving.size import PromptPrefix, TextSizing
from cluster.serving.ticket import Ticket
from sage.base.ids import EngineId
from sage.base.inference import TEXT_KINDS, ServiceClass


class PlainlyFair:
    """As `Fair`, but every head is asked for, and every tenant's counter, each time."""

    def __init__(
        self,
        counters: Counters,
        child: Callable[[], Order],
        affinity_tokens: Callable[[Ticket], float | None] | None,
        *,
        favours_sparse: bool,
    ) -> None:
        self._favours_sparse = favours_sparse
        self._counters = counters
        self._child = child
        self._affinity_tokens = affinity_tokens
        self._of_tenant: dict[str, Order] = {}
        self._standing: list[tuple[float, int, str]] = []
        self._num_entered = 0
        self._chosen: tuple[str, Ticket] | None = None
        """Holds until it waits no more, its tenant's counter grows, something is taken, or something comes that goes
        first in its tenant."""
        self._chosen_at = 0.0

    def add(self, ticket: Ticket) -> None:
        tenant = ticket.request.tenant
        before = self._of_tenant[tenant].first() if tenant in self._of_tenant else None
        nothing_else = before is None
        in_no_hurry = ticket.request.service_class is ServiceClass.BATCH or ticket.lane.kind in TEXT_KINDS
        ticket.is_sparse = self._favours_sparse and nothing_else and not in_no_hurry and self.first() is not None
        if tenant not in self._of_tenant:
            self._of_tenant[tenant] = self._child()
            self._num_entered += 1
            insort(self._standing, (self._counters.begin(tenant).served, self._num_entered, tenant))
        self._of_tenant[tenant].add(ticket)
        if self._of_tenant[tenant].first() is not before:
            self._chosen = None

    def first(self) -> Ticket | None:
        chosen = self._chosen
        if chosen is None or not chosen[1].is_waiting or self._counters.of(chosen[0]) != self._chosen_at:
            near = self._near()
            sparse = [place for place in near if place[1].is_sparse]
            rest = [place for place in near if not place[1].is_sparse]
            for _, head in rest if len(rest) > 1 else ():
                if head.affinity_tokens is None:
                    head.affinity_tokens = self._affinity_tokens(head) if self._affinity_tokens else 0.0
            cached = max(rest, key=lambda place: place[1].affinity_tokens or 0.0, default=None)
            self._chosen = sparse[0] if sparse else cached
            self._chosen_at = self._counters.of(self._chosen[0]) if self._chosen else 0.0
        return None if self._chosen is None else self._chosen[1]

    def key(self) -> Key | None:
        if self.first() is None or self._chosen is None:
            return None
        below = self._of_tenant[self._chosen[0]].key()
        return None if below is None else (self._counters.of(self._chosen[0]), *below)

    def take(self, now_s: float) -> Ticket:
        assert self.first() is not None
        assert self._chosen is not None
        tenant, self._chosen = self._chosen[0], None
        ticket = self._of_tenant[tenant].take(now_s)
        self._counters.charge(tenant, ticket.cost_tokens)
        return ticket

    def classes(self) -> Collection[ServiceClass]:
        return ()

    def passed_over(self, taken: Ticket, tokens: float, now_s: float, beside: Collection[ServiceClass]) -> None:
        """Nothing to note."""

    def num_places(self) -> int:
        return sum(order.num_places() for order in self._of_tenant.values())

    def _near(self) -> list[tuple[str, Ticket]]:
        """Return the first tenants by their counters, within the quantum, up to a sparse one.

        Who is met and has nothing is forgotten."""
        near: list[tuple[float, str, Ticket]] = []
        while len(near) < min(Fair.MAX_LOOKED_AT, len(self._standing)):
            counter, number, tenant = self._standing[len(near)]
            head, now = self._of_tenant[tenant].first(), self._counters.of(tenant)
            if head is None:
                del self._standing[len(near)], self._of_tenant[tenant]
            elif now > counter:
                del self._standing[len(near)]
                insort(self._standing, (now, number, tenant))
            elif near and counter > near[0][0] + QUANTUM_TOKENS:
                break
            else:
                near.append((counter, tenant, head))
                if head.is_sparse:
                    break
        return [(tenant, head) for _, tenant, head in near]


class PlainDlpm(FairWithLocality):
    def _fair(self, child: Callable[[], Order]) -> Order:
        return PlainlyFair(self._counters, child, self._affinity_tokens, favours_sparse=self.favours_sparse)


class PlainHybrid(Hybrid):
    def _fair(self, child: Callable[[], Order]) -> Order:
        return PlainlyFair(self._counters, child, self._affinity_tokens, favours_sparse=self.favours_sparse)


class _Knowing:
    """Which engine was given which block, and when, and what of that it still has, looked up a block at a time."""

    def __init__(self) -> None:
        self.caches = EngineCaches()
        self._holders: dict[int, list[EngineId]] = {}

    def cached_tokens(self, prefix: PromptPrefix) -> dict[EngineId, int]:
        """Return what each engine that was given the first block is believed to have from the front."""
        if not prefix.hashes:
            return {}
        found = {id: self._tokens(prefix, id) for id in self._holders.get(prefix.hashes[0], ())}
        return {id: tokens for id, tokens in found.items() if tokens}

    def add(self, prefix: PromptPrefix, engine_id: EngineId) -> None:
        for block in prefix.hashes:
            holders = self._holders.setdefault(block, [])
            if engine_id not in holders:
                holders[:] = [*holders[-MAX_HOLDERS + 1 :], engine_id]

    def _tokens(self, prefix: PromptPrefix, engine_id: EngineId) -> int:
        given = 0
        for block, end_tokens in zip(prefix.hashes, prefix.ends_tokens, strict=True):
            if engine_id not in self._holders.get(block, ()):
                break
            given = end_tokens
        return self.caches.still_cached(prefix, engine_id, given) if given else 0


class PlainAuto(SoonestDone):
    """As `SoonestDone`, but nothing that was looked up is kept, and all of what engines have is looked up each time."""

    def __init__(self) -> None:
        super().__init__(TextSizing())
        self._knowing = _Knowing()
        self._caches = self._knowing.caches

    def came(self, ticket: Ticket) -> None:
        """Nothing is read before it is needed."""

    def given(self, ticket: Ticket, account: EngineAccount) -> int:
        self._stayed(ticket, account)
        uncached_tokens = self.uncached_tokens(ticket, account)
        prefix = self._prefix_of(ticket)
        ticket.given_before = self._caches.given(prefix, account.info.engine_id)
        self._knowing.add(prefix, account.info.engine_id)
        return uncached_tokens

    def affinity_tokens(self, ticket: Ticket) -> float:
        return max(self._matches(ticket).values(), default=0)

    def _cached_tokens(self, ticket: Ticket) -> dict[EngineId, int]:
        return self._knowing.cached_tokens(self._prefix_of(ticket))
