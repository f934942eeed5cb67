"""Which engine takes the next request: the one with the least work accounted. Knows nothing of waiting or answers."""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from cluster.serving.engines.port import EngineInfo
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Kind

MAX_EMBEDDING_BATCHES = 2  # one in work, one at hand: the engine never idles, and the rest can still be ordered here


@dataclass(slots=True, eq=False)
class EngineAccount:
    """What an engine holds. `load_tokens` counts a request from the pick until the engine says that it ended."""

    info: EngineInfo
    lanes: tuple[Lane, ...]
    held: dict[RequestId, Ticket] = field(default_factory=dict)
    load_tokens: int = 0
    batches: dict[int, int] = field(default_factory=dict)  # embedding batch: how many of its requests it still holds
    last_pick: int = 0
    version: int = 0

    def free_slots(self) -> int:
        return self.info.max_running - len(self.held)

    def has_room(self, kind: Kind) -> bool:
        """Say whether it may be given something of `kind` now."""
        if kind is Kind.EMBED and len(self.batches) >= MAX_EMBEDDING_BATCHES:
            return False
        return self.free_slots() > 0


_Place = tuple[int, int, int, EngineAccount]  # load, last pick (unique unless 0), version, account


class Router:
    """The accounts of all engines that are up, and for each lane a heap of those with room. O(log engines) a pick."""

    def __init__(self) -> None:
        self._accounts: dict[EngineId, EngineAccount] = {}
        self._serving: dict[Lane, list[EngineAccount]] = {}
        self._heaps: dict[Lane, list[_Place]] = {}
        self._num_picks = 0

    def __iter__(self) -> Iterator[EngineAccount]:
        return iter(self._accounts.values())

    def account(self, engine_id: EngineId) -> EngineAccount | None:
        return self._accounts.get(engine_id)

    def add(self, info: EngineInfo) -> EngineAccount:
        """Open the account of an engine that came up; its id must be new."""
        assert info.engine_id not in self._accounts, info.engine_id
        assert info.max_running >= 1, info
        lanes = tuple(dict.fromkeys(Lane(card.name, kind) for card in info.models for kind in card.kinds))
        self._num_picks += 1
        account = EngineAccount(info, lanes, last_pick=self._num_picks)
        self._accounts[info.engine_id] = account
        for lane in lanes:
            self._serving.setdefault(lane, []).append(account)
        self._changed(account)
        return account

    def remove(self, engine_id: EngineId) -> EngineAccount | None:
        """Close an account and return it with what it held; None if there was none."""
        account = self._accounts.pop(engine_id, None)
        if account is None:
            return None
        account.version += 1
        for lane in account.lanes:
            self._serving[lane].remove(account)
            if not self._serving[lane]:
                del self._serving[lane]
                self._heaps.pop(lane, None)
        return account

    def serves(self, lane: Lane) -> bool:
        """Say whether an engine that is up serves this lane, with room or without."""
        return lane in self._serving

    def kinds_of(self, model: str) -> tuple[Kind, ...]:
        """Return what engines that are up do with `model`."""
        return tuple(lane.kind for lane in self._serving if lane.model == model)

    def pick(self, lane: Lane) -> EngineAccount | None:
        """Return the engine with room and the least load; of equals, the one picked longest ago. Charges nothing."""
        heap = self._heaps.get(lane)
        while heap:
            _, _, version, account = heap[0]
            if version == account.version:
                return account
            heapq.heappop(heap)
        return None

    def charge(self, account: EngineAccount, tickets: Sequence[Ticket], batch: int | None = None) -> None:
        """Account `tickets` to an engine that has room for them; `batch` numbers an embedding batch."""
        assert len(tickets) <= account.free_slots(), (account.info.engine_id, len(tickets))
        for ticket in tickets:
            ticket.engine_id, ticket.batch = account.info.engine_id, batch
            account.held[ticket.request.id] = ticket
            account.load_tokens += ticket.cost_tokens
        if batch is not None:
            account.batches[batch] = len(tickets)
        self._num_picks += 1
        account.last_pick = self._num_picks
        self._changed(account)

    def release(self, account: EngineAccount, request_ids: Iterable[RequestId]) -> list[Ticket]:
        """Return the tickets of these ids that the engine held; it holds them no more."""
        released = [ticket for id in request_ids if (ticket := account.held.pop(id, None)) is not None]
        for ticket in released:
            account.load_tokens -= ticket.cost_tokens
            if ticket.batch is not None:
                account.batches[ticket.batch] -= 1
                if not account.batches[ticket.batch]:
                    del account.batches[ticket.batch]
        if released:
            self._changed(account)
        return released

    def _changed(self, account: EngineAccount) -> None:
        """Make earlier heap places of `account` void and give it new ones where it has room."""
        account.version += 1
        place = (account.load_tokens, account.last_pick, account.version, account)
        for lane in account.lanes:
            if account.has_room(lane.kind):
                heap = self._heaps.setdefault(lane, [])
                heapq.heappush(heap, place)
                if len(heap) > 4 * len(self._serving[lane]) + 16:
                    self._heaps[lane] = self._swept(heap)

    def _swept(self, heap: list[_Place]) -> list[_Place]:
        valid = [place for place in heap if place[2] == place[3].version]
        heapq.heapify(valid)
        return valid

    def check(self) -> None:
        """Assert what always holds; for tests."""
        for account in self._accounts.values():
            held = account.held.values()
            assert len(held) <= account.info.max_running, "a window is exceeded"
            assert account.load_tokens == sum(ticket.cost_tokens for ticket in held), "load is what is held"
            assert all(ticket.engine_id == account.info.engine_id for ticket in held)
            assert len(account.batches) <= MAX_EMBEDDING_BATCHES
            assert sum(account.batches.values()) == sum(ticket.batch is not None for ticket in held)
            for lane in account.lanes:
                assert not account.has_room(lane.kind) or self.pick(lane) is not None, "room is found"
