"""How far a simulated engine with fitted costs is off, as a measured row. Pure; knows no server."""

from collections.abc import Sequence

from benchmarks.calibrate_fit import Fitted
from benchmarks.document import Result
from benchmarks.replay_figures import ReplayPlace, ReplayResult
from benchmarks.simulator.outcome import Figures


class CalibrationResult(Result, frozen=True, kw_only=True):
    """A simulated engine with fitted costs beside the server they were fitted to, on the same trace.

    `simulated_*` come from the simulation, `seen_*` from the server; `*_error` is their difference by what was seen.
    `decode_ms`: milliseconds a token by the number of sequences. `block_tokens`: of what is kept of prompts, 0 where
    nothing is; `looks_early`: it looks for that when a prompt comes. `slowness`: of each look at the server, by what
    factor it took longer than usual; `paces`: of each part of the trace, by what factor it was simulated slower than by
    the looks, as the parts next to it were. `load`: what the trace asks for by what the simulated engine can do.
    `errors_by_looks`: the errors where parts are as slow as the looks say. `checked`: the server answered all, as
    asked.
    """

    trace: str
    model: str
    url: str
    speed: float
    load: float
    num_parts: int
    overhead_ms: float
    chunk_tokens: int
    prefill_fixed_ms: float
    prefill_token_ms: float
    prefill_context_ms: float
    decode_ms: dict[str, float]
    decode_context_ms: float
    max_running: int
    block_tokens: int
    looks_early: bool
    slowness: tuple[float, ...]
    paces: tuple[float, ...]
    seen_tokens_per_s: float
    simulated_tokens_per_s: float
    tokens_per_s_error: float
    seen_ttft_p50_ms: float
    simulated_ttft_p50_ms: float
    ttft_p50_error: float
    seen_tpot_p50_ms: float
    simulated_tpot_p50_ms: float
    tpot_p50_error: float
    seen_e2e_p50_ms: float
    simulated_e2e_p50_ms: float
    e2e_p50_error: float
    errors_by_looks: dict[str, float]


def calibration_result(
    place: ReplayPlace,
    fitted: Fitted,
    seen: ReplayResult,
    simulated: Figures,
    looked_at: Figures,
    *,
    load: float,
    paces: Sequence[float],
) -> CalibrationResult:
    """Return how far the simulation is off, and (`looked_at`) the one whose parts are as slow as the looks say."""
    costs = fitted.costs
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
        load=round(load, 3),
        num_parts=len(paces),
        overhead_ms=round(fitted.overhead_ms, 3),
        chunk_tokens=costs.chunk_tokens,
        prefill_fixed_ms=round(costs.prefill_fixed_ms, 3),
        prefill_token_ms=round(costs.prefill_token_ms, 5),
        prefill_context_ms=round(costs.prefill_context_ms, 5),
        decode_ms={str(number): each_ms for number, each_ms in costs.decode_ms},
        decode_context_ms=round(costs.decode_context_ms, 4),
        max_running=costs.max_running,
        block_tokens=fitted.block_tokens,
        looks_early=fitted.looks_early,
        slowness=tuple(round(each, 3) for each in fitted.slowness),
        paces=tuple(round(each, 3) for each in paces),
        **_all_beside(simulated, seen, fitted.overhead_ms),
        errors_by_looks=_errors(_all_beside(looked_at, seen, fitted.overhead_ms)),
    )


def _all_beside(simulated: Figures, seen: ReplayResult, overhead_ms: float) -> dict[str, float]:
    return {
        **_beside("tokens_per_s", "", simulated.tokens_per_s, seen.tokens_per_s),
        **_beside("ttft_p50", "_ms", round(simulated.ttft_p50_ms + overhead_ms, 3), seen.ttft_p50_ms),
        **_beside("tpot_p50", "_ms", simulated.tpot_p50_ms, seen.tpot_p50_ms),
        **_beside("e2e_p50", "_ms", round(simulated.e2e_p50_ms + overhead_ms, 3), seen.e2e_p50_ms),
    }


def _errors(figures: dict[str, float]) -> dict[str, float]:
    return {name.removesuffix("_error"): each for name, each in figures.items() if name.endswith("_error")}


def _beside(name: str, unit: str, foretold: float, seen: float) -> dict[str, float]:
    return {
        f"seen_{name}{unit}": seen,
        f"simulated_{name}{unit}": foretold,
        f"{name}_error": error_of(foretold, seen),
    }


def error_of(foretold: float, seen: float) -> float:
    """Return by how much of what was seen a figure is off.

    >>> error_of(90.0, 100.0)
    0.1
    """
    return round(abs(foretold - seen) / max(abs(seen), 1e-9), 4)
