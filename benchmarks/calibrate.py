"""`sage-benchmark calibrate`: fits a simulated engine to a server, and says how well it foretells a trace there.

The server is asked prompts of rising length one at a time, then rising numbers of requests at once; from that the
costs are fitted. A trace is replayed on the server, and simulated with these costs: it was not used for the fit.
"""

import asyncio
from collections.abc import Callable, Sequence

from benchmarks.calibrate_fit import CalibrationResult, Fitted, Together, calibration_result, fitted_to, trace_seen
from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.document import Result
from benchmarks.replay import Replay, ask, chat_request, place_of, reached, trace_wanted
from benchmarks.replay_figures import ReplayedCall, ReplayPlace, ReplayResult, replay_result
from benchmarks.replay_prompts import TokenRate, text_of
from benchmarks.simulator.arrival import Arrival
from benchmarks.simulator.outcome import figures_of
from benchmarks.simulator.run import Setup, replay
from cluster.serving.engines.openai_upstream import Upstream
from sage.base.errors import RequestFailed
from sage.base.inference import Kind, ModelCard

_LEAST_PROMPT_TOKENS = 64
_SHORT_PROMPT_TOKENS = 32
_ANSWER_TOKENS = 48
_KV_TOKENS = 1 << 40  # of a small trace all fits


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
        real = Replay(wanted.replay, trace, upstream, listed)
        rate = await real.token_rate()
        context = listed.context_tokens or listed.max_model_len or 0
        probe = _Probe(wanted, upstream, ModelCard(wanted.replay.model, (Kind.CHAT,), context), rate)
        name = f"{wanted.replay.model} at {upstream.where}"
        prompts, together = await probe.prompts(), await probe.together()
        fitted = fitted_to(prompts, together, name, chunk_tokens=wanted.chunk_tokens)
        costs = fitted.costs
        say(f"fitted: {fitted.overhead_ms:.1f} ms, and {costs.prefill_token_ms:.3f} ms a token of a prompt")
        say(f"ms a token by sequences: {dict(costs.decode_ms)}; {costs.max_running} at once")
        calls, duration_s = await real.run(rate)
    place = place_of(wanted.replay, listed)
    seen = replay_result(place, calls, duration_s)
    return [seen, simulated_beside(place, fitted, seen, calls)]


def simulated_beside(
    place: ReplayPlace, fitted: Fitted, seen: ReplayResult, calls: Sequence[ReplayedCall]
) -> CalibrationResult:
    """Simulate what the server answered, with fitted costs, and return how far that is off.

    Raises: RequestFailed where it answered nothing.
    """
    trace = trace_seen(place.trace, calls)
    if not trace.arrivals:
        raise RequestFailed(f"{place.url} answered none of {len(calls):,} requests of {place.trace}: {seen.errors}")
    setup = Setup("fifo", "least_work", "none", num_engines=1, costs=fitted.costs, kv_tokens=_KV_TOKENS)
    run = replay(trace, setup)
    return calibration_result(place, fitted, seen, figures_of(run.outcomes, run.duration_s))


class _Probe:
    """Asks a server what fits its costs; on one event loop. No two prompts begin alike."""

    def __init__(self, wanted: CalibrateWanted, upstream: Upstream, card: ModelCard, rate: TokenRate) -> None:
        self._wanted = wanted
        self._upstream = upstream
        self._card = card
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._num_asked = 0

    async def prompts(self) -> list[tuple[int, float]]:
        """Return (tokens, seconds to the first) of prompts that had the server for themselves, a median a length."""
        points: dict[int, list[tuple[int, float]]] = {}
        most = min(self._wanted.max_prompt_tokens, (self._card.context_tokens or 1 << 30) // 2)
        lengths = _doubling(_LEAST_PROMPT_TOKENS, most)
        for number in range(1 + self._wanted.num_rounds):  # the first of its length may have had to warm up
            for tokens in lengths:
                (call,) = await self._asked(1, tokens, 1)
                if number:
                    points.setdefault(tokens, []).append(_first_of(call))
        return [sorted(each, key=lambda point: point[1])[len(each) // 2] for each in points.values()]

    async def together(self) -> list[Together]:
        """Return what became of 1, 2, 4, ... requests at once, each as often as is wanted."""
        found: list[Together] = []
        for number in _doubling(1, self._wanted.max_sequences):
            rounds = [await self._asked(number, _SHORT_PROMPT_TOKENS, _ANSWER_TOKENS) for _ in range(2)]
            found.append(Together(number, tuple(rounds[-1])))  # the first of its size may have had to warm up
        return found

    async def _asked(self, number: int, prompt_tokens: int, answer_tokens: int) -> list[ReplayedCall]:
        """Send so many at once and wait for all; their times begin with the first. Raises RequestFailed."""
        num_words = max(1, self._rate.words(prompt_tokens - self._rate.fixed))
        calls = [ReplayedCall(Arrival(0.0, prompt_tokens, answer_tokens)) for _ in range(number)]
        start_s = self._loop.time()
        async with asyncio.TaskGroup() as group:
            for call in calls:
                self._num_asked += 1
                name = f"calibrate {self._num_asked}"
                prompt = text_of(num_words, f"{self._wanted.replay.seed} {name}").rstrip()
                request = chat_request(name, self._wanted.replay.model, prompt, answer_tokens)
                group.create_task(ask(self._upstream, self._card, call, request, lambda: self._loop.time() - start_s))
        if failures := [call.why or "no usage" for call in calls if call.why is not None or call.usage is None]:
            what = f"{self._upstream.where} failed {len(failures)} of {number} requests at once: {failures[0]}"
            raise RequestFailed(what, "Ask for fewer, or for less: --max-sequences, --max-prompt.")
        return calls


def _first_of(call: ReplayedCall) -> tuple[int, float]:
    """Return how many tokens of its prompt a call found uncached, and the seconds to its first piece, or its end."""
    assert call.usage is not None, call
    assert call.end_s is not None, call
    first_s = call.piece_s[0] if call.piece_s else call.end_s
    return call.usage.prompt_tokens - call.usage.cached_tokens, first_s


def _doubling(least: int, most: int) -> list[int]:
    """Return least, twice as many, and so on, up to most.

    >>> _doubling(1, 9)
    [1, 2, 4, 8]
    """
    return [least << power for power in range(max(1, (most // least).bit_length()))]
