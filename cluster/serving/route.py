"""The accounts of engines, and which of those with room takes a request. Knows nothing of waiting or answers."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence

from cluster.serving.account import EngineAccount
from cluster.serving.adapter_slots import AdapterSlots
from cluster.serving.alike import Alike, alike_of, key_of
from cluster.serving.engine_route import EngineRoute
from cluster.serving.engine_sets import EngineSet, EngineSets
from cluster.serving.engines.figures import KeptBlocks, Said
from cluster.serving.engines.port import EngineInfo
from cluster.serving.kept_exactly import CacheBelief, KeptExactly
from cluster.serving.ready_adapters import ReadyAdapters
from cluster.serving.routes import LeastWork
from cluster.serving.shut import ShutEngines
from cluster.serving.slower import choice_of_speeds, is_none_better, soonest_of
from cluster.serving.speeds import Speed, Speeds
from cluster.serving.ticket import Lane, Ticket, lane_for
from cluster.serving.window import is_adaptive
from sage.base.ids import EngineId
from sage.base.inference import TEXT_KINDS, Kind, Last, ModelCard

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
        self._alike: dict[tuple[object, ...], Alike] = {}
        self._speeds = Speeds()
        self.route: EngineRoute = route if route is not None else LeastWork()
        self._kept = KeptExactly()
        self.route.knows(self._kept)
        self._accounts: dict[EngineId, EngineAccount] = {}
        self.account = self._accounts.get
        self._sets = EngineSets()
        self._ready = ReadyAdapters()
        self._num_picks = 0
        self._freed: EngineAccount | None = None
        """Has a slot again, and no place yet, within one event: where all others are full it is picked at once."""
        self._shut = ShutEngines()
        self.favours_sparse = False
        """Whether engines that several tenants share keep sequences for what is sparse, and it goes there at once. Not
        where what would be late is refused: it cost 3 % of the good requests of many tenants (simulated)."""

    @property
    def window(self) -> str:
        return "adaptive" if self._is_adaptive else "fixed"

    def __iter__(self) -> Iterator[EngineAccount]:
        return iter(self._accounts.values())

    def saw(self, engine_id: EngineId, said: Said, now_s: float) -> Collection[Lane]:
        """Take what an engine that is up says of itself; return its lanes where it may have room by that."""
        account = self._accounts.get(engine_id)
        if isinstance(said, KeptBlocks):
            if account is not None:
                self._kept.told(engine_id, said)
        elif account is not None and account.saw(said, now_s):
            self._changed(account)
            return account.lanes
        return ()

    def cache_belief(self, account: EngineAccount) -> CacheBelief | None:
        """Return how it is known what an engine has cached of prompts; None where the route does not ask."""
        if not self.route.is_by_cached or all(lane.kind in TEXT_KINDS for lane in account.lanes):
            return None
        return "exact" if self._kept.tells(account.info.engine_id) else "learned"

    def add(self, info: EngineInfo) -> EngineAccount:
        """Open the account of an engine that came up; its id must be new."""
        assert info.engine_id not in self._accounts, info.engine_id
        assert info.max_running >= 1, info
        lanes = dict.fromkeys(lane_for(card.name, kind) for card in info.models for kind in card.kinds)
        self._num_picks += 1
        key = key_of(info)
        alike = self._alike.get(key) or self._alike.setdefault(key, alike_of(info, is_adaptive=self._is_adaptive))
        account = EngineAccount(
            info, lanes, last_pick=self._num_picks, window=alike.window, loads=alike.loads, speed=alike.speed
        )
        if adapters := info.adapters:
            account.adapters, account.slots = frozenset(adapters), AdapterSlots(info.adapter_slots or math.inf)
        self._accounts[info.engine_id] = account
        self._sets.add(account)
        self._changed(account)
        self._place_anew(self._speeds.came(alike.speed))
        return account

    def retire(self, engine_id: EngineId) -> EngineAccount | None:
        """Pick an engine no more; return its account, None where there is none."""
        if (account := self._accounts.get(engine_id)) is not None:
            account.is_retired = True
            self._changed(account)
        return account

    def remove(self, engine_id: EngineId) -> EngineAccount | None:
        """Close an account and return it with what it held; None if there was none."""
        account = self._accounts.pop(engine_id, None)
        if account is None:
            return None
        self.route.gone(engine_id)
        self._kept.forget(engine_id)
        account.version += 1
        self._shut.remove(account)
        self._ready.remove(account)
        self._sets.remove(account)
        self._place_anew(self._speeds.left(account.speed))
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
        return engines is None or engines.is_full(are_mixed=self._speeds.are_many)

    def num_as_fast(self, lane: Lane) -> float:
        """Return how many of the fastest engines of a lane would be as fast as all are together; at least 1."""
        engines = self._sets.of(lane)
        return 1.0 if engines is None else engines.num_as_fast(are_mixed=self._speeds.are_many)

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
        if self._freed is not None:
            if (freed := self._alone(lane, engines)) is not None:
                return freed
            self.settle()
        first, ready = engines.first(), self._ready
        return ready.first(lane, first, self.route) if ready.engines and lane.model in ready.engines else first

    def _alone(self, lane: Lane, engines: EngineSet) -> EngineAccount | None:
        """Return who was freed, where it has room for a prompt and no other of these engines has a sequence."""
        freed = self._freed
        if freed is None or engines.num_able or engines.is_of_texts or lane not in freed.lanes:
            return None
        is_as_seen = (self.favours_sparse and freed.window.is_shared) is freed.is_shared
        return freed if is_as_seen and freed.has_room_for_prompt() else None

    def refilled(self, lane: Lane) -> EngineAccount | None:
        """Return who was freed and is given the first of a lane, whatever that is: nobody and nothing has a choice."""
        if self._freed is None or self._freed.slots is not None or (engines := self._sets.of(lane)) is None:
            return None
        return None if engines.lesser else self._alone(lane, engines)

    def is_used_up(self, lane: Lane) -> bool:
        """Say whether no engine of a lane has a sequence, kept or not; not where one may be waited for by adapters."""
        engines = None if self._freed is not None else self._sets.of(lane)
        return engines is not None and not engines.num_able and engines.accounts[0].slots is None

    def has_slot_for_sparse(self, lane: Lane) -> bool:
        """Say whether what is sparse may go to an engine though `pick` names none: one has a slot, kept or not."""
        engines = self._sets.of(lane)
        return self.favours_sparse and engines is not None and engines.num_able > 0

    def takes_at_once(self, lane: Lane) -> bool:
        """Say whether an engine has room for whatever waits in a lane: lesser ones may be worse than to wait."""
        first = self.pick(lane)
        is_best = first is not None and first.speed.is_best
        return is_best or (first is not None and is_none_better(self._firsts(first, lane), self.serving(lane)))

    def _firsts(self, first: EngineAccount, lane: Lane) -> Iterable[EngineAccount]:
        """Yield who stands first, and who of each speed, and who has what a lane asks for ready; some twice."""
        yield first
        engines = self._sets.of(lane)
        if engines is not None and engines.lesser:
            yield from (*engines.tops(), *self._ready.some(lane.model))

    def choose(self, ticket: Ticket, now_s: float) -> EngineAccount | None:
        """Return the engine with room that the route gives `ticket` to; None where none has room, or only some that are
        too slow for it. Charges nothing."""
        first = self.pick(ticket.lane)
        return None if first is None else self.choose_beside(first, ticket, now_s)

    def soonest(self, ticket: Ticket, now_s: float) -> EngineAccount | None:
        """Return the engine with a sequence, kept or not, where the first token of `ticket` would come first, of those
        with its prompt cached and of MAX_SCANNED more; None where none has one or nothing is known of its times."""
        if self._freed is not None and self.pick(ticket.lane) is self._freed:
            return self._freed  # no other has one
        return soonest_of(self._scanned(ticket), ticket, now_s, self.route)

    def _scanned(self, ticket: Ticket) -> Iterable[EngineAccount]:
        """Yield the holders of a prompt and MAX_SCANNED engines, others at each pick."""
        engines = self.serving(ticket.lane)
        if len(engines) <= MAX_SCANNED:
            return engines
        holders = [self._accounts[id] for id in self.route.holders(ticket) if id in self._accounts]
        begin = self._num_picks * MAX_SCANNED % len(engines)
        some = engines[begin : begin + MAX_SCANNED]
        return [*(each for each in holders if ticket.lane in each.lanes), *some, *engines[: MAX_SCANNED - len(some)]]

    def choose_beside(self, first: EngineAccount, ticket: Ticket, now_s: float) -> EngineAccount | None:
        """Return the engine with room that the route gives `ticket` to, where `pick` names `first`; None where it is
        better to wait."""
        engines, ticket.staying = self._sets.of(ticket.lane), None
        assert engines is not None, "one of them has room"
        if engines.lesser:
            some = dict.fromkeys(self._firsts(first, ticket.lane))
            serving = engines.accounts
            return choice_of_speeds(some, ticket, now_s, self.route, self._accounts, serving=serving)
        if engines.num_able <= 1:  # no route has a choice
            return first
        return self.route.choose(ticket, first, self._accounts)

    def uncached_tokens(self, ticket: Ticket, account: EngineAccount) -> int:
        """Return how much of the prompt an engine does not have cached, as far as is known."""
        return self.route.uncached_tokens(ticket, account)

    def affinity_tokens(self, ticket: Ticket) -> float | None:
        """Return how many of its tokens an engine has cached, as far as is known; None where the route does not ask."""
        return self.route.affinity_tokens(ticket)

    def change_route(self, route: EngineRoute) -> None:
        """Give what is picked from now on to engines by `route`."""
        self.route = route
        route.knows(self._kept)
        for engines in self._sets.all():
            engines.clear()
        for account in self._accounts.values():
            self._changed(account)

    def charge(self, account: EngineAccount, tickets: Sequence[Ticket], now_s: float, batch: int | None = None) -> None:
        """Account `tickets` to an engine that has room for them; `batch` numbers an embedding batch."""
        given = self.route.given
        for ticket in tickets:
            account.take(ticket, given(ticket, account), now_s)
            ticket.batch = batch
            if ticket.adapter is not None:
                self._ready.picked(account, ticket.adapter)
        assert len(account.held) <= account.info.max_running, (account.info.engine_id, len(tickets))
        if batch is not None:
            account.texts.given(batch, tickets, now_s)
        account.last_pick = self._num_picks = self._num_picks + 1
        if account is self._freed:
            self._freed = None
            if account.free_slots() == account.num_free:  # as full as before: it had no place, and gets none
                return
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
        changed = self._speeds.are_many and ticket.tells_speed
        changed = changed and self._place_anew(self._speeds.saw(account.speed, ticket.uncached_tokens, ticket.took_s))
        if account.has_room_for_prompt() is not was_open:  # nothing else of its place depends on first tokens
            self._changed(account)
        elif self._is_adaptive and account in self._shut:
            self._shut.put(account)
        fitting = self._shut.fitting(window) if window.tokens > before_tokens else ()
        for other in fitting:
            self._changed(other)
        return changed or bool(fitting) or (account.is_open and not was_open)

    def release(self, account: EngineAccount, ended: Iterable[Last], now_s: float) -> list[tuple[Ticket, Last]]:
        """Return the tickets that an engine held of those that ended, each with how; it holds them no more."""
        released = [(ticket, last) for last in ended if (ticket := account.drop(last, now_s)) is not None]
        if released and (account.is_able or account.is_retired or account.slots is not None or self._speeds.are_many):
            self._changed(account)
        elif released:
            self._freed = account
        return released

    def settle(self) -> None:
        """Give whoever was freed, and not picked since, its place."""
        freed, self._freed = self._freed, None
        if freed is not None:
            self._changed(freed)

    def _place_anew(self, speeds: Sequence[Speed]) -> bool:
        """Let engines whose slowness is another now stand by it; say whether there are any."""
        for account in self._accounts.values() if speeds else ():
            if account.speed in speeds:
                self._changed(account)
        return bool(speeds)

    def _changed(self, account: EngineAccount) -> None:
        """Make earlier heap places of `account` void and give it new ones where it has room."""
        if (self.favours_sparse and account.window.is_shared) is not account.is_shared:
            account.is_shared = not account.is_shared
            self._sets.keep(account, account.info.max_running // SLOTS_FOR_A_KEPT_ONE if account.is_shared else 0)
        is_able = (num_free := account.free_slots()) > 0 and not account.is_retired
        has_open_slot = is_able and account.info.max_running - len(account.held) > account.kept_slots
        account.is_open = has_open_slot and account.prefill_tokens <= account.window.tokens
        account.version += 1
        if has_open_slot and not account.is_open:
            self._shut.put(account)
        elif self._is_adaptive:
            self._shut.remove(account)
        place = (self.route.standing(account), account.last_pick, account.version, account) if is_able else None
        self._sets.look(account, num_free, place)
        if account.slots is not None:
            self._ready.look(account, account.slots)

    def check(self) -> None:
        """Assert what always holds; for tests."""
        assert self._freed is None, "all have their places"
        for account in self._accounts.values():
            account.check()
            is_shut = account.has_open_slot() and not account.is_open
            assert is_shut is (account in self._shut), "who is shut is known"
            assert not is_shut or self._shut.tokens_of(account) == account.prefill_tokens, "and stands by its prompts"
            for engines in self._sets.of_engine(account):
                for lane in engines.lanes:
                    if account.has_room(lane.kind) and account.has_slot_for(lane):
                        assert self.pick(lane) is not None, "room is found"
                engines.check()
