"""An engine's costs from what a server was seen to take. Pure; asks nobody.

Fitted: what a prompt takes by its tokens, by what stands before them and by the pieces that it is cut into, a table of
seconds a token over how many decode together, how many it takes at once, and whether it keeps beginnings of prompts.
Into how many pieces an engine cuts a prompt must be said. Where all prompts are one piece, an iteration is taken to
cost what one sequence costs to decode, besides its tokens; what else stands before the first token (the way there and
back) keeps no engine busy, and is added to the times to the first token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.calibrate_probe import Probed, Together
from benchmarks.replay_figures import ReplayedCall
from cluster.serving.engines.cost import CostModel, tokens_before
from sage.base.errors import RequestFailed

MIN_TOKENS_TIMED = 4
ASSUMED_BLOCK_TOKENS = 32
"""Of a server that keeps beginnings and does not say how much it found: OpenVINO's block on CPUs."""

_KEPT_BELOW = 0.6  # of the time that a prompt takes: where it takes less when it is asked again, it was kept
_WORKED_OFF_ABOVE = 0.4  # of the time that a prompt takes, later than an equal one that came with it
_TIMES_LEAST = 2  # as long as the shortest: of shorter prompts the way there and back is most of the time


@dataclass(frozen=True, slots=True)
class Fitted:
    """`overhead_ms` is on top of what the engine takes for a prompt; beginnings of prompts are kept in blocks of
    `block_tokens`, 0 where they are not; `looks_early`: as of the simulator's EngineModel. `slowness`: of each look, by
    what factor everything took longer than usual."""

    costs: CostModel
    overhead_ms: float
    block_tokens: int = 0
    looks_early: bool = False
    slowness: tuple[float, ...] = (1.0,)


@dataclass(frozen=True, slots=True)
class Prompted:
    """What of a prompt was not kept, the seconds to its first token, and what was kept."""

    tokens: int
    first_s: float
    kept_tokens: int = 0

    @property
    def before_tokens(self) -> float:
        """What stands before each of its tokens that were not kept, summed."""
        return tokens_before(self.kept_tokens, self.tokens)


@dataclass(frozen=True, slots=True)
class PromptCosts:
    """Seconds until an engine begins with a prompt; a piece of it; a token; a token for each that stands before it."""

    start_s: float
    piece_s: float
    token_s: float
    before_token_s: float


def fitted_to(looks: Sequence[Probed], name: str, *, chunk_tokens: int) -> Fitted:
    """Return the costs, by all looks together.

    Raises: RequestFailed where no answer is long enough to time its tokens.
    """
    prompts = [*zip(*(look.prompts for look in looks), strict=True), *_found_kept(looks)]
    lengths = [_usual([_prompted(call) for call in calls]) for calls in prompts]
    sizes = list(zip(*(look.together for look in looks), strict=True))
    short = next(same for same in sizes if same[0].asked == looks[0].long.asked)
    each_context_ms = context_ms([look.long for look in looks], short)
    table = _table(sizes, each_context_ms)
    if not table:
        what = f"{name} answered with fewer than {MIN_TOKENS_TIMED} tokens: what one takes cannot be told"
        raise RequestFailed(what, "Name a model that writes more.")
    prompted = fitted_prompts(lengths, table[0][1] / 1e3, chunk_tokens=chunk_tokens)
    full = [min(num_begun(each) for each in same) for same in sizes if all(num_begun(e) < e.asked - 1 for e in same)]
    costs = CostModel(
        name="fitted",
        device=f"simulated: fitted to {name}",
        prefill_fixed_ms=1e3 * prompted.piece_s,
        prefill_token_ms=1e3 * prompted.token_s,
        decode_ms=tuple(table),
        text_fixed_ms=0.0,
        text_token_ms=0.0,
        text_token_per_100_ms=0.0,
        max_running=full[0] if full else max(same[0].asked for same in sizes),
        chunk_tokens=chunk_tokens,
        context_tokens=1 << 30,
        max_batch_texts=1,
        decode_context_ms=each_context_ms,
        prefill_context_ms=1e6 * prompted.before_token_s,
    )
    return Fitted(costs, 1e3 * prompted.start_s, block_tokens_of(looks), looks_early(looks), slowness_of(looks))


def fitted_prompts(prompts: Sequence[Prompted], decode_s: float, *, chunk_tokens: int) -> PromptCosts:
    """Return what prompts take, nothing below zero, by least squares of the shares by which each prompt is off. Where
    no prompt has two pieces, a piece costs `decode_s` at most.

    >>> prompts = [Prompted(num, 0.01 + 0.02 * math.ceil(num / 64) + 0.001 * num) for num in (40, 60, 90, 200, 300)]
    >>> costs = fitted_prompts(prompts, 0.012, chunk_tokens=64)
    >>> round(costs.start_s, 6), round(costs.piece_s, 6), round(costs.token_s, 6)
    (0.01, 0.02, 0.001)
    """
    ones = [1.0] * len(prompts)
    pieces = [float(math.ceil(prompt.tokens / chunk_tokens)) for prompt in prompts]
    tokens = [float(prompt.tokens) for prompt in prompts]
    before = [prompt.before_tokens for prompt in prompts]
    seconds = [prompt.first_s for prompt in prompts]
    if max(pieces) == 1:
        start_s, token_s, before_token_s = _least_squares([ones, tokens, before], seconds)
        piece_s = min(start_s, decode_s)
        return PromptCosts(start_s - piece_s, piece_s, token_s, before_token_s)
    return PromptCosts(*_least_squares([ones, pieces, tokens, before], seconds))


def _least_squares(columns: list[list[float]], values: list[float]) -> list[float]:
    """Return how much of each column makes up the values, none below zero; what is off counts by its share."""
    import numpy as np

    weights = 1.0 / np.maximum(np.array(values), 1e-9)
    rows = np.array(columns).T * weights[:, None]
    left, found = list(range(len(columns))), [0.0] * len(columns)
    while left:
        best, *_ = np.linalg.lstsq(rows[:, left], np.ones(len(values)), rcond=None)
        if best.min() >= 0.0:
            for column, share in zip(left, best, strict=True):
                found[column] = float(share)
            break
        left.pop(int(best.argmin()))
    return found


def token_s(together: Together) -> float | None:
    """Return seconds for a token of each; None where all answers were too short to tell.

    Where all of them were seen to be at it at once, only that time counts: before, prompts were worked off beside.
    """
    calls = [call for call in together.calls if call.is_answered and call.num_tokens >= MIN_TOKENS_TIMED]
    if not calls:
        return None
    begin_s, end_s = max(call.piece_s[0] for call in calls), min(call.piece_s[-1] for call in calls)
    both = [each for call in calls if (each := _token_s_between(call, begin_s, end_s)) is not None]
    return median(both or [call.tpot_s for call in calls])


def _token_s_between(call: ReplayedCall, begin_s: float, end_s: float) -> float | None:
    """Return seconds for a token between two times; a piece may hold several."""
    within = [at_s for at_s in call.piece_s if begin_s <= at_s <= end_s]
    tokens = (len(within) - 1) * (call.num_tokens - 1) / max(1, len(call.piece_s) - 1)
    return None if tokens < MIN_TOKENS_TIMED else (within[-1] - within[0]) / tokens


def context_ms(long: Sequence[Together], short: Sequence[Together]) -> float:
    """Return what 1,000 tokens before the next ones cost: by how much longer the tokens of as many take after long
    prompts than after short ones."""
    found: list[float] = []
    for after_long, after_short in zip(long, short, strict=True):
        more_tokens = _before_tokens(after_long) - _before_tokens(after_short)
        long_s, short_s = token_s(after_long), token_s(after_short)
        if long_s is not None and short_s is not None and more_tokens > 0:
            found.append(1e6 * (long_s - short_s) / more_tokens)
    return max(0.0, median(found)) if found else 0.0


def _before_tokens(together: Together) -> float:
    """Return how many tokens stand before the next ones, about the middle of the answers."""
    usages = [call.usage for call in together.calls if call.usage is not None]
    return sum(usage.prompt_tokens + usage.completion_tokens / 2 for usage in usages)


def looks_early(looks: Sequence[Probed]) -> bool:
    """Say whether of two equal prompts that came at once both were worked off."""
    shares = []
    for look in looks:
        first_s, second_s = sorted(map(_first_s, look.twice))
        shares.append((second_s - first_s) / max(1e-9, first_s))
    return median(shares) > _WORKED_OFF_ABOVE if shares else False


def num_begun(together: Together) -> int:
    """Return how many had begun when the first whole answer ended: fewer than asked where the engine was full."""
    calls = together.calls
    whole = [call for call in calls if call.is_answered and call.num_tokens >= call.arrival.answer_tokens]
    first_end_s = min((call.end_s for call in whole if call.end_s is not None), default=None)
    if first_end_s is None:
        return together.asked
    return sum(not call.piece_s or call.piece_s[0] <= first_end_s for call in calls)


def block_tokens_of(looks: Sequence[Probed]) -> int:
    """Return in blocks of how many tokens beginnings of prompts are kept, 0 where they are not.

    By what the server says it found of prompts that were asked again; where it says nothing, by how long they took.
    """
    again = [call.usage for look in looks for call in look.again if call.usage is not None]
    if told := math.gcd(*(usage.cached_tokens for usage in again)):
        return told
    least = min((usage.prompt_tokens for usage in again), default=0)
    shares = [
        _first_s(second) / max(1e-9, _first_s(first))
        for look in looks
        for first, second in zip(look.prompts, look.again, strict=True)
        if second.usage is not None and second.usage.prompt_tokens >= _TIMES_LEAST * least
    ]
    return ASSUMED_BLOCK_TOKENS if shares and median(shares) < _KEPT_BELOW else 0


def slowness_of(looks: Sequence[Probed]) -> tuple[float, ...]:
    """Return for each look by what factor it took longer than is usual of all: the machine is slower now and then."""
    rows = [[*map(_first_s, look.prompts), *(token_s(each) or 0.0 for each in look.together)] for look in looks]
    usual = [median(column) for column in zip(*rows, strict=True)]
    return tuple(
        median([seen / each for seen, each in zip(row, usual, strict=True) if seen and each] or [1.0]) for row in rows
    )


def _table(sizes: Sequence[Sequence[Together]], each_context_ms: float) -> list[tuple[int, float]]:
    """Return milliseconds a token by how many decode together, without what the tokens before them cost."""
    table: list[tuple[int, float]] = []
    for same in sizes:
        if seconds := [each for together in same if (each := token_s(together)) is not None]:
            before = median(map(_before_tokens, same)) / 1e3
            least = table[-1][1] if table else 0.0
            table.append((same[0].asked, max(least, round(1e3 * median(seconds) - each_context_ms * before, 4))))
    return table


def _usual(prompts: Sequence[Prompted]) -> Prompted:
    return Prompted(
        round(median(each.tokens for each in prompts)),
        median(each.first_s for each in prompts),
        round(median(each.kept_tokens for each in prompts)),
    )


def _prompted(call: ReplayedCall) -> Prompted:
    assert call.usage is not None, call
    kept_tokens = call.usage.cached_tokens
    return Prompted(call.usage.prompt_tokens - kept_tokens, _first_s(call), kept_tokens)


def _found_kept(looks: Sequence[Probed]) -> list[tuple[ReplayedCall, ...]]:
    """Return what was asked again where the server says that it found some of it: what is left has most before it."""
    again = zip(*(look.again for look in looks), strict=True)
    return [calls for calls in again if all(call.usage is not None and call.usage.cached_tokens for call in calls)]


def _first_s(call: ReplayedCall) -> float:
    """Return the seconds to the first piece of a call, or to its end where it brought none."""
    assert call.end_s is not None, call
    return call.piece_s[0] if call.piece_s else call.end_s
