"""`sage-benchmark calibrate`: fits a simulated engine to a server, and says how well it foretells a trace there.

The server is looked at (`calibrate_probe`) before and after each part of a trace that is replayed on it; by all looks
the costs are fitted, and the parts are simulated with them. Of the trace nothing is used for the fit; how fast the
machine was during a part is told by the parts next to it (`calibrate_pace`).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from math import sqrt

from benchmarks.calibrate_fit import Fitted, fitted_to
from benchmarks.calibrate_pace import foretold, paces_of
from benchmarks.calibrate_parts import TracePart, parts_of, simulated, work_s
from benchmarks.calibrate_probe import Probe, Probed
from benchmarks.calibrate_result import CalibrationResult, calibration_result
from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.document import Result
from benchmarks.replay import Replay, place_of, reached, trace_wanted
from benchmarks.replay_figures import ReplayPlace, ReplayResult, replay_result
from benchmarks.replay_prompts import TokenRate
from benchmarks.replay_wanted import ReplayWanted
from benchmarks.simulator.arrival import Trace
from cluster.serving.engines.openai_upstream import Upstream
from cluster.serving.engines.openai_wire import ListedModel
from sage.base.errors import RequestFailed
from sage.base.inference import Kind, ModelCard


def measure_calibration(wanted: CalibrateWanted, say: Callable[[str], object]) -> list[Result]:
    """Return the replay on the server, and the simulation beside it.

    Raises: as `measure_replay` does; RequestFailed where the server does not answer what it is fitted by, or nothing of
    the trace.
    """
    return asyncio.run(_measured(wanted, say))


async def _measured(wanted: CalibrateWanted, say: Callable[[str], object]) -> list[Result]:
    trace = trace_wanted(wanted.replay)
    async with reached(wanted.replay) as upstream:
        listed = await upstream.listed(wanted.replay.model)
        rate = await Replay(wanted.replay, trace, upstream, listed).token_rate()
        context = listed.context_tokens or listed.max_model_len or 0
        probe = Probe(wanted, upstream, ModelCard(wanted.replay.model, (Kind.CHAT,), context), rate)
        turns = _Turns(wanted, upstream, listed, rate, probe)
        await probe.warm_up()
        turns.looks.append(await probe.look())
        asked, load = turns.parts_at_speed(trace)
        asked_s = sum(part.duration_s for part in asked)
        say(f"{len(trace.arrivals):,} requests in {asked_s:,.0f} s, in {len(asked)} parts, a load of {load:.2f}")
        await turns.replay(asked)
    speed = (
        wanted.replay.speed * sum(part.duration_s for part in parts_of(trace, wanted.num_rounds)) / max(1e-9, asked_s)
    )
    place = replace(place_of(wanted.replay, listed), speed=round(speed, 4))
    fitted, parts = turns.fitted(), turns.parts
    seen = replay_result(place, [call for part in parts for call in part.calls], sum(part.duration_s for part in parts))
    say_fitted(fitted, say)
    paces, by_looks = paces_of(place.trace, parts, fitted, rate), _during(fitted.slowness)
    say(f"parts took {', '.join(map(_shown, paces))} times as long as the fit says; each is judged by those next to it")
    slowed = [
        replace(part, slowness=pace, slowness_by_looks=each)
        for part, pace, each in zip(parts, foretold(paces, by_looks), by_looks, strict=True)
    ]
    return [seen, simulated_beside(place, fitted, seen, slowed, rate, load=load)]


def simulated_beside(
    place: ReplayPlace, fitted: Fitted, seen: ReplayResult, parts: Sequence[TracePart], rate: TokenRate, *, load: float
) -> CalibrationResult:
    """Simulate what the server answered, with fitted costs, and return how far that is off.

    Raises: RequestFailed where it answered nothing.
    """
    if not seen.num_answered:
        raise RequestFailed(f"{place.url} answered none of {seen.n:,} requests of {place.trace}: {seen.errors}")
    figures = simulated(place.trace, parts, fitted, rate)
    looked_at = simulated(place.trace, [replace(part, slowness=part.slowness_by_looks) for part in parts], fitted, rate)
    paces = [part.slowness for part in parts]
    return calibration_result(place, fitted, seen, figures, looked_at, load=load, paces=paces)


def say_fitted(fitted: Fitted, say: Callable[[str], object]) -> None:
    """Say what was fitted."""
    costs = fitted.costs
    piece = f"{costs.prefill_fixed_ms:.1f} ms a piece, {costs.prefill_token_ms:.3f} ms a token of a prompt"
    piece += f" and {costs.prefill_context_ms:.3f} more for each 1,000 before it"
    say(f"fitted: {fitted.overhead_ms:.1f} ms, {piece}")
    say(f"ms a token by sequences: {dict(costs.decode_ms)}; {costs.max_running} at once")
    kept = f"kept in blocks of {fitted.block_tokens} tokens" if fitted.block_tokens else "not kept"
    say(f"beginnings of prompts are {kept}; slowness {', '.join(f'{each:.2f}' for each in fitted.slowness)}")


class _Turns:
    """Looks at a server and parts of a trace on it, in turns; on one event loop."""

    def __init__(
        self, wanted: CalibrateWanted, upstream: Upstream, listed: ListedModel, rate: TokenRate, probe: Probe
    ) -> None:
        self._wanted = wanted
        self._upstream = upstream
        self._listed = listed
        self._rate = rate
        self._probe = probe
        self.looks: list[Probed] = []
        self.parts: list[TracePart] = []

    def fitted(self) -> Fitted:
        return fitted_to(self.looks, _name(self._wanted.replay, self._upstream), chunk_tokens=self._wanted.chunk_tokens)

    def parts_at_speed(self, trace: Trace) -> tuple[list[Trace], float]:
        """Return the parts of the trace, each as fast as is wanted, and the load that they are, by what is known now.

        Each part is a load of its own: what a trace begins with may come slower, or faster, than all of it.
        """
        fitted, load = self.fitted(), self._wanted.load
        parts = parts_of(trace, self._wanted.num_rounds)
        needed_s = [work_s(part, fitted, self._rate) for part in parts]
        if load is None:
            return parts, sum(needed_s) / max(1e-9, sum(part.duration_s for part in parts))
        return [part.lasting(each_s / load) for part, each_s in zip(parts, needed_s, strict=True)], load

    async def replay(self, parts: Sequence[Trace]) -> None:
        """Replay parts of a trace one after another, and look at the server after each."""
        num_before = 0
        for part in parts:
            real = Replay(self._wanted.replay, part, self._upstream, self._listed, num_before=num_before)
            calls, duration_s = await real.run(self._rate)
            self.parts.append(TracePart(tuple(calls), duration_s))
            num_before += len(calls)
            self.looks.append(await self._probe.look())


def _name(wanted: ReplayWanted, upstream: Upstream) -> str:
    return f"{wanted.model} at {upstream.where}"


def _shown(pace: float | None) -> str:
    return "nothing" if pace is None else f"{pace:.2f}"


def _during(slowness: Sequence[float]) -> list[float]:
    """Return how slow the machine was between each look and the next.

    >>> _during([1.0, 4.0, 1.0])
    [2.0, 2.0]
    """
    return [sqrt(before * after) for before, after in pairwise(slowness)]
