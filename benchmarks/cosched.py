"""`sage-benchmark cosched`: chat and embeddings on one device, sharing it, against four separate set-ups.

Real engines, each in a host of its own; all set-ups take turns within each repeat, with the same arrivals. Knows no
figure's meaning: see `cosched_figures`.
"""

import os
import select
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

from benchmarks.cosched_figures import (
    TARGET_EMBEDDING_MS,
    TARGET_P99,
    SetUpTurns,
    best_of,
    keeps_chat,
    percentile,
    ratio_of,
)
from benchmarks.cosched_load import MAX_TOKENS, WARM_S, CoschedLoad, CoschedTurn, TurnSeen, arrivals_at, wait_ready
from benchmarks.cosched_wanted import CoschedWanted
from benchmarks.direct import embed_all
from benchmarks.document import Result
from benchmarks.models import LEAST_COSINE
from benchmarks.texts import load_corpus, passages
from cluster.commands.pull import ensure_models
from cluster.serving.engines.build import engine_from_spec
from cluster.serving.engines.launch import ChildLink, launch
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import Replies, Run
from cluster.serving.engines.spec import spec_from_text
from sage.base.clock import Clock, SystemClock
from sage.base.errors import InternalError, InvalidRequest
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, Failed

ALONE = "alone"
TARGETS_LOAD = 0.5
TEXTS_PER_S = 40.0
NUM_CHECKED = 32
_NUM_PROMPTS = 64
_CALIBRATION_S = 4.0
_FILL_S = 2.5  # until chat's batch is full
_CROWD = 24.0  # of arrivals a second while chat is measured flat out: more than it can do
_CLOSE_S = 5.0

Say = Callable[[str], None]


class CoschedResult(Result, frozen=True, kw_only=True):
    """One set-up at one load, `n` tokens of chat. `combined`: mean share of what chat can do alone, plus that of
    embeddings; `combined_ratio` with its 95 % interval against `best_separate`. `keeps_chat`: p99 between two tokens
    at most 1.1x of chat alone, p50 1.5x; with targets: p99 1.2x, and embeddings' p99 at most 150 ms."""

    chat_load: float
    mode: str
    chat_itl_p50_ms: float
    chat_itl_p99_ms: float
    embedding_tokens_per_s: float
    combined: float
    keeps_chat: bool
    best_separate: str | None = None
    combined_ratio: float | None = None
    combined_ratio_low: float | None = None
    combined_ratio_high: float | None = None
    embedding_ratio: float | None = None
    embedding_p50_ms: float | None = None
    embedding_p99_ms: float | None = None
    num_repeats: int


@dataclass(frozen=True, slots=True)
class SetUp:
    """Two hosts that run side by side."""

    chat: ChildLink
    embed: ChildLink


@dataclass(frozen=True, slots=True)
class AloneLimits:
    """What chat and embeddings can do at most, each alone."""

    chat_requests_per_s: float
    chat_tokens_per_s: float
    embedding_tokens_per_s: float


def measure_cosched(wanted: CoschedWanted, say: Say) -> list[CoschedResult]:
    """Return a result a load and set-up, then those with targets on both sides.

    Raises: ModelMissing; InvalidRequest on a machine of one core; InternalError where a vector is not its text's.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise InvalidRequest("this needs two cores: one of the set-ups gives each engine one of its own")
    ensure_models(["smollm2", "minilm"])
    return _Bench(wanted, say).measure()


class _Bench:
    def __init__(self, wanted: CoschedWanted, say: Say) -> None:
        self._wanted = wanted
        self._say = say
        self._clock: Clock = SystemClock()
        corpus = load_corpus(60_000, seed=wanted.seed)
        rng = Random(wanted.seed)
        texts = passages(corpus.lines, num_chars=1000)[:_NUM_PROMPTS]
        self._prompts = [text[: rng.choice((100, 200, 400, 800))] for text in texts]
        self._passages = [text[: rng.choice((80, 160, 300, 600, 1000))] for text in texts]
        self._num_turns = 0

    def measure(self) -> list[CoschedResult]:
        with ExitStack() as stack:
            self._say("engine hosts start")
            set_ups = start_set_ups(self._wanted, stack, self._clock)
            self._check({set_up.embed for set_up in set_ups.values()})
            limits = self._limits(set_ups)
            self._say(
                f"alone: {limits.chat_tokens_per_s:.0f} tokens/s of chat, {limits.embedding_tokens_per_s:.0f} embedded"
            )
            results = []
            for load in self._wanted.loads:
                turns = self._turns(set_ups, load, limits, self._wanted.num_repeats)
                results += self._results(turns, load, self._wanted.num_repeats, "closed loop")
            if self._wanted.num_targets_repeats:
                num, per_s = self._wanted.num_targets_repeats, TEXTS_PER_S
                turns = self._turns(set_ups, TARGETS_LOAD, limits, num, texts_per_s=per_s)
                results += self._results(turns, TARGETS_LOAD, num, f"{per_s:g} texts/s, both with targets")
        return results

    def _check(self, hosts: set[ChildLink]) -> None:
        """Compare each host's vectors with those of the engine called directly."""
        import numpy as np

        texts = self._passages[:NUM_CHECKED]
        engine = engine_from_spec(spec_from_text("openvino:minilm"), EngineId("direct"))
        expected = embed_all(engine, "minilm", texts, batch_texts=8)
        engine.close()
        for host in hosts:
            last = _embedded(host, texts, self._clock)
            vectors = np.frombuffer(last.vectors, "<f4").reshape(-1, last.dim)
            if float((vectors * expected).sum(axis=1).min()) < LEAST_COSINE:
                raise InternalError(f"vectors of {host.engine_id} are not those of their texts", "Please report it.")

    def _limits(self, set_ups: dict[str, SetUp]) -> AloneLimits:
        """Measure each alone, at full load; embeddings in the way of those that do most."""
        seconds = min(_CALIBRATION_S, 2 * self._wanted.seconds)
        plain = set_ups[ALONE]
        crowd = CoschedLoad(arrivals_at(_CROWD, _FILL_S + seconds, self._prompts, Random(self._wanted.seed)))
        chat = self._turn(plain, crowd, seconds, warm_s=_FILL_S)
        embeds = {id(set_up.embed): set_up for set_up in set_ups.values()}
        most = max(self._turn(each, CoschedLoad((), True), seconds).embedding_tokens for each in embeds.values())
        tokens_per_s = chat.chat_tokens / seconds
        return AloneLimits(tokens_per_s / MAX_TOKENS, tokens_per_s, most / seconds)

    def _turns(
        self, set_ups: dict[str, SetUp], load: float, limits: AloneLimits, num: int, *, texts_per_s: float = 0.0
    ) -> dict[str, SetUpTurns]:
        """Let all set-ups have a turn in each repeat, in another order each time."""
        turns = {name: SetUpTurns() for name in set_ups}
        seconds = self._wanted.seconds
        for repeat in range(num):
            self._say(f"load {load:g}: repeat {repeat + 1} of {num}")
            rng = Random(f"{self._wanted.seed}-{load}-{repeat}")
            arrivals = arrivals_at(load * limits.chat_requests_per_s, WARM_S + seconds, self._prompts, rng)
            for name in rng.sample(sorted(set_ups), len(set_ups)):
                is_with = name != ALONE
                asked = CoschedLoad(arrivals, is_with and not texts_per_s, texts_per_s if is_with else 0.0)
                add_turn(turns[name], self._turn(set_ups[name], asked, seconds), limits)
        return turns

    def _turn(self, set_up: SetUp, load: CoschedLoad, seconds: float, *, warm_s: float = WARM_S) -> TurnSeen:
        self._num_turns += 1
        rng = Random(self._wanted.seed)
        turn = CoschedTurn(set_up.chat, set_up.embed, load, self._passages, self._num_turns, self._clock, rng)
        return turn.run(seconds, warm_s=warm_s)

    def _results(self, turns: dict[str, SetUpTurns], load: float, num: int, workload: str) -> list[CoschedResult]:
        ours = {mode.value for mode in self._wanted.modes}
        return results_of(turns, load, num, workload, ours=ours, seed=self._wanted.seed)


def add_turn(turns: SetUpTurns, seen: TurnSeen, limits: AloneLimits) -> None:
    """Add what one turn brought."""
    turns.gaps_ms += seen.gaps_ms
    turns.embedding_ms += seen.embedding_ms
    turns.embedding_tokens += seen.embedding_tokens
    turns.seconds += seen.seconds
    turns.num_tokens += seen.chat_tokens
    chat_work = seen.chat_tokens / seen.seconds / max(1.0, limits.chat_tokens_per_s)
    turns.works.append(chat_work + seen.embedding_tokens / seen.seconds / max(1.0, limits.embedding_tokens_per_s))


def results_of(
    turns: dict[str, SetUpTurns], load: float, num_repeats: int, workload: str, *, ours: set[str], seed: int
) -> list[CoschedResult]:
    """Return a result a set-up, ours against the best of the others; alone first."""
    alone = turns[ALONE]
    separate = {name: each for name, each in turns.items() if name != ALONE and name not in ours}
    best = best_of(separate, alone)
    has_targets = not workload.startswith("closed")
    results = []
    for name, each in turns.items():
        is_ours = name in ours
        ratio = ratio_of(each.works, separate[best].works, seed=seed) if is_ours else None
        keeps = keeps_chat(each, alone, most_p99=TARGET_P99) if has_targets else keeps_chat(each, alone)
        if has_targets and name != ALONE:
            keeps = keeps and percentile(each.embedding_ms, 0.99) <= TARGET_EMBEDDING_MS
        theirs = separate[best].embedding_tokens_per_s
        results.append(
            CoschedResult(
                engine="sage" if is_ours else "separate",
                workload=workload,
                n=each.num_tokens,
                checked=True,
                simulated=False,
                chat_load=load,
                mode=name,
                chat_itl_p50_ms=round(each.gap_ms(0.5), 2),
                chat_itl_p99_ms=round(each.gap_ms(0.99), 2),
                embedding_tokens_per_s=round(each.embedding_tokens_per_s, 1),
                combined=round(sum(each.works) / len(each.works), 3),
                keeps_chat=keeps,
                best_separate=best if is_ours else None,
                combined_ratio=round(ratio[0], 3) if ratio else None,
                combined_ratio_low=round(ratio[1], 3) if ratio else None,
                combined_ratio_high=round(ratio[2], 3) if ratio else None,
                embedding_ratio=round(each.embedding_tokens_per_s / theirs, 3) if is_ours and theirs else None,
                embedding_p50_ms=round(percentile(each.embedding_ms, 0.5), 1) if has_targets else None,
                embedding_p99_ms=round(percentile(each.embedding_ms, 0.99), 1) if has_targets else None,
                num_repeats=num_repeats,
            )
        )
    return results


def start_set_ups(wanted: CoschedWanted, stack: ExitStack, clock: Clock) -> dict[str, SetUp]:
    """Start all hosts and wait for them; `stack` ends them. All of them are in one session: nice values count."""

    def host(text: str, cpus: Sequence[int] = ()) -> ChildLink:
        spec = spec_from_text(text)
        with kept_to(cpus):
            link = launch(spec, EngineId(f"{spec.name}-{len(hosts)}"))
        stack.callback(link.close, _CLOSE_S)
        hosts.append(link)
        return link

    hosts: list[ChildLink] = []
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    plain = "openvino:minilm,sharing=off"
    chat = host("openvino:smollm2")
    even, nice, idle = host(plain), host(plain), host(plain)
    set_ups = {ALONE: SetUp(chat, even), "pinned_apart": SetUp(host("openvino:smollm2", [first]), host(plain, [last]))}
    set_ups |= {"nice_0": SetUp(chat, even), "nice_19": SetUp(chat, nice), "sched_idle": SetUp(chat, idle)}
    set_ups |= {mode.value: SetUp(chat, host(f"openvino:minilm,sharing={mode}")) for mode in wanted.modes}
    wait_ready(hosts, clock)
    for thread in _threads_of(nice):
        os.setpriority(os.PRIO_PROCESS, thread, 19)
    for thread in _threads_of(idle):
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    return set_ups


@contextmanager
def kept_to(cpus: Sequence[int]) -> Iterator[None]:
    """Have processes that are started meanwhile run on `cpus` only; on any where it is empty."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _threads_of(link: ChildLink) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{link.pid}/task")]


def _embedded(link: ChildLink, texts: Sequence[str], clock: Clock) -> Embedded:
    link.send(Run((EmbedRequest(RequestId("check"), "minilm", tuple(texts)),)))
    until_s = clock.monotonic_s() + 60.0
    while clock.monotonic_s() < until_s:
        for message in link.drain():
            if isinstance(message, Replies):
                for reply in message.replies:
                    if isinstance(reply, Embedded):
                        return reply
                    if isinstance(reply, Failed):
                        raise reply.failure.error()
            elif isinstance(message, HostLost):
                raise message.failure.error()
        _wait(link)
    raise InternalError(f"engine {link.engine_id} did not answer within 60 s", "Please report it.")


def _wait(link: ChildLink) -> None:
    poll = select.poll()
    for fd in link.fds():
        poll.register(fd, select.POLLIN)
    poll.poll(100)
