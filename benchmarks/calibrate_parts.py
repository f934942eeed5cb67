"""A trace in parts, on a server and simulated: as one trace with rests between, at the speed that the server had then.

Pure; asks nobody. Simulated is one engine throughout, so that what a part had it keep is kept for the next. Where the
machine took everything by a factor longer during a part, the same comes of a trace that is faster by it, with all times
longer: so a part is simulated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from xxhash import xxh3_64_intdigest

from benchmarks.calibrate_fit import Fitted
from benchmarks.replay_figures import ReplayedCall
from benchmarks.replay_prompts import TokenRate, whole_blocks
from benchmarks.simulator.arrival import Arrival, Trace, trace_of
from benchmarks.simulator.outcome import Figures, Outcome, figures_of
from benchmarks.simulator.run import Setup, replay

_KV_TOKENS = 1 << 40  # of a small trace all fits
_REST_S = 1e5  # between two parts


@dataclass(frozen=True, slots=True)
class TracePart:
    """What became of a part of a trace on the server; `slowness`: by what factor everything is taken to have lasted
    longer then; `slowness_by_looks`: the same, by looks at the server alone."""

    calls: tuple[ReplayedCall, ...]
    duration_s: float
    slowness: float = 1.0
    slowness_by_looks: float = 1.0

    @property
    def answered(self) -> list[ReplayedCall]:
        """The calls that the server answered and counted, as they came."""
        found = [call for call in self.calls if call.is_answered and call.usage is not None]
        return sorted(found, key=lambda call: call.arrival.at_s)


def parts_of(trace: Trace, num_parts: int) -> list[Trace]:
    """Return the trace in parts of about as many requests each, none empty; each begins at 0."""
    size = math.ceil(len(trace.arrivals) / num_parts)
    starts = range(0, len(trace.arrivals), max(1, size))
    return [trace_of(trace.name, trace.arrivals[start : start + size]) for start in starts]


def work_s(trace: Trace, fitted: Fitted, rate: TokenRate) -> float:
    """Return how long a simulated engine takes for a trace that comes all at once."""
    tokens = fitted.block_tokens
    arrivals = [
        replace(each, at_s=0.0, blocks=kept_blocks(each, rate, tokens), block_tokens=max(1, tokens))
        for each in trace.arrivals
    ]
    return replay(Trace(trace.name, tuple(arrivals)), _setup(fitted)).duration_s


def simulated(name: str, parts: Sequence[TracePart], fitted: Fitted, rate: TokenRate) -> Figures:
    """Return the figures of a simulated engine that is asked what the server answered, with rests between the parts."""
    outcomes = simulated_parts(name, parts, fitted, rate)
    ends_s = (max((outcome.end_s or 0.0 for outcome in part), default=0.0) for part in outcomes)
    return figures_of([outcome for part in outcomes for outcome in part], sum(ends_s))


def simulated_parts(name: str, parts: Sequence[TracePart], fitted: Fitted, rate: TokenRate) -> list[list[Outcome]]:
    """Return what became of each part's requests, as they came, in seconds since it began."""
    arrivals: list[Arrival] = []
    numbers: list[int] = []
    for number, part in enumerate(parts):
        for arrival in (_seen(call, rate, fitted.block_tokens) for call in part.answered):
            arrivals.append(replace(arrival, at_s=number * _REST_S + arrival.at_s / part.slowness))
            numbers.append(number)
    run = replay(Trace(name, tuple(arrivals)), _setup(fitted))
    outcomes: list[list[Outcome]] = [[] for _ in parts]
    for outcome, number in zip(run.outcomes, numbers, strict=True):
        outcomes[number].append(_slowed(outcome, number * _REST_S, parts[number].slowness))
    return outcomes


def _slowed(outcome: Outcome, begin_s: float, slowness: float) -> Outcome:
    """Return an outcome with its times since its part began, as long as they are on the slower machine."""

    def slower(at_s: float | None) -> float | None:
        return None if at_s is None else (at_s - begin_s) * slowness

    return replace(
        outcome, asked_s=slower(outcome.asked_s), first_s=slower(outcome.first_s), end_s=slower(outcome.end_s)
    )


def kept_blocks(arrival: Arrival, rate: TokenRate, block_tokens: int) -> tuple[int, ...]:
    """Return the blocks of the server's size that a prompt shares with others, as names of all up to their ends.

    >>> rate = TokenRate(1.0, 4.0)
    >>> one, other = (Arrival(0.0, 30, 1, blocks, 10) for blocks in ((1, 2), (1, 3)))
    >>> ones, others = kept_blocks(one, rate, 7), kept_blocks(other, rate, 7)
    >>> len(ones), len(others), ones[:2] == others[:2], ones[2] == others[2]
    (3, 3, True, False)
    """
    per_block = rate.words(arrival.block_tokens) * rate.per_word
    if not block_tokens or not per_block:
        return ()
    blocks = whole_blocks(arrival, rate)
    known = int(rate.fixed + per_block * len(blocks)) // block_tokens
    return tuple(
        xxh3_64_intdigest(repr(blocks[: math.ceil(max(0.0, end - rate.fixed) / per_block)]).encode(), end)
        for end in range(block_tokens, block_tokens * known + 1, block_tokens)
    )


def _setup(fitted: Fitted) -> Setup:
    early, costs = fitted.looks_early, fitted.costs
    return Setup("fifo", "least_work", "none", num_engines=1, costs=costs, kv_tokens=_KV_TOKENS, looks_early=early)


def _seen(call: ReplayedCall, rate: TokenRate, block_tokens: int) -> Arrival:
    """Return what was answered, with the tokens that the server counted.

    How long an answer got to be is the model's doing, not the engine's: it is given to the simulation.
    """
    assert call.usage is not None, call
    return replace(
        call.arrival,
        prompt_tokens=max(1, call.usage.prompt_tokens),
        answer_tokens=max(1, call.usage.completion_tokens),
        blocks=kept_blocks(call.arrival, rate, block_tokens),
        block_tokens=max(1, block_tokens),
    )
