"""How engines are chosen: in turn, by least work, by conversation, by what they have cached. Pure; knows no queue.

| name | engine | source |
| --- | --- | --- |
| round_robin | the one picked longest ago | - |
| least_work | the one with the least outstanding work | - |
| session | the one that had the conversation before, else least work | - |
| prefix | the one with the longest cached prefix, unless it has much more work | Preble: Srivatsa et al., 2024 |
| auto | the one that will be done with the prompt first: prompts before it, and what of it is not cached | - |

Work is counted in prompt tokens; all but `round_robin` add what must be loaded for an adapter, and count what is at an
engine that is slower than others as many times as that.
"""

from collections.abc import Callable, Iterable, Mapping

from cluster.serving.account import EngineAccount
from cluster.serving.copies import Copies
from cluster.serving.engine_caches import EngineCaches
from cluster.serving.engine_route import Accounts, EngineRoute
from cluster.serving.kept_exactly import KeptExactly
from cluster.serving.names import unknown
from cluster.serving.prefix_index import PrefixIndex
from cluster.serving.recent import Recent
from cluster.serving.size import PromptPrefix, Sizing
from cluster.serving.ticket import Lane, Ticket, engine_of
from sage.base.ids import EngineId
from sage.base.inference import TEXT_KINDS, Usage

ROUTE_NAMES = ("round_robin", "least_work", "session", "prefix", "auto")

MIN_MATCH = 0.5
"""To `prefix` a shorter part of the prompt is no reason to prefer an engine: all requests of a service share their
beginnings."""

WEIGHT_OF_WORK = 0.06  # of all work of an engine, against the prompts before its next one: it tells equals apart

WORTH_OF_CACHED = 12.0
"""Prompt tokens that a request may wait for at a holder, for each that is cached there. Worked off elsewhere they also
drive out what that engine has cached, and are then kept twice: more than the time they take (simulated, Mooncake)."""

WORTH_WHERE_SHARED = 8.0
"""The same on engines that several tenants share: prompts that wait at a holder are in the way of whoever's turn it is
(simulated, two tenants: 6 keeps a quiet one as near to its own times and loses 1 % of the tokens, 12 does not)."""

MIN_WORTH = 0.25
"""A shorter part of the prompt counts to `auto` for just the time that it saves: it is what many share, and is kept
everywhere anyway."""

TIMES_THE_WORK, NUM_MORE = 2.0, 16
"""Of the least busy engine's work, and of the request's own: with more than both a holder is passed over, so that a
prompt that many ask for at once is cached on several engines."""

MAX_SESSIONS = 65_536


class LeastWork:
    """The engine with the least outstanding work."""

    name = "least_work"
    is_by_cached = False
    weighs_speed = True

    def knows(self, kept: KeptExactly) -> None:
        """Nothing is asked of it."""

    def standing(self, account: EngineAccount) -> float:
        return account.work * account.speed.slowness

    def longer(self, ticket: Ticket, account: EngineAccount) -> float:
        return ticket.size.work * (account.slowness - 1.0)

    def loading(self, account: EngineAccount, lane: Lane) -> float:
        return account.loading_tokens(lane)

    def choose(self, ticket: Ticket, first: EngineAccount, accounts: Accounts) -> EngineAccount:
        return first

    def came(self, ticket: Ticket) -> None:
        """Nothing to read."""

    def given(self, ticket: Ticket, account: EngineAccount) -> int:
        return ticket.size.prompt_tokens

    def answered(self, ticket: Ticket, usage: Usage) -> None:
        """Nothing to learn."""

    def given_back(self, ticket: Ticket) -> None:
        """Nothing to forget."""

    def gone(self, engine_id: EngineId) -> None:
        """Nothing to forget."""

    def uncached_tokens(self, ticket: Ticket, account: EngineAccount) -> int:
        return ticket.size.prompt_tokens

    def affinity_tokens(self, ticket: Ticket) -> float | None:
        return None

    def holders(self, ticket: Ticket) -> Iterable[EngineId]:
        return ()


class RoundRobin(LeastWork):
    """Engines in turn, those without room left out."""

    name = "round_robin"
    weighs_speed = False

    def standing(self, account: EngineAccount) -> float:
        return 0.0

    def longer(self, ticket: Ticket, account: EngineAccount) -> float:
        return 0.0

    def loading(self, account: EngineAccount, lane: Lane) -> float:
        return 0.0


class BySession(LeastWork):
    """The engine that had the conversation last, if it has room."""

    name = "session"

    def __init__(self, sizing: Sizing) -> None:
        self._sizing = sizing
        self._engines: Recent[int, EngineId] = Recent(MAX_SESSIONS)

    def choose(self, ticket: Ticket, first: EngineAccount, accounts: Accounts) -> EngineAccount:
        if ticket.lane.kind in TEXT_KINDS:
            return first
        engine_id = self._engines.get(self._sizing.session(ticket.request))
        before = accounts.get(engine_id) if engine_id is not None else None
        return before if before is not None and _has_room(before, ticket) else first

    def given(self, ticket: Ticket, account: EngineAccount) -> int:
        if ticket.lane.kind not in TEXT_KINDS:
            self._engines.put(self._sizing.session(ticket.request), account.info.engine_id)
        return ticket.size.prompt_tokens


_NOTHING: tuple[Ticket | None, Mapping[EngineId, int]] = (None, {})


class _ByPrefix(LeastWork):
    """What routes by cached prefixes share: the index of who has which blocks."""

    is_by_cached = True

    def __init__(self, sizing: Sizing) -> None:
        self._sizing = sizing
        self._index = PrefixIndex()
        self._caches = EngineCaches()
        self._kept = KeptExactly()
        self._looked_up = _NOTHING  # the last, until the index changes
        self._looked_up_version = 0  # of what is kept exactly

    def knows(self, kept: KeptExactly) -> None:
        self._kept = kept

    def came(self, ticket: Ticket) -> None:
        self._prefix_of(ticket)

    def given(self, ticket: Ticket, account: EngineAccount) -> int:
        if ticket.staying is not None:
            self._stayed(ticket, account)
        self._looked_up = _NOTHING
        prefix, engine_id = ticket.prefix or self._prefix_of(ticket), account.info.engine_id
        had_tokens = self._index.add(prefix, engine_id)
        cached_tokens = self._still()(prefix, engine_id, had_tokens) if had_tokens else 0
        if self._kept.version:
            self._kept.given(prefix, engine_id)
        ticket.given_before = self._caches.given(prefix, engine_id)
        uncached_tokens = ticket.size.prompt_tokens - cached_tokens
        return uncached_tokens if uncached_tokens > 1 else 1

    def _stayed(self, ticket: Ticket, account: EngineAccount) -> None:
        """Nothing to count."""

    def answered(self, ticket: Ticket, usage: Usage) -> None:
        if ticket.given_before and usage.prompt_tokens:
            self._looked_up = _NOTHING
            told = usage.cached_tokens * ticket.size.prompt_tokens / usage.prompt_tokens
            self._caches.told(engine_of(ticket), ticket.given_before, told, ticket.size.prompt_tokens)

    def given_back(self, ticket: Ticket) -> None:
        self._looked_up = _NOTHING
        had_tokens = ticket.size.prompt_tokens - ticket.uncached_tokens
        self._caches.not_worked_off(self._prefix_of(ticket), engine_of(ticket), had_tokens)
        self._kept.not_worked_off(self._prefix_of(ticket), engine_of(ticket))

    def uncached_tokens(self, ticket: Ticket, account: EngineAccount) -> int:
        return max(1, ticket.size.prompt_tokens - self._cached_tokens(ticket).get(account.info.engine_id, 0))

    def affinity_tokens(self, ticket: Ticket) -> float:
        if self._looked_up[0] is ticket or self._kept.version:
            return max(self._matches(ticket).values(), default=0)
        prefix = ticket.prefix or self._prefix_of(ticket)
        if len(prefix.hashes) < 2:
            return 0
        return self._caches.most_cached(prefix, self._index.held(prefix), prefix.ends_tokens[1])

    def holders(self, ticket: Ticket) -> Iterable[EngineId]:
        return self._matches(ticket)

    def _matches(self, ticket: Ticket) -> dict[EngineId, int]:
        """Return the cached tokens of each engine that has more of the prompt than its first block."""
        prefix = self._prefix_of(ticket)
        if len(prefix.hashes) < 2:
            return {}
        cached_tokens, least = self._cached_tokens(ticket), prefix.ends_tokens[1]
        return {id: tokens for id, tokens in cached_tokens.items() if tokens >= least}

    def _cached_tokens(self, ticket: Ticket) -> Mapping[EngineId, int]:
        if self._looked_up[0] is not ticket or self._looked_up_version != self._kept.version:
            self._looked_up_version = self._kept.version
            self._looked_up = (ticket, self._still_cached(self._prefix_of(ticket)))
        return self._looked_up[1]

    def gone(self, engine_id: EngineId) -> None:
        self._looked_up = _NOTHING
        self._caches.forget(engine_id)

    def _still_cached(self, prefix: PromptPrefix) -> dict[EngineId, int]:
        given, still = self._index.cached_tokens(prefix), self._still()
        return {id: left for id, tokens in given.items() if (left := still(prefix, id, tokens))}

    def _still(self) -> Callable[[PromptPrefix, EngineId, int], int]:
        """Return what says how much an engine still has: while none ever told exactly, what is learned, at once."""
        return self._told_or_learned if self._kept.version else self._caches.still_cached

    def _told_or_learned(self, prefix: PromptPrefix, engine_id: EngineId, tokens: int) -> int:
        if self._kept.tells(engine_id):
            return self._kept.tokens(prefix, engine_id)
        return self._caches.still_cached(prefix, engine_id, tokens)

    def _prefix_of(self, ticket: Ticket) -> PromptPrefix:
        if ticket.prefix is None:
            ticket.prefix = self._sizing.prefix(ticket.request)
        return ticket.prefix


class LongestPrefix(_ByPrefix):
    """The longest cached prefix, unless its engine has more than this request's own work more than the least busy."""

    name = "prefix"

    def choose(self, ticket: Ticket, first: EngineAccount, accounts: Accounts) -> EngineAccount:
        least = MIN_MATCH * ticket.size.prompt_tokens
        matches = {id: tokens for id, tokens in self._matches(ticket).items() if tokens >= least}
        for engine_id in sorted(matches, key=lambda id: -matches[id]):
            account = accounts.get(engine_id)
            if account is None or not _has_room(account, ticket):
                continue
            more = self._done(ticket, account) - self._done(ticket, first)
            if more <= ticket.size.work:  # what its cache saves; an answer more for near ties
                return account
        return first

    def _done(self, ticket: Ticket, account: EngineAccount) -> float:
        return self.standing(account) + self.longer(ticket, account) + account.loading_tokens(ticket.lane)


class SoonestDone(_ByPrefix):
    """The least of prompts before it and uncached prompt together, over the holders of a prefix and the least busy;
    what is cached is worth more than the time it saves.

    A holder may have its window full of prompts: waiting there for what its cache saves is no loss. Where
    another stands idle it is one, and is counted: see `copies`.
    """

    name = "auto"

    def __init__(self, sizing: Sizing) -> None:
        super().__init__(sizing)
        self._copies = Copies()

    def choose(self, ticket: Ticket, first: EngineAccount, accounts: Accounts) -> EngineAccount:
        matches = self._matches(ticket)
        if not matches:
            return first
        each = WORTH_WHERE_SHARED if first.is_shared else WORTH_OF_CACHED
        best, least = first, _before(first, ticket) - _worth(matches.get(first.info.engine_id, 0), ticket, each)
        most_work = TIMES_THE_WORK * first.work * first.slowness + NUM_MORE * ticket.size.work
        for engine_id, cached in matches.items():
            account = accounts.get(engine_id)
            if account is None or not account.has_open_slot() or ticket.lane not in account.lanes:
                continue
            if account.work * account.speed.slowness > most_work:
                continue
            if account.slots is not None and not account.has_slot_for(ticket.lane):
                continue
            done = _before(account, ticket) - _worth(cached, ticket, each)
            if done < least:
                best, least = account, done
        if best is first or first.held:
            return best
        cached, own = matches[best.info.engine_id], matches.get(first.info.engine_id, 0)
        ticket.staying = staying = self._copies.staying(self._prefix_of(ticket), cached, best, first, own)
        return first if staying.costs_tokens is None else best

    def _stayed(self, ticket: Ticket, account: EngineAccount) -> None:
        """Count a stay, or a copy, now that it comes to that: a forecast chooses too, and counts nothing."""
        staying, ticket.staying = ticket.staying, None
        if staying is not None and staying.engine_id == account.info.engine_id:
            self._copies.went(staying)


def route_named(name: str, sizing: Sizing) -> EngineRoute:
    """Return a new route of this name; raises UnknownPolicy with the nearest name."""
    match name:
        case "round_robin":
            return RoundRobin()
        case "least_work":
            return LeastWork()
        case "session":
            return BySession(sizing)
        case "prefix":
            return LongestPrefix(sizing)
        case "auto":
            return SoonestDone(sizing)
        case _:
            raise unknown("route", name, ROUTE_NAMES, plural="routes", param="route")


def _before(account: EngineAccount, ticket: Ticket) -> float:
    """Return what decides when a prompt given now is done: those before it, and a little how much else is at work, and
    what must be loaded for it."""
    before = account.prefill_tokens + WEIGHT_OF_WORK * account.work
    if (slowness := account.speed.slowness) != 1.0:  # what it takes longer for this one, too
        before = slowness * before + (slowness - 1.0) * ticket.size.prompt_tokens
    return before if account.slots is None else before + account.loading_tokens(ticket.lane)


def _worth(cached_tokens: int, ticket: Ticket, each: float) -> float:
    """Return the prompt tokens before it that a request may wait for where so much of it is cached, for `each`."""
    return cached_tokens * (each if cached_tokens >= MIN_WORTH * ticket.size.prompt_tokens else 1.0)


def _has_room(account: EngineAccount, ticket: Ticket) -> bool:
    return account.has_slot_for(ticket.lane) and account.has_room(ticket.lane.kind)
