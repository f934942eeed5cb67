"""`sage-benchmark plane`: what a decision of the control plane costs while many requests wait. Starts no engine.

A decision is what the plane makes of one event. There are three kinds in the life of a request: it arrives; its first
token comes; it ends, and the next is picked for its place. Said is what the dearest kind costs, each kind for itself,
and all of one request. Timed is the processor time of the plane alone, less that of reading the clock, once every
place was taken anew: before, nothing is known of engines, and they give back what batch requests they began with. Each
round is checked: as many wait afterwards as before, every request that ended made room for exactly one, none was
picked twice.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from statistics import median

from benchmarks.document import Result
from benchmarks.plane_wanted import PlaneWanted
from benchmarks.simulator.traces import load_trace
from benchmarks.simulator_speed import TRACE, measure_simulator
from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import Command, Dispatch, EngineEnded, EngineUp, FirstTokens, Submitted, TakeBack
from cluster.serving.plane import Plane
from cluster.serving.recent import Recent
from sage.base.errors import InternalError, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatMessage,
    ChatRequest,
    Failed,
    Failure,
    Finished,
    Kind,
    ModelCard,
    Request,
    Sampling,
    ServiceClass,
    Usage,
)

MODEL = "model"
WINDOW = 8
NUM_TENANTS = 50
NUM_HEADS = 200  # beginnings that prompts share
HEAD_CHARACTERS = 1_500  # two whole blocks of the routes' prefixes
TAIL_CHARACTERS = 500
HEADS_KEPT = 20  # of those, an engine has at least so many tenants' cached, and says so with each answer
HEAD_TOKENS = 256
STEP_S = 0.001
_STOPPED = Failure.of(RequestCancelled("given back"))


class PlaneResult(Result, frozen=True, kw_only=True):
    """`n` requests in each of `num_rounds` rounds, of which all figures are medians, `_min` the least.

    `us_per_decision` is what the dearest of the three kinds of events costs, `us_per_request` all three together.
    """

    policy: str
    route: str
    waiting: int
    engines: int
    num_rounds: int
    us_per_decision: float
    us_per_decision_min: float
    us_arrival: float
    us_first_token: float
    us_end_and_pick: float
    us_per_request: float


def measure_plane(wanted: PlaneWanted, say: Callable[[str], object]) -> list[Result]:
    """Time each policy with each route and number of engines; `say` is told what is at work. Raises UnknownPolicy,
    SourceUnreadable where the simulator is wanted too and there is no trace."""
    trace = load_trace(TRACE, limit=None, seed=wanted.seed) if wanted.simulated else None
    results: list[Result] = []
    for num_engines in wanted.engines:
        for policy in wanted.policies:
            for route in wanted.routes:
                say(f"{policy}, {route}, {num_engines} engines")
                busy = _Busy(Plane(policy=policy, route=route, max_waiting=2 * wanted.waiting), wanted, num_engines)
                busy.round(WINDOW * num_engines)
                rounds = [busy.round(wanted.num_decisions) for _ in range(wanted.num_rounds)]
                results.append(_result(policy, route, num_engines, wanted, rounds))
    if trace is not None:
        for num_engines in wanted.simulated:
            say(f"simulator, {num_engines} engines")
            results.append(measure_simulator(trace, num_engines))
    return results


@dataclass(slots=True)
class Spent:
    """Seconds of processor time on events of each kind; `clock_s`: what reading the clock adds to each of these."""

    arrival_s: float = 0.0
    first_token_s: float = 0.0
    end_and_pick_s: float = 0.0
    clock_s: float = 0.0


class _Busy:
    """A plane whose engines are full, with requests waiting before them."""

    def __init__(self, plane: Plane, wanted: PlaneWanted, num_engines: int) -> None:
        self._plane = plane
        self._requests = requests(Random(wanted.seed))
        self._running: deque[tuple[EngineId, RequestId]] = deque()
        self._picked: set[RequestId] = set()
        self._cached_tokens: dict[RequestId, int] = {}
        self._heads: dict[EngineId, Recent[str, bool]] = {}
        self._now_s = 0.0
        self._waiting = wanted.waiting
        card = ModelCard(MODEL, (Kind.CHAT,), 1 << 20)
        for number in range(num_engines):
            info = EngineInfo(EngineId(f"engine-{number}"), "simulated", "none", True, (card,), WINDOW)
            plane.handle(EngineUp(info), 0.0)
            self._heads[info.engine_id] = Recent(HEADS_KEPT)
        for _ in range(wanted.waiting + WINDOW * num_engines):
            self._obey(plane.handle(Submitted((next(self._requests),)), 0.0))

    def round(self, num: int) -> Spent:
        """Return the processor time of `num` requests."""
        coming = [next(self._requests) for _ in range(num)]
        spent = Spent()
        for request in coming:
            self._serve(request, spent)
        num_waiting = self._plane.view().num_waiting
        if num_waiting != self._waiting:
            raise InternalError(f"{num_waiting} requests wait where {self._waiting} should")
        return spent

    def _serve(self, request: Request, spent: Spent) -> None:
        engine_id, request_id = self._running.popleft()
        usage = Usage(500, 100, self._cached_tokens.pop(request_id))
        ended = EngineEnded(engine_id, (Finished(request_id, "stop", usage, engine_id),))
        first, came = FirstTokens(engine_id, (request_id,)), Submitted((request,))
        handle, now_s, clock_s = self._plane.handle, self._now_s, time.thread_time
        self._now_s += STEP_S
        began_s = clock_s()
        commands = handle(came, now_s)
        arrived_s = clock_s()
        commands += handle(first, now_s)
        first_s = clock_s()
        commands += handle(ended, now_s)
        ended_s = clock_s()
        spent.arrival_s += arrived_s - began_s
        spent.first_token_s += first_s - arrived_s
        spent.end_and_pick_s += ended_s - first_s
        spent.clock_s += clock_s() - ended_s
        if self._obey(commands) != 1:
            raise InternalError("one request ended, and not exactly one was picked")

    def _obey(self, commands: list[Command]) -> int:
        """Return how many were picked."""
        num = 0
        for command in commands:
            if isinstance(command, Dispatch):
                for request in command.requests:
                    self._begin(command.engine_id, request)
                    num += 1
            elif isinstance(command, TakeBack):
                self._give_back(command.engine_id, command.request_ids)
        return num

    def _begin(self, engine_id: EngineId, request: Request) -> None:
        if request.id in self._picked:
            raise InternalError(f"request {request.id} was picked twice")
        self._picked.add(request.id)
        self._running.append((engine_id, request.id))
        head = f"{request.tenant} {request.messages[0].content[:10]}" if isinstance(request, ChatRequest) else ""
        self._cached_tokens[request.id] = HEAD_TOKENS if self._heads[engine_id].get(head) else 0
        self._heads[engine_id].put(head, True)

    def _give_back(self, engine_id: EngineId, request_ids: tuple[RequestId, ...]) -> None:
        """Stop these, but for one whose first token came meanwhile."""
        stopped = [request_id for request_id in request_ids if (engine_id, request_id) in self._running]
        for request_id in stopped:
            self._running.remove((engine_id, request_id))
            self._picked.remove(request_id)
        ended = EngineEnded(engine_id, tuple(Failed(request_id, _STOPPED) for request_id in stopped))
        self._obey(self._plane.handle(ended, self._now_s))


def requests(rng: Random) -> Iterator[Request]:
    """Yield chat requests of 50 tenants and of all classes, whose prompts of 2,000 characters share 200 beginnings."""
    for number in count():
        text = f"{rng.randrange(NUM_HEADS):<{HEAD_CHARACTERS}}{number:>{TAIL_CHARACTERS}}"
        yield ChatRequest(
            RequestId(f"request-{number}"),
            MODEL,
            (ChatMessage("user", text),),
            Sampling(max_tokens=rng.choice((16, 128, 512))),
            rng.choice(tuple(ServiceClass)),
            f"tenant-{int(rng.paretovariate(1.0)) % NUM_TENANTS}",
        )


def _result(policy: str, route: str, num_engines: int, wanted: PlaneWanted, rounds: list[Spent]) -> PlaneResult:
    arrival = [_each_us(spent.arrival_s, spent, wanted) for spent in rounds]
    first_token = [_each_us(spent.first_token_s, spent, wanted) for spent in rounds]
    end_and_pick = [_each_us(spent.end_and_pick_s, spent, wanted) for spent in rounds]
    dearest = max((arrival, first_token, end_and_pick), key=median)
    return PlaneResult(
        engine="plane",
        workload="decision",
        n=wanted.num_decisions,
        checked=True,
        simulated=True,
        policy=policy,
        route=route,
        waiting=wanted.waiting,
        engines=num_engines,
        num_rounds=wanted.num_rounds,
        us_per_decision=round(median(dearest), 1),
        us_per_decision_min=round(min(dearest), 1),
        us_arrival=round(median(arrival), 1),
        us_first_token=round(median(first_token), 1),
        us_end_and_pick=round(median(end_and_pick), 1),
        us_per_request=round(median(map(sum, zip(arrival, first_token, end_and_pick, strict=True))), 1),
    )


def _each_us(taken_s: float, spent: Spent, wanted: PlaneWanted) -> float:
    return 1e6 * max(0.0, taken_s - spent.clock_s) / wanted.num_decisions
