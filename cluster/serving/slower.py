"""Whether a slower engine of a model is worth a request, or it had better wait for a faster one. Knows no queue."""

import math
from collections.abc import Iterable, Sequence

from cluster.serving.account import EngineAccount
from cluster.serving.engine_route import Accounts, EngineRoute
from cluster.serving.size import CHARACTERS_PER_TOKEN
from cluster.serving.ticket import Ticket
from sage.base.inference import TEXT_KINDS, ScoreRequest, ServiceClass, TextsRequest

MOST_TOKEN_S = 0.15
"""An answer whose tokens come further apart is not read as it comes: three quarters of what the simulator calls
good."""

CAUTION = 1.5
"""By how much sooner than it is due a first token must be foretold there."""

SURE_SHARE = 0.75
"""Of a context: a prompt of more tokens, counted as text in English is, may be too long for it."""

_BATCH = ServiceClass.BATCH


def choice_of_speeds(
    some: Iterable[EngineAccount],
    ticket: Ticket,
    now_s: float,
    route: EngineRoute,
    accounts: Accounts,
    *,
    serving: Sequence[EngineAccount],
) -> EngineAccount | None:
    """Return the engine that the route gives a ticket to where some are slower than others; None where it is to wait.

    `some`: engines with room, the one that stands first before others, and of each speed the one that does. `serving`:
    all of its lane, with room or without.
    """
    able = [each for each in some if may_take(each, ticket, now_s, route)]
    if not able:
        return _as_good_as_any(some, serving, ticket)

    def done(account: EngineAccount) -> tuple[float, int]:
        more = route.longer(ticket, account) + route.loading(account, ticket.lane)
        return route.standing(account) + more, account.last_pick

    best = min(able, key=done)
    chosen = route.choose(ticket, best, accounts)
    return chosen if chosen is best or may_take(chosen, ticket, now_s, route) else best


def may_take(account: EngineAccount, ticket: Ticket, now_s: float, route: EngineRoute) -> bool:
    """Say whether a request may go to an engine by a route, which may not ask how fast that is."""
    if not route.weighs_speed:
        return is_long_enough(account, ticket)
    return is_fit(account, ticket, route.uncached_tokens(ticket, account), now_s)


def _as_good_as_any(
    some: Iterable[EngineAccount], serving: Sequence[EngineAccount], ticket: Ticket
) -> EngineAccount | None:
    """Return which of `some` a request goes to since it would wait in vain for a better one: the fastest of its model
    may not serve its lane, may be about to end or have too short a context. None where a better one is to come."""
    staying = [each for each in serving if not each.is_retired]
    longest_tokens = max(each.speed.context_tokens for each in staying)
    tokens = _longest_tokens(ticket)

    def holds(account: EngineAccount) -> bool:
        context_tokens = account.speed.context_tokens
        return context_tokens == longest_tokens or tokens <= SURE_SHARE * context_tokens

    least = min(each.slowness for each in staying if holds(each))
    return next((each for each in some if each.slowness == least and holds(each)), None)


def is_none_better(some: Iterable[EngineAccount], serving: Sequence[EngineAccount]) -> bool:
    """Say whether each engine of a lane that is not about to end has one among `some` that is neither slower nor of a
    shorter context: then whatever waits for one of them goes to `some`."""
    own = {(each.slowness, each.speed.context_tokens) for each in some}
    others = {(each.slowness, each.speed.context_tokens) for each in serving if not each.is_retired}
    return all(any(slow <= slowness and long >= tokens for slow, long in own) for slowness, tokens in others)


def soonest_of(some: Iterable[EngineAccount], ticket: Ticket, now_s: float, route: EngineRoute) -> EngineAccount | None:
    """Return of those of `some` that have a sequence, and are fit, where the first token of a ticket would come first;
    None where there is none, or nothing is known of the times of one."""
    best, least_s = None, math.inf
    for account in some:
        if account.is_able and account.has_slot_for(ticket.lane):
            uncached_tokens = route.uncached_tokens(ticket, account)
            if not is_fit(account, ticket, uncached_tokens, now_s):
                continue
            comes_s = account.first_token_in_s(uncached_tokens, now_s, ticket.lane)
            if comes_s is None:
                return None
            if comes_s < least_s:
                best, least_s = account, comes_s
    return best


def is_long_enough(account: EngineAccount, ticket: Ticket) -> bool:
    """Say whether a prompt is not too long for an engine, as far as its text tells; where others' contexts are no
    longer, whoever asked is told so by whichever engine."""
    speed = account.speed
    return not speed.is_short or _longest_tokens(ticket) <= SURE_SHARE * speed.context_tokens


def _longest_tokens(ticket: Ticket) -> int:
    """Return the tokens that a context must hold at once: of several texts, those of the longest."""
    request = ticket.request
    if not isinstance(request, TextsRequest):
        return ticket.size.prompt_tokens
    before = len(request.query) if isinstance(request, ScoreRequest) else 0
    return 1 + (before + max(map(len, request.texts), default=0)) // CHARACTERS_PER_TOKEN


def is_fit(account: EngineAccount, ticket: Ticket, uncached_tokens: int, now_s: float) -> bool:
    """Say whether a request may go to an engine whose context is long enough: to one of the fastest any, to others
    texts, what is of class batch, and what is foretold to begin there in time and to go on as fast as it is read. While
    nothing is known of that, one at a time.
    """
    if not is_long_enough(account, ticket):
        return False
    if account.slowness == 1.0 or ticket.lane.kind in TEXT_KINDS or ticket.request.service_class is _BATCH:
        return True
    first_s = account.first_token_in_s(uncached_tokens, now_s, ticket.lane)
    token_s = account.latency.token_s(account.num_decoding + 1)
    if first_s is None or token_s is None:
        return not account.held
    return now_s + CAUTION * first_s <= ticket.due_s and token_s <= MOST_TOKEN_S
