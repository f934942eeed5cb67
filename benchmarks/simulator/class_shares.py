"""What each class of a simulated run got of the tokens that engines worked off. Knows no engine and no policy."""

from collections.abc import Sequence

from benchmarks.simulator.outcome import Outcome
from sage.base.inference import ServiceClass

_BATCH = ServiceClass.BATCH


def tokens_served(outcomes: Sequence[Outcome], until_s: float) -> float:
    """Return the tokens that were worked off by `until_s` for what ended well: a prompt, what was cached of it too,
    with its first token, and its answer evenly from then to its end."""
    return sum(_tokens_served(outcome, until_s) for outcome in outcomes)


def batch_share_of_rest(outcomes: Sequence[Outcome], capacity_per_s: float) -> float | None:
    """Return what class batch was served of what the higher classes left of the engines, until the last arrival.

    That is: tokens served to batch / (`capacity_per_s` times the seconds until the last arrival, less the tokens served
    to the higher classes); tokens as `tokens_served` counts them. Where less than this rest was asked for in class
    batch, by what was asked for. Above 1 where batch got more than was left: by the floor that it is owed, or since
    engines did more than `capacity_per_s`. None where nothing is of class batch, or the higher classes left nothing.
    """
    until_s = last_arrival_s(outcomes)
    batch = [o for o in outcomes if o.arrival.service_class is _BATCH]
    higher = [o for o in outcomes if o.arrival.service_class is not _BATCH]
    asked = float(sum(o.arrival.prompt_tokens + o.arrival.answer_tokens for o in batch))
    rest = min(asked, capacity_per_s * until_s - tokens_served(higher, until_s))
    return tokens_served(batch, until_s) / rest if rest > 0.0 else None


def last_arrival_s(outcomes: Sequence[Outcome]) -> float:
    return max((o.arrival.at_s for o in outcomes), default=0.0)


def _tokens_served(outcome: Outcome, until_s: float) -> float:
    first_s, end_s, arrival = outcome.first_s, outcome.end_s, outcome.arrival
    if first_s is None or end_s is None or outcome.why is not None or first_s > until_s:
        return 0.0
    answered = 1.0 if end_s <= until_s else (until_s - first_s) / (end_s - first_s)
    return arrival.prompt_tokens + answered * arrival.answer_tokens
