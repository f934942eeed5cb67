"""Which engines with room have an adapter (LoRA) ready, and whether to load it elsewhere instead. Knows no queue."""

from itertools import islice

from cluster.serving.account import EngineAccount
from cluster.serving.adapter_slots import AdapterSlots
from cluster.serving.engine_route import EngineRoute
from cluster.serving.ticket import Lane

MAX_SCANNED = 16
"""Engines that have an adapter ready, and are looked at for one request: those that got room, or were picked, longest
ago. Whoever has the least work of all is looked at as well, and where all have the adapter that is the best of them."""


class ReadyAdapters:
    """For each adapter the engines with room that need not load it. O(slots) where an engine gets room or has none any
    more, or loads; else O(1). `engines`: of the adapters that any has ready."""

    def __init__(self) -> None:
        self.engines: dict[str, dict[EngineAccount, None]] = {}
        self._ready_at: dict[EngineAccount, tuple[int, tuple[str, ...]]] = {}  # by which version of its slots

    def some(self, adapter: str) -> list[EngineAccount]:
        """Return MAX_SCANNED engines with room that have it ready."""
        return list(islice(self.engines.get(adapter, ()), MAX_SCANNED))

    def look(self, account: EngineAccount, slots: AdapterSlots) -> None:
        """Take how an engine is now, and that it was picked or changed otherwise."""
        before = self._ready_at.get(account)
        if not account.is_open:
            if before is not None:
                self._forget(account, before[1])
            return
        if before is not None:
            if before[0] == slots.version:
                return
            self._forget(account, before[1])
        ready = tuple(adapter for adapter in slots if adapter != slots.closed)
        self._ready_at[account] = slots.version, ready
        for adapter in ready:
            self.engines.setdefault(adapter, {})[account] = None

    def picked(self, account: EngineAccount, adapter: str) -> None:
        """Look at others before an engine that was given a request of `adapter`."""
        engines = self.engines.get(adapter)
        if engines is not None and account in engines:
            del engines[account]
            engines[account] = None

    def remove(self, account: EngineAccount) -> None:
        """Forget an engine that is gone."""
        before = self._ready_at.get(account)
        if before is not None:
            self._forget(account, before[1])

    def first(self, lane: Lane, other: EngineAccount | None, route: EngineRoute) -> EngineAccount:
        """Return the engine that stands first by the route of those that have an adapter ready, and of `other`, which
        may have to load it; some engine has it ready."""
        best = min(self.some(lane.model), key=lambda account: (route.standing(account), account.last_pick))
        if other is None or other is best:
            return best
        ready = (route.standing(best), best.last_pick)
        return other if (route.standing(other) + route.loading(other, lane), other.last_pick) < ready else best

    def _forget(self, account: EngineAccount, adapters: tuple[str, ...]) -> None:
        del self._ready_at[account]
        for adapter in adapters:
            engines = self.engines[adapter]
            del engines[account]
            if not engines:
                del self.engines[adapter]
