"""`sage-benchmark live`: policies and routes side by side over real engines, the plane in this process.

The engines are started once; each turn has a plane of its own, which learns anew, and words of its own, so that no
engine has anything of it cached. All set-ups take turns within a round, in another order each time, with the same
arrivals. Knows no figure's meaning: see `live_figures`.
"""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from random import Random

import msgspec
import uvloop

from benchmarks.cosched import kept_to
from benchmarks.live_engines import SeenLink, all_ready
from benchmarks.live_figures import LiveResult, Objectives, SetupTurns, live_results, objectives_of
from benchmarks.live_turn import LiveTurn
from benchmarks.live_wanted import LiveSetup, LiveWanted
from benchmarks.policies_wanted import Prompts, Shedding
from benchmarks.replay import chat_request, shortened
from benchmarks.replay_figures import ReplayedCall
from benchmarks.replay_prompts import TokenRate, prompt_of, rate_of, text_of
from benchmarks.simulator.arrival import Arrival, Trace
from benchmarks.simulator.traces import AGENT_GRAPHS, load_trace
from cluster.commands.pull import ensure_models
from cluster.serving.driver import HeldLink
from cluster.serving.engines.launch import launch
from cluster.serving.engines.spec import EngineSpec, engine_ids, spec_from_text
from cluster.serving.loop import LoopPlane
from cluster.serving.patience import USUAL, Patience
from cluster.serving.plane import Plane
from cluster.serving.size import CHARACTERS_PER_TOKEN
from sage.base.errors import ConfigInvalid, InvalidRequest, RequestFailed
from sage.base.inference import ChatRequest, Kind

PLAIN = LiveSetup("fifo", "least_work", Prompts.FIXED)
NUM_ALONE = 4  # prompts of each length, one at a time; the first of them has to warm up
_ALONE_SHARES = (0.1, 0.5, 0.9)  # of the prompts, by length
_SHORT_WORDS, _LONG_WORDS = 32, 96
_CLOSE_S = 5.0
_LEAST_TOKEN_S = 1e-6

Say = Callable[[str], object]


def measure_live(wanted: LiveWanted, say: Say) -> list[LiveResult]:
    """Return a result a load and set-up; `say` is told how far it is.

    Raises: ConfigInvalid, SourceUnreadable, ModelMissing, UnknownPolicy; what an engine says that does not start.
    """
    if wanted.trace == AGENT_GRAPHS:
        do = "Replay it in simulation: sage-benchmark policies --trace agent-graphs."
        raise InvalidRequest(f"calls of {AGENT_GRAPHS} follow one another, and these leave at set times", do)
    spec = msgspec.structs.replace(spec_from_text(wanted.engine), replicas=wanted.num_engines)
    if Kind.CHAT not in spec.kinds:
        what = f"{wanted.engine!r} answers no chat, and that is what is replayed"
        raise ConfigInvalid(what, "For example: --engine openvino:smollm2", param="engine")
    if spec.kind == "openvino":
        ensure_models([spec.target])
    whole = load_trace(wanted.trace, limit=None, seed=wanted.seed)
    trace = shortened(whole.drawn(wanted.num_requests, seed=wanted.seed), wanted.lengths)
    with started(spec) as links, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_Bench(wanted, spec, trace, links, say).measure())


@contextmanager
def started(spec: EngineSpec) -> Iterator[list[SeenLink]]:
    """Start each replica on a core of its own, as far as there are any, and end them after the block."""
    cores = sorted(os.sched_getaffinity(0))
    links: list[SeenLink] = []
    try:
        for number, engine_id in enumerate(engine_ids(spec)):
            with kept_to([cores[number % len(cores)]]):
                links.append(SeenLink(launch(spec, engine_id)))
        yield links
    finally:
        for link in links:
            link.close(_CLOSE_S)


class _Bench:
    def __init__(self, wanted: LiveWanted, spec: EngineSpec, trace: Trace, links: list[SeenLink], say: Say) -> None:
        self._wanted = wanted
        self._spec = spec
        self._trace = trace
        self._links = links
        self._held = [HeldLink(link) for link in links]
        self._say = say
        self._num_asked = 0
        self._patience = USUAL
        self._chars_a_token = float(CHARACTERS_PER_TOKEN)

    async def measure(self) -> list[LiveResult]:
        self._say(f"engines that start: {len(self._links)}")
        self._held = await all_ready(self._held, self._spec.start_timeout_s)
        rate = await self._token_rate()
        met = objectives_of(await self._alone(rate), self._wanted.patience)
        self._patience = self._told(met)
        full_s = await self._full_load_s(rate)
        self._say(f"load 1: {len(self._trace.arrivals) / full_s:.2f} requests/s")
        first, each = f"{1e3 * met.first_s:.0f} ms", f"{1e3 * met.prompt_token_s:.2f} ms a prompt token"
        self._say(f"first tokens are due after {first} and {each}, others every {1e3 * met.token_s:.0f} ms")
        turns = await self._turns(rate, full_s)
        return live_results(
            self._wanted,
            turns,
            met,
            kind=self._spec.kind,
            simulated=self._spec.kind == "simulated",
            full_requests_per_s=len(self._trace.arrivals) / full_s,
        )

    async def _turns(self, rate: TokenRate, full_s: float) -> dict[tuple[float, LiveSetup], SetupTurns]:
        wanted = self._wanted
        turns = {(load, setup): SetupTurns() for load in wanted.loads for setup in wanted.setups}
        for number in range(wanted.num_rounds):
            rng = Random(f"{wanted.seed} round {number}")
            for load in wanted.loads:
                self._say(f"round {number + 1} of {wanted.num_rounds}, load {load:g}")
                trace = self._trace.lasting(full_s / load)
                for setup in rng.sample(wanted.setups, len(wanted.setups)):
                    await self._turn(setup, trace, rate, turns[load, setup])
        return turns

    async def _turn(self, setup: LiveSetup, trace: Trace, rate: TokenRate, seen: SetupTurns) -> None:
        before = [link.figures for link in self._links]
        calls, _ = await self._asked(setup, self._wanted.admission, trace.arrivals, rate)
        for link, earlier in zip(self._links, before, strict=True):
            figures = await link.at_rest()
            if figures is not None and earlier is not None:
                seen.asked_tokens += figures.prefix_asked_tokens - earlier.prefix_asked_tokens
                seen.hit_tokens += figures.prefix_hit_tokens - earlier.prefix_hit_tokens
        seen.calls.append(calls[self._wanted.num_warm :])
        seen.lags_s += [call.sent_s - call.arrival.at_s for call in calls]

    async def _asked(
        self, setup: LiveSetup, admission: Shedding, arrivals: Sequence[Arrival], rate: TokenRate
    ) -> tuple[list[ReplayedCall], float]:
        """Ask a plane of this set-up; return what became of each request, and the seconds until all had ended."""
        self._num_asked += 1
        words = f"{self._wanted.seed} turn {self._num_asked}"
        asked = [
            (ReplayedCall(arrival), self._request(prompt_of(arrival, number, rate, seed=words), arrival, number))
            for number, arrival in enumerate(arrivals)
        ]
        with self._plane(setup, admission) as plane:
            took_s = await LiveTurn(plane, asked).run()
        return [call for call, _ in asked], took_s

    def _request(self, prompt: str, arrival: Arrival, number: int) -> ChatRequest:
        return chat_request(f"live {self._num_asked} {number}", self._spec.model, prompt, arrival.answer_tokens)

    @contextmanager
    def _plane(self, setup: LiveSetup, admission: Shedding) -> Iterator[LoopPlane]:
        """Give a new plane the engines for as long as the block lasts."""
        ordered = Plane(
            [self._spec.model],
            policy=setup.policy,
            route=setup.route,
            admission=admission.value,
            window=setup.prompts.value,
            patience=self._patience,
        )
        plane = LoopPlane(ordered, asyncio.get_running_loop(), vector_cache_bytes=0)
        for held in self._held:
            plane.attach(held.link, held.info)
        try:
            yield plane
        finally:
            plane.release_links()

    def _told(self, met: Objectives) -> Patience:
        """Return the objectives as the plane is told them: it counts four characters for a token."""
        per_s = 1.0 / max(met.prompt_token_s, _LEAST_TOKEN_S)
        return Patience(
            interactive_s=met.first_s, prompt_tokens_per_s=per_s * self._chars_a_token / CHARACTERS_PER_TOKEN
        )

    async def _token_rate(self) -> TokenRate:
        """Ask two prompts of known length, and see what the engine counts."""
        counted = []
        for num_words in (_SHORT_WORDS, _LONG_WORDS):
            prompt = text_of(num_words, f"{self._wanted.seed} length").rstrip()
            call = ReplayedCall(Arrival(0.0, num_words, 1))
            with self._plane(PLAIN, Shedding.NONE) as plane:
                self._num_asked += 1
                await LiveTurn(plane, [(call, self._request(prompt, call.arrival, 0))]).run()
            if call.usage is None:
                raise RequestFailed(f"{self._spec.name} does not answer: {call.why}")
            counted.append((num_words, call.usage.prompt_tokens))
            self._chars_a_token = len(prompt) / call.usage.prompt_tokens
        return rate_of(counted[0], counted[1])

    async def _alone(self, rate: TokenRate) -> list[ReplayedCall]:
        """Return what became of requests that had all engines for themselves: each length's first is left out."""
        ordered = sorted(self._trace.arrivals, key=lambda arrival: arrival.prompt_tokens)
        found = []
        for share in _ALONE_SHARES:
            like = replace(ordered[int(share * len(ordered))], at_s=0.0, blocks=())
            for number in range(NUM_ALONE):
                calls, _ = await self._asked(PLAIN, Shedding.NONE, [like], rate)
                if calls[0].why is not None:
                    raise RequestFailed(f"{self._spec.name} failed a request of its own: {calls[0].why}")
                found += calls if number and calls[0].piece_s else []
        if not found:
            raise RequestFailed(f"{self._spec.name} answers nothing", "Name a model that writes more.")
        return found

    async def _full_load_s(self, rate: TokenRate) -> float:
        """Return how long engines take for all requests at once, in order of arrival, each to the least busy."""
        _, took_s = await self._asked(PLAIN, Shedding.NONE, self._trace.lasting(0.0).arrivals, rate)
        return took_s
