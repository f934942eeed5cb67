"""`sage-benchmark replay`: a trace against any server that speaks OpenAI's API, in open loop.

Requests leave when the trace says, however many are still open: a server that is slow meets the same load. What we
ourselves are late is measured and reported beside the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

from benchmarks.replay_figures import ReplayedCall, ReplayPlace, ReplayResult, forecast_errors_of, replay_result
from benchmarks.replay_prompts import TokenRate, prompt_of, rate_of, text_of
from benchmarks.replay_wanted import ReplayWanted
from benchmarks.simulator.arrival import Arrival, Trace, trace_of
from benchmarks.simulator.traces import AGENT_GRAPHS, load_trace
from cluster.serving.engines.openai_upstream import Upstream
from cluster.serving.engines.openai_wire import ListedModel
from cluster.serving.engines.spec import server_url
from sage.base.errors import InvalidRequest, RequestFailed, SageError
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest, Kind, ModelCard, Sampling, Usage

_SHORT_WORDS, _LONG_WORDS = 32, 96


def measure_replay(wanted: ReplayWanted, say: Callable[[str], object]) -> list[ReplayResult]:
    """Replay it; `say` is told how far it is. Raises what the server refuses at the start, SourceUnreadable, and
    InvalidRequest for agent graphs: nothing here waits for an answer before it asks the next."""
    return [asyncio.run(_replayed(wanted, trace_wanted(wanted), say))]


def trace_wanted(wanted: ReplayWanted) -> Trace:
    """Return the trace as long, and as fast, as it is wanted.

    Raises: SourceUnreadable; InvalidRequest where a server cannot be asked by it.
    """
    if wanted.trace == AGENT_GRAPHS:
        do = "Replay it in simulation: sage-benchmark policies --trace agent-graphs."
        raise InvalidRequest(f"calls of {AGENT_GRAPHS} follow one another, and a server is asked at set times", do)
    trace = shortened(load_trace(wanted.trace, limit=wanted.limit, seed=wanted.seed), wanted.lengths)
    return trace.lasting(trace.duration_s / wanted.speed)


def shortened(trace: Trace, share: float) -> Trace:
    """Return the trace with `share` of each request's tokens, and of each block's."""
    return trace_of(trace.name, [_shortened(arrival, share) for arrival in trace.arrivals])


def _shortened(arrival: Arrival, share: float) -> Arrival:
    def kept(tokens: int) -> int:
        return max(1, round(tokens * share))

    return replace(
        arrival,
        prompt_tokens=kept(arrival.prompt_tokens),
        answer_tokens=kept(arrival.answer_tokens),
        block_tokens=kept(arrival.block_tokens),
    )


async def _replayed(wanted: ReplayWanted, trace: Trace, say: Callable[[str], object]) -> ReplayResult:
    async with reached(wanted) as upstream:
        listed = await upstream.listed(wanted.model)
        replay = Replay(wanted, trace, upstream, listed)
        rate = await replay.token_rate()
        say(f"{len(trace.arrivals):,} requests in {trace.duration_s:,.0f} s; {rate.per_word:.2f} tokens a word")
        calls, duration_s = await replay.run(rate)
        return replay_result(place_of(wanted, listed), calls, duration_s, await _forecast_errors(upstream))


@asynccontextmanager
async def reached(wanted: ReplayWanted) -> AsyncIterator[Upstream]:
    """Give the way to the server for as long as the block lasts; raises ConfigInvalid."""
    url = server_url(wanted.url, "--url")
    upstream = Upstream(url, key_env=wanted.key_env, max_silence_s=wanted.max_silence_s)
    try:
        yield upstream
    finally:
        await upstream.close()


def place_of(wanted: ReplayWanted, listed: ListedModel) -> ReplayPlace:
    """Return where a trace was replayed, by what its server says of the model."""
    kind, url = "simulated" if listed.simulated else "openai", server_url(wanted.url, "--url")
    return ReplayPlace(kind, wanted.trace, wanted.model, url, wanted.speed, listed.simulated)


async def _forecast_errors(upstream: Upstream) -> tuple[float, float] | None:
    try:
        return forecast_errors_of(await upstream.metrics())
    except SageError:  # a server without metrics, or with metrics for others, foretells nothing that we may see
        return None


async def ask(
    upstream: Upstream, card: ModelCard, call: ReplayedCall, request: ChatRequest, now_s: Callable[[], float]
) -> None:
    """Send a request and note in `call` what comes, and when."""
    reason = None
    try:
        async with aclosing(upstream.generate(request, card)) as pieces:
            async for piece in pieces:
                if piece.text:
                    call.piece_s.append(now_s())
                reason, call.usage = piece.reason or reason, piece.usage or call.usage
        call.why = None if reason else "cut off"
    except SageError as error:
        call.why = type(error).__name__
    finally:
        call.end_s = now_s()


def chat_request(name: str, model: str, prompt: str, max_tokens: int) -> ChatRequest:
    """Return a request of one message."""
    return ChatRequest(RequestId(name), model, (ChatMessage("user", prompt),), Sampling(max_tokens))


class Replay:
    """One replay; used once, on one event loop."""

    def __init__(
        self, wanted: ReplayWanted, trace: Trace, upstream: Upstream, listed: ListedModel, *, num_before: int = 0
    ) -> None:
        """`num_before`: requests of the same trace that were replayed before: no text of these is like theirs."""
        self._wanted = wanted
        self._trace = trace
        self._num_before = num_before
        self._upstream = upstream
        context = listed.context_tokens or listed.max_model_len or 0
        self._card = ModelCard(wanted.model, (Kind.CHAT,), context)
        self._loop = asyncio.get_running_loop()
        self._start_s = 0.0
        self._num_open = len(trace.arrivals)
        self._over = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def token_rate(self) -> TokenRate:
        """Ask two prompts of known length, and see what the server counts."""
        short = await self._counted(_SHORT_WORDS)
        return rate_of((_SHORT_WORDS, short), (_LONG_WORDS, await self._counted(_LONG_WORDS)))

    async def _counted(self, num_words: int) -> int:
        request = self._request(f"length {num_words}", text_of(num_words, f"{self._wanted.seed} length").rstrip(), 1)
        usage: Usage | None = None
        async with aclosing(self._upstream.generate(request, self._card)) as pieces:
            async for piece in pieces:
                usage = piece.usage or usage
        if usage is None or not usage.prompt_tokens:
            raise RequestFailed(f"{self._upstream.where} does not say how many tokens a prompt has")
        return usage.prompt_tokens

    async def run(self, rate: TokenRate) -> tuple[list[ReplayedCall], float]:
        """Send every request when it is due; return what became of them, and how long it all took."""
        calls = [ReplayedCall(arrival) for arrival in self._trace.arrivals]
        requests = [
            self._request(
                f"{number}",
                prompt_of(call.arrival, number, rate, seed=self._wanted.seed),
                call.arrival.answer_tokens,
            )
            for number, call in enumerate(calls, self._num_before)
        ]
        self._start_s = self._loop.time()
        for call, request in zip(calls, requests, strict=True):
            self._loop.call_at(self._start_s + call.arrival.at_s, self._send, call, request)
        if calls:
            await self._over.wait()  # each call ends: the server may be silent only so long
        return calls, self._now_s()

    def _request(self, name: str, prompt: str, max_tokens: int) -> ChatRequest:
        return chat_request(name, self._wanted.model, prompt, max_tokens)

    def _now_s(self) -> float:
        return self._loop.time() - self._start_s

    def _send(self, call: ReplayedCall, request: ChatRequest) -> None:
        call.sent_s = self._now_s()
        task = self._loop.create_task(ask(self._upstream, self._card, call, request, self._now_s))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._num_open -= 1
        if not self._num_open:
            self._over.set()
