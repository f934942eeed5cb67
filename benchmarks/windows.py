"""`sage-benchmark stream --workload windows`: what an engine loses by a short queue inside it, and the urgent gain.

A batch of long prompts is asked for at once; while it is worked off urgent requests come, evenly spread over it. What
is inside the engine can be ordered no more, so they wait behind it. Knows no engine.
"""

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.document import Result
from benchmarks.measure import Prepare, Run, in_turns, median_ratio
from cluster.local import LocalCluster
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest, Failed, Finished, Reply, Sampling, ServiceClass, Token

NUM_URGENT = 8
ANSWER_TOKENS = 24
_WAIT_S = 120.0


class HeldBackResult(Result, frozen=True, kw_only=True):
    """`engine` is the window. `ratio_to_fixed`: of the rate at which all is answered, the median over rounds.

    `urgent_ttft_*_ms`: from asking to the first token, of every urgent request of every round. `num_inside_p50`: how
    many requests were in the engine as an urgent one was asked.
    """

    model: str
    ratio_to_fixed: float
    tokens_per_s: float
    num_urgent: int
    urgent_ttft_p50_ms: float
    urgent_ttft_max_ms: float
    num_inside_p50: float
    num_rounds: int


@dataclass(frozen=True, slots=True)
class HeldBackRun:
    """What one run came to: tokens of all answers, and of each urgent one the seconds to its first token, and how many
    requests were in the engine as it was asked."""

    num_answers: int
    num_tokens: int
    urgent_s: tuple[float, ...]
    inside: tuple[int, ...]


@dataclass
class _Asker:
    """Asks a cluster; replies come on a thread of its own."""

    cluster: LocalCluster
    model: str
    clock: Clock
    came: "queue.SimpleQueue[Reply]" = field(default_factory=queue.SimpleQueue)
    num_asked: int = 0
    num_answers: int = 0
    num_tokens: int = 0

    def ask(self, prompts: Sequence[str], service_class: ServiceClass) -> list[RequestId]:
        requests = [
            ChatRequest(
                RequestId(f"windows-{self.num_asked + number}"),
                self.model,
                (ChatMessage("user", prompt),),
                Sampling(max_tokens=ANSWER_TOKENS),
                service_class,
            )
            for number, prompt in enumerate(prompts)
        ]
        self.num_asked += len(requests)
        self.cluster.inference.submit(requests, self._keep)
        return [request.id for request in requests]

    def _keep(self, replies: Sequence[Reply]) -> None:
        for reply in replies:
            self.came.put(reply)

    def take(self) -> Reply:
        """Return the next reply; raises what a request failed with, or queue.Empty where none comes."""
        reply = self.came.get(timeout=_WAIT_S)
        if isinstance(reply, Failed):
            raise reply.failure.error()
        if isinstance(reply, Finished):
            self.num_answers += 1
            self.num_tokens += reply.usage.completion_tokens
        return reply


def measure_windows(
    clusters: Mapping[str, LocalCluster],
    model: str,
    prompts: Sequence[str],
    *,
    simulated: bool,
    num_rounds: int,
    clock: Clock,
) -> list[HeldBackResult]:
    """Return a result a cluster, each of which has a window of its own, "fixed" among them; raises InternalError."""
    runs: dict[str, list[HeldBackRun]] = {name: [] for name in clusters}

    def check(way: str, outcome: Any) -> None:
        if outcome.num_answers != len(prompts) + NUM_URGENT or len(outcome.urgent_s) != NUM_URGENT:
            raise InternalError(f"answers are missing with {way} windows", "Please report it.")
        runs[way].append(outcome)

    ways = {name: _prepare(cluster, model, prompts, clock) for name, cluster in clusters.items()}
    seconds = in_turns(ways, num_rounds=num_rounds, clock=clock, check=check)
    rates = {
        name: [run.num_tokens / took_s for run, took_s in zip(runs[name], seconds[name], strict=True)]
        for name in clusters
    }
    return [
        _result(name, model, runs[name], rates[name], rates["fixed"], n=len(prompts), simulated=simulated)
        for name in clusters
    ]


def _result(
    name: str,
    model: str,
    runs: Sequence[HeldBackRun],
    rates: Sequence[float],
    fixed_rates: Sequence[float],
    *,
    n: int,
    simulated: bool,
) -> HeldBackResult:
    urgent_s = [took_s for run in runs for took_s in run.urgent_s]
    return HeldBackResult(
        engine=name,
        workload="windows",
        n=n,
        checked=True,
        simulated=simulated,
        model=model,
        ratio_to_fixed=round(median_ratio(rates, fixed_rates), 4),
        tokens_per_s=round(median(rates), 1),
        num_urgent=len(urgent_s),
        urgent_ttft_p50_ms=round(1000 * median(urgent_s), 1),
        urgent_ttft_max_ms=round(1000 * max(urgent_s), 1),
        num_inside_p50=median(num for run in runs for num in run.inside),
        num_rounds=len(runs),
    )


def _prepare(cluster: LocalCluster, model: str, prompts: Sequence[str], clock: Clock) -> Prepare:
    def prepare() -> Run:
        asker = _Asker(cluster, model, clock)
        return lambda: _run(asker, prompts)

    return prepare


def _run(asker: _Asker, prompts: Sequence[str]) -> HeldBackRun:
    """Ask all, and an urgent request whenever a further share of them has been answered, the first as one has begun."""
    asker.ask(prompts, ServiceClass.BATCH)
    urgent: dict[RequestId, float] = {}
    took_s: list[float] = []
    inside: list[int] = []
    num_tokens = 0
    while asker.num_answers < len(prompts) + NUM_URGENT:
        reply = asker.take()
        num_tokens += isinstance(reply, Token)
        if isinstance(reply, Token) and reply.request_id in urgent:
            took_s.append(asker.clock.monotonic_s() - urgent.pop(reply.request_id))
        num_asked = len(inside)
        if num_asked < NUM_URGENT and num_tokens and asker.num_answers * NUM_URGENT >= num_asked * len(prompts):
            inside.append(sum(engine.num_running for engine in asker.cluster.engines()))
            began_s = asker.clock.monotonic_s()
            [request_id] = asker.ask([f"Name {num_asked + 2} primes."], ServiceClass.INTERACTIVE)
            urgent[request_id] = began_s
    return HeldBackRun(asker.num_answers, asker.num_tokens, tuple(took_s), tuple(inside))
