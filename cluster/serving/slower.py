"""Whether a slower engine of a model is worth a request, or it had better wait for a faster one. Knows no queue."""

from collections.abc import Iterable

from cluster.serving.account import EngineAccount
from cluster.serving.engine_route import Accounts, EngineRoute
from cluster.serving.ticket import Ticket
from sage.base.inference import TEXT_KINDS, ServiceClass

MOST_TOKEN_S = 0.15
"""An answer whose tokens come further apart is not read as it comes: three quarters of what the simulator calls
good."""

CAUTION = 1.5
"""By how much sooner than it is due a first token must be foretold there."""

SURE_SHARE = 0.75
"""Of a context: a prompt of more tokens, counted as text in English is, may be too long for it."""

_BATCH = ServiceClass.BATCH


def choice_of_speeds(
    some: Iterable[EngineAccount], ticket: Ticket, now_s: float, route: EngineRoute, accounts: Accounts
) -> EngineAccount | None:
    """Return the engine that the route gives a ticket to where some are slower than others; None where it is to wait.

    `some`: engines with room, the one that stands first before others, and of each speed the one that does.
    """

    def may(account: EngineAccount) -> bool:
        if not route.weighs_speed:
            return is_long_enough(account, ticket)
        return is_fit(account, ticket, route.uncached_tokens(ticket, account), now_s)

    able = [each for each in some if may(each)]
    if not able:
        return None

    def done(account: EngineAccount) -> tuple[float, int]:
        more = route.longer(ticket, account) + route.loading(account, ticket.lane)
        return route.standing(account) + more, account.last_pick

    best = min(able, key=done)
    chosen = route.choose(ticket, best, accounts)
    return chosen if chosen is best or may(chosen) else best


def is_long_enough(account: EngineAccount, ticket: Ticket) -> bool:
    """Say whether a prompt is not too long for an engine, as far as its text tells; where others' contexts are no
    longer, whoever asked is told so by whichever engine."""
    speed = account.speed
    return not speed.is_short or ticket.size.prompt_tokens <= SURE_SHARE * speed.context_tokens


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
