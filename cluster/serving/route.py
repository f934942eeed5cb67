"""The accounts of engines, and which of those with room takes a request. Knows nothing of waiting or answers."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cluster.serving.account import MAX_EMBEDDING_BATCHES, EngineAccount
from cluster.serving.adapter_loads import AdapterLoads
from cluster.serving.adapter_slots import AdapterSlots
from cluster.serving.engine_route import EngineRoute
from cluster.serving.engine_sets import EngineSets
from cluster.serving.engines.figures import KeptBlocks, Said
from cluster.serving.engines.port import EngineInfo
from cluster.serving.kept_exactly import CacheBelief, KeptExactly
from cluster.serving.ready_adapters import ReadyAdapters
from cluster.serving.routes import LeastWork
from cluster.serving.shut import ShutEngines
from cluster.serving.ticket import Lane, Ticket, lane_for
from cluster.serving.window import PromptWindow, is_adaptive
from sage.base.ids import EngineId, RequestId
from sage.base.inference import TEXT_KINDS, Kind, ModelCard

SLOTS_FOR_A_KEPT_ONE = 12
"""Of so many sequences of an engine that tenants share one is kept for what is sparse: a quiet tenant's p99 is 2.48
times its own by that, 2.68 with one of sixteen, 3.95 without any of it (rough, simulated: `auto`, ten runs over six
traces of two tenants at load 2, 2026-11-23)."""

MAX_SCANNED = 16  # engines, beside those that have a prompt cached


class Router:
    """The accounts of all engines that are up, and for each lane a heap of those with room. O(log engines) a pick."""

    def __init__(self, route: EngineRoute | None = None, *, window: str = "fixed") -> None:
        """Raises UnknownPolicy where there is no such window."""
        self._is_adaptive = is_adaptive(window)
        self._alike: dict[tuple[object, ...], tuple[PromptWindow, AdapterLoads]] = {}
        self._route: EngineRoute = route if route is not None else LeastWork()
        self._kept = KeptExactly()
        self._route.knows(self._kept)
        self._accounts: dict[EngineId, EngineAccount] = {}
        self._sets = EngineSets()
        self._ready = ReadyAdapters()
        self._num_picks = 0
        self._shut = ShutEngines()
        self.favours_sparse = False
        """Whether engines that several tenants share keep sequences for what is sparse, and it goes there at once.

        Not where what would be late is refused: all that is let in comes in time, and it cost 3 % of the good requests
        of many tenants (simulated)."""

    @property
    def route(self) -> EngineRoute:
        return self._route

    @property
    def window(self) -> str:
        return "adaptive" if self._is_adaptive else "fixed"

    def __iter__(self) -> Iterator[EngineAccount]:
        return iter(self._accounts.values())

    def account(self, engine_id: EngineId) -> EngineAccount | None:
        return self._accounts.get(engine_id)

    def saw(self, engine_id: EngineId, said: Said) -> None:
        """Take what an engine says of itself; one that is not up is passed over."""
        account = self._accounts.get(engine_id)
        if account is None:
            return
        if isinstance(said, KeptBlocks):
            self._kept.told(engine_id, said)
        else:
            account.saw(said)

    def cache_belief(self, account: EngineAccount) -> CacheBelief | None:
        """Return how it is known what an engine has cached of prompts; None where the route does not ask."""
        if not self._route.is_by_cached or all(lane.kind in TEXT_KINDS for lane in account.lanes):
            return None
        return "exact" if self._kept.tells(account.info.engine_id) else "learned"

    def add(self, info: EngineInfo) -> EngineAccount:
        """Open the account of an engine that came up; its id must be new."""
        assert info.engine_id not in self._accounts, info.engine_id
        assert info.max_running >= 1, info
        lanes = dict.fromkeys(lane_for(card.name, kind) for card in info.models for kind in card.kinds)
        self._num_picks += 1
        key = (info.kind, info.device, info.models, info.max_running)
        alike = self._alike.setdefault(key, (PromptWindow(is_adaptive=self._is_adaptive), AdapterLoads()))
        account = EngineAccount(info, lanes, last_pick=self._num_picks, window=alike[0], loads=alike[1])
        if adapters := info.adapters:
            account.adapters, account.slots = frozenset(adapters), AdapterSlots(info.adapter_slots or math.inf)
        self._accounts[info.engine_id] = account
        self._sets.add(account)
        self._changed(account)
        return account

    def retire(self, engine_id: EngineId) -> EngineAccount | None:
        """Pick an engine no more; return its account, None where there is none."""
        account = self._accounts.get(engine_id)
        if account is not None:
            account.is_retired = True
            self._changed(account)
        return account

    def remove(self, engine_id: EngineId) -> EngineAccount | None:
        """Close an account and return it with what it held; None if there was none."""
        account = self._accounts.pop(engine_id, None)
        if account is None:
            return None
        self._route.gone(engine_id)
        self._kept.forget(engine_id)
        account.version += 1
        self._shut.remove(account)
        self._ready.remove(account)
        self._sets.remove(account)
        return account

    def serves(self, lane: Lane) -> bool:
        """Say whether an engine that is up serves this lane, with room or without."""
        return lane in self._sets

    def serving(self, lane: Lane) -> Sequence[EngineAccount]:
        """Return the engines that serve this lane, with room or without."""
        engines = self._sets.of(lane)
        return () if engines is None else engines.accounts

    def shortest(self, lane: Lane, num: int) -> list[EngineAccount]:
        """Return behind whose prompts one of a lane could wait for no sequence to end: the engine with room that stands
        first, and of those that have a slot and a window full of prompts up to `num` that are alike, with the fewest
        prompt tokens."""
        with_room = self.pick(lane)
        shut = [account for account in self._shut.least(num) if account.has_slot_for(lane)]
        return shut if with_room is None else [with_room, *shut]

    def is_full(self, lane: Lane) -> bool:
        """Say whether the engines of a lane work on nearly as many requests as they can."""
        engines = self._sets.of(lane)
        return engines is None or engines.free_slots - engines.kept_slots <= len(engines.accounts)

    def models(self) -> tuple[ModelCard, ...]:
        """Return the models served now, each once, in order of their engines."""
        cards = {card.name: card for account in reversed(tuple(self)) for card in account.info.models}
        return tuple(reversed(cards.values()))

    def kinds_of(self, model: str) -> tuple[Kind, ...]:
        """Return what engines that are up do with `model`."""
        return tuple(lane.kind for lane in self._sets if lane.model == model)

    def pick(self, lane: Lane) -> EngineAccount | None:
        """Return the engine with room that stands first by the route; of equals, the one picked longest ago.

        For an adapter, engines that have it ready stand before those that must load it, by what that costs."""
        engines = self._sets.of(lane)
        if engines is None:
            return None
        first = engines.first()
        return self._ready.first(lane, first, self._route) if self._ready.holds(lane.model) else first

    def choose(self, ticket: Ticket) -> EngineAccount | None:
        """Return the engine with room that the route gives `ticket` to; None where none has room. Charges nothing."""
        first = self.pick(ticket.lane)
        return None if first is None else self.choose_beside(first, ticket)

    def soonest(self, ticket: Ticket, now_s: float) -> EngineAccount | None:
        """Return the engine with a sequence, kept or not, where the first token of `ticket` would come first, of those
        that have its prompt cached and of MAX_SCANNED more; None where none has one or nothing is known of its times.
        """
        best, least_s = None, math.inf
        for account in self._scanned(ticket):
            if account.is_able and account.has_slot_for(ticket.lane):
                uncached_tokens = self._route.uncached_tokens(ticket, account)
                comes_s = account.first_token_in_s(uncached_tokens, now_s, ticket.lane)
                if comes_s is None:
                    return None
                if comes_s < least_s:
                    best, least_s = account, comes_s
        return best

    def _scanned(self, ticket: Ticket) -> Iterable[EngineAccount]:
        """Yield the holders of a prompt and MAX_SCANNED engines, others at each pick."""
        engines = self.serving(ticket.lane)
        if len(engines) <= MAX_SCANNED:
            return engines
        holders = [self._accounts[id] for id in self._route.holders(ticket) if id in self._accounts]
        begin = self._num_picks * MAX_SCANNED % len(engines)
        some = engines[begin : begin + MAX_SCANNED]
        return [*(each for each in holders if ticket.lane in each.lanes), *some, *engines[: MAX_SCANNED - len(some)]]

    def choose_beside(self, first: EngineAccount, ticket: Ticket) -> EngineAccount:
        """Return the engine with room that the route gives `ticket` to, where `pick` names `first`."""
        engines = self._sets.of(ticket.lane)
        if engines is not None and engines.num_able == 1:  # no route has a choice
            return first
        return self._route.choose(ticket, first, self._accounts)

    def uncached_tokens(self, ticket: Ticket, account: EngineAccount) -> int:
        """Return how much of the prompt an engine does not have cached, as far as is known."""
        return self._route.uncached_tokens(ticket, account)

    def affinity_tokens(self, ticket: Ticket) -> float | None:
        """Return how many of its tokens an engine has cached, as far as is known; None where the route does not ask."""
        return self._route.affinity_tokens(ticket)

    def change_route(self, route: EngineRoute) -> None:
        """Give what is picked from now on to engines by `route`."""
        self._route = route
        route.knows(self._kept)
        for engines in self._sets.all():
            engines.heap.clear()
        for account in self._accounts.values():
            self._changed(account)

    def charge(self, account: EngineAccount, tickets: Sequence[Ticket], now_s: float, batch: int | None = None) -> None:
        """Account `tickets` to an engine that has room for them; `batch` numbers an embedding batch."""
        given = self._route.given
        for ticket in tickets:
            account.take(ticket, given(ticket, account), now_s)
            ticket.batch = batch
            if ticket.adapter is not None:
                self._ready.picked(account, ticket.adapter)
        assert len(account.held) <= account.info.max_running, (account.info.engine_id, len(tickets))
        if batch is not None:
            account.batches[batch] = len(tickets)
        self._num_picks += 1
        account.last_pick = self._num_picks
        self._changed(account)

    def close_slot(self, account: EngineAccount, adapter: str) -> None:
        """Give an engine nothing more of an adapter that it is at work by, until it is not."""
        assert account.slots is not None
        account.slots.close(adapter)
        self._changed(account)

    def saw_first_token(self, account: EngineAccount, ticket: Ticket, now_s: float) -> bool:
        """Note that the first token of a ticket came; say whether its engine has room for another prompt by that, or
        one that is alike: its window is theirs too."""
        window, before_tokens, was_open = account.window, account.window.tokens, account.is_open
        account.saw_first_token(ticket, now_s)
        if account.has_room_for_prompt() is not was_open:  # nothing else of its place depends on first tokens
            self._changed(account)
        elif self._is_adaptive and account in self._shut:
            self._shut.put(account)
        fitting = self._shut.fitting(window) if window.tokens > before_tokens else ()
        for other in fitting:
            self._changed(other)
        return bool(fitting) or (account.is_open and not was_open)

    def release(self, account: EngineAccount, ended: Mapping[RequestId, int], now_s: float) -> list[Ticket]:
        """Return the tickets of these ids that the engine held; it holds them no more. `ended` says how many tokens
        each answer has."""
        released: list[Ticket] = []
        for request_id, num_tokens in ended.items():
            ticket = account.held.get(request_id)
            if ticket is None:
                continue
            released.append(ticket)
            account.drop(ticket, num_tokens, now_s)
            if ticket.batch is not None:
                account.batches[ticket.batch] -= 1
                if not account.batches[ticket.batch]:
                    del account.batches[ticket.batch]
        if released:
            self._changed(account)
        return released

    def _changed(self, account: EngineAccount) -> None:
        """Make earlier heap places of `account` void and give it new ones where it has room."""
        num_held, was_held, was_able = len(account.held), account.num_held, account.is_able
        was_kept, max_running = account.kept_slots, account.info.max_running
        account.is_shared = is_shared = self.favours_sparse and account.window.is_shared
        account.kept_slots = kept = max_running // SLOTS_FOR_A_KEPT_ONE if is_shared else 0
        account.version += 1
        account.num_held = num_held
        account.is_able = is_able = num_held < max_running and not account.is_retired
        has_open_slot = is_able and num_held < max_running - kept
        account.is_open = is_open = has_open_slot and account.prefill_tokens <= account.window.tokens
        if has_open_slot and not is_open:
            self._shut.put(account)
        elif self._is_adaptive:
            self._shut.remove(account)
        place = (self._route.standing(account), account.last_pick, account.version, account) if is_able else None
        can_load = account.slots is None or account.slots.can_load
        for engines, is_adapter in self._sets.of_engine(account):
            engines.free_slots += was_held - num_held
            if is_able is not was_able:
                engines.num_able += is_able - was_able
            if kept != was_kept:
                engines.kept_slots += kept - was_kept
            if place is None or (is_adapter and not can_load):
                continue
            if account.has_room_for_texts() if engines.is_of_texts else is_open:
                engines.put(place)
        if account.slots is not None:
            self._ready.look(account, account.slots)

    def check(self) -> None:
        """Assert what always holds; for tests."""
        for account in self._accounts.values():
            held = account.held.values()
            assert len(held) <= account.info.max_running, "a window is exceeded"
            assert account.load_tokens == sum(ticket.cost_tokens for ticket in held), "load is what is held"
            started = [ticket for ticket in held if ticket.first_s is not None]
            assert account.num_decoding == len(started), "who decodes is known"
            rest = [ticket for ticket in held if ticket.first_s is None and ticket.lane.kind not in TEXT_KINDS]
            assert account.prefill_tokens == sum(ticket.uncached_tokens for ticket in rest)
            assert abs(account.work - sum(ticket.work for ticket in held)) < 1.0, "work is what is held"
            assert all(ticket.engine_id == account.info.engine_id for ticket in held)
            assert len(account.batches) <= MAX_EMBEDDING_BATCHES
            assert sum(account.batches.values()) == sum(ticket.batch is not None for ticket in held)
            is_shut = account.has_open_slot() and not account.is_open
            assert is_shut is (account in self._shut), "who is shut is known"
            assert not is_shut or self._shut.tokens_of(account) == account.prefill_tokens, "and stands by its prompts"
            if account.slots is not None:
                account.slots.check()
            for engines, _ in self._sets.of_engine(account):
                for lane in engines.lanes:
                    may_have = account.has_room(lane.kind) and account.has_slot_for(lane)
                    assert not may_have or self.pick(lane) is not None, "room is found"
                    assert self._sets.of(lane) is engines
                assert engines.free_slots == sum(each.free_slots() for each in engines.accounts), "slots are counted"
                able = [each for each in engines.accounts if not each.is_retired and each.free_slots() > 0]
                assert engines.kept_slots == sum(each.kept_slots for each in engines.accounts), "as are those kept"
                assert engines.num_able == len(able), "engines with slots are counted"
