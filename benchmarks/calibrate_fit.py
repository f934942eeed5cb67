"""An engine's costs from what a server was seen to take, and how far a simulation with them is off. Pure.

Fitted: a line over the tokens of a prompt that had the engine for itself, a table of seconds a token over how many
decoded together, and how many it takes at once. In how many pieces an engine cuts a prompt must be said: each piece is
an iteration, which costs what one sequence costs to decode, and its tokens; what else stands before the first token
(the way there and back) keeps no engine busy, and is added to the times to the first token.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from benchmarks.document import Result
from benchmarks.replay_figures import ReplayedCall, ReplayPlace, ReplayResult
from benchmarks.simulator.arrival import Trace, trace_of
from benchmarks.simulator.outcome import Figures
from cluster.serving.engines.cost import CostModel
from sage.base.errors import RequestFailed

MIN_TOKENS_TIMED = 4


@dataclass(frozen=True, slots=True)
class Fitted:
    """`overhead_ms` is on top of what the engine takes for a prompt."""

    costs: CostModel
    overhead_ms: float


@dataclass(frozen=True, slots=True)
class Together:
    """`asked` requests that were sent at once."""

    asked: int
    calls: tuple[ReplayedCall, ...]

    def token_s(self) -> float | None:
        """Return seconds for a token of each; None where all answers were too short to tell."""
        each = [call.tpot_s for call in self.calls if call.is_answered and call.num_tokens >= MIN_TOKENS_TIMED]
        return median(each) if each else None

    def num_begun(self) -> int:
        """Return how many had begun when the first whole answer ended: fewer than asked where the engine was full."""
        whole = [call for call in self.calls if call.is_answered and call.num_tokens >= call.arrival.answer_tokens]
        first_end_s = min((call.end_s for call in whole if call.end_s is not None), default=None)
        if first_end_s is None:
            return self.asked
        return sum(not call.piece_s or call.piece_s[0] <= first_end_s for call in self.calls)


def fitted_to(
    prompts: Sequence[tuple[int, float]], together: Sequence[Together], name: str, *, chunk_tokens: int
) -> Fitted:
    """Return the costs; `prompts` are (tokens, seconds to the first token), one at a time, `together` by rising number.

    Raises: RequestFailed where no answer is long enough to time its tokens.

    >>> from benchmarks.simulator.arrival import Arrival
    >>> from sage.base.inference import Usage
    >>> one = ReplayedCall(Arrival(0.0, 8, 11), piece_s=[0.1], end_s=0.2, usage=Usage(8, 11))
    >>> fitted = fitted_to([(100, 0.2), (300, 0.4)], [Together(1, (one,))], "m", chunk_tokens=100)
    >>> costs = fitted.costs
    >>> round(fitted.overhead_ms), round(costs.prefill_fixed_ms), round(costs.prefill_token_ms, 3), costs.decode_ms
    (100, 10, 0.9, ((1, 10.0),))
    """
    start_s, token_s = _line(prompts)
    table: list[tuple[int, float]] = []
    for each in together:
        if (seconds := each.token_s()) is not None:
            least = table[-1][1] if table else 0.0
            table.append((each.asked, max(least, round(1e3 * seconds, 4))))
    if not table:
        what = f"{name} answered with fewer than {MIN_TOKENS_TIMED} tokens: what one takes cannot be told"
        raise RequestFailed(what, "Name a model that writes more.")
    piece_ms = table[0][1]
    full = [each for each in together if each.num_begun() < each.asked - 1]
    costs = CostModel(
        name="fitted",
        device=f"simulated: fitted to {name}",
        prefill_fixed_ms=piece_ms,
        prefill_token_ms=max(0.0, 1e3 * token_s - piece_ms / chunk_tokens),
        decode_ms=tuple(table),
        text_fixed_ms=0.0,
        text_token_ms=0.0,
        text_token_per_100_ms=0.0,
        max_running=full[0].num_begun() if full else max(each.asked for each in together),
        chunk_tokens=chunk_tokens,
        context_tokens=1 << 30,
        max_batch_texts=1,
    )
    return Fitted(costs, 1e3 * start_s)


def _line(points: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Return (seconds for none, seconds for each more) by least squares, neither below zero."""
    mean_x, mean_y = fmean(x for x, _ in points), fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
    slope = max(0.0, slope)
    return max(0.0, mean_y - slope * mean_x), slope


def trace_seen(trace_name: str, calls: Sequence[ReplayedCall]) -> Trace:
    """Return what was answered as a trace: with the tokens that the server counted, those left out that it had cached.

    How long each answer got to be is the model's doing, not the engine's: it is given to the simulation.
    """
    arrivals = [
        replace(
            call.arrival,
            prompt_tokens=max(1, call.usage.prompt_tokens - call.usage.cached_tokens),
            answer_tokens=max(1, call.usage.completion_tokens),
            blocks=(),
        )
        for call in calls
        if call.is_answered and call.usage is not None
    ]
    return trace_of(trace_name, arrivals)


class CalibrationResult(Result, frozen=True, kw_only=True):
    """A simulated engine with fitted costs beside the server they were fitted to, on the same trace.

    `simulated_*` come from the simulation, `seen_*` from the server; `*_error` is their difference by what was seen.
    `decode_ms`: milliseconds a token by the number of sequences. `checked`: the server answered all, as asked.
    """

    trace: str
    model: str
    url: str
    speed: float
    overhead_ms: float
    chunk_tokens: int
    prefill_fixed_ms: float
    prefill_token_ms: float
    decode_ms: dict[str, float]
    max_running: int
    seen_tokens_per_s: float
    simulated_tokens_per_s: float
    tokens_per_s_error: float
    seen_ttft_p50_ms: float
    simulated_ttft_p50_ms: float
    ttft_p50_error: float
    seen_tpot_p50_ms: float
    simulated_tpot_p50_ms: float
    tpot_p50_error: float


def calibration_result(place: ReplayPlace, fitted: Fitted, seen: ReplayResult, simulated: Figures) -> CalibrationResult:
    """Return how far the simulation is off."""
    costs, ttft_p50_ms = fitted.costs, round(simulated.ttft_p50_ms + fitted.overhead_ms, 3)
    return CalibrationResult(
        engine="simulated",
        workload="calibrate",
        n=simulated.num_offered,
        checked=seen.checked and seen.num_answered == seen.n == simulated.num_ended,
        simulated=True,
        trace=place.trace,
        model=place.model,
        url=place.url,
        speed=place.speed,
        overhead_ms=round(fitted.overhead_ms, 3),
        chunk_tokens=costs.chunk_tokens,
        prefill_fixed_ms=round(costs.prefill_fixed_ms, 3),
        prefill_token_ms=round(costs.prefill_token_ms, 5),
        decode_ms={str(number): each_ms for number, each_ms in costs.decode_ms},
        max_running=costs.max_running,
        seen_tokens_per_s=seen.tokens_per_s,
        simulated_tokens_per_s=simulated.tokens_per_s,
        tokens_per_s_error=error_of(simulated.tokens_per_s, seen.tokens_per_s),
        seen_ttft_p50_ms=seen.ttft_p50_ms,
        simulated_ttft_p50_ms=ttft_p50_ms,
        ttft_p50_error=error_of(ttft_p50_ms, seen.ttft_p50_ms),
        seen_tpot_p50_ms=seen.tpot_p50_ms,
        simulated_tpot_p50_ms=simulated.tpot_p50_ms,
        tpot_p50_error=error_of(simulated.tpot_p50_ms, seen.tpot_p50_ms),
    )


def error_of(foretold: float, seen: float) -> float:
    """Return by how much of what was seen a figure is off.

    >>> error_of(90.0, 100.0)
    0.1
    """
    return round(abs(foretold - seen) / max(abs(seen), 1e-9), 4)
