"""Whether an urgent request gains more by another's place than is thrown away by that. Knows no queue and no clock.

Prompts of an engine are worked off one after the other. Whoever waits for room goes behind the last of them in the
end, on the engine that is done first; whoever gets the place of one of them has its first token earlier by what is
left to do of that one, but on its engine. What was done of it is done again.
"""

import math
from collections.abc import Iterable

from cluster.serving.account import EngineAccount
from cluster.serving.route import Router
from cluster.serving.ticket import Ticket, engine_of

MUCH_OF_ITS_TIME = 0.5
"""What is foretold to wait for less than so much of the time in which it is due waits: it comes in time anyway, and
whoever gave it place would be worked on later for nothing (simulated: with 1.0 hardly anything is taken back, without
it three to eight times as many are where prompts bind, and no more are good on the whole)."""

NUM_LOOKED_AT = 16


def best_to_take_back(urgent: Ticket, given: Iterable[Ticket], router: Router, now_s: float) -> Ticket | None:
    """Return which of `given` brings `urgent` most, above what of it is thrown away; None where none brings anything.

    Where nothing is known of how long prompts take, the first of them. Of the engines that `urgent` could wait for,
    those with the fewest prompts are looked at, no more than `NUM_LOOKED_AT` of a kind.
    """
    waits_s: float | None = None
    best, most_s = None, 0.0
    for ticket in given:
        account = router.account(engine_of(ticket))
        assert account is not None, "it is held there"
        begins_s = account.first_token_in_s(router.uncached_tokens(urgent, account), now_s, urgent.lane)
        if begins_s is None:
            return ticket
        if waits_s is None:
            shortest = router.shortest(urgent.lane, NUM_LOOKED_AT)
            waits_s = min((_waits_s(urgent, each, router, now_s) for each in shortest), default=math.inf)
            if waits_s <= MUCH_OF_ITS_TIME * (urgent.due_s - now_s):
                return None
        left_s, lost_s = _left_and_lost_s(ticket, account, now_s)
        gains_s = waits_s - (begins_s - left_s) - lost_s
        if gains_s > most_s:
            best, most_s = ticket, gains_s
    return best


def _waits_s(urgent: Ticket, account: EngineAccount, router: Router, now_s: float) -> float:
    """Return in how many seconds it would have its first token behind all that an engine has."""
    return account.first_token_in_s(router.uncached_tokens(urgent, account), now_s, urgent.lane) or 0.0


def _left_and_lost_s(ticket: Ticket, account: EngineAccount, now_s: float) -> tuple[float, float]:
    """Return how long its engine will still work on a prompt, and how long it has, by its plan."""
    begins_s = ticket.planned_s - ticket.prefill_s + account.late_s
    lost_s = min(max(0.0, now_s - begins_s), ticket.prefill_s)
    return ticket.prefill_s - lost_s, lost_s
