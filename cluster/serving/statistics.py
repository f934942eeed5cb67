"""What the plane has done so far, in numbers. Knows nothing of how they are shown."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cluster.serving.batch import Assignment
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import EngineInfo
from cluster.serving.kept_exactly import CacheBelief
from cluster.serving.route import Router
from cluster.serving.ticket import Lane, Ticket
from sage.base.ids import EngineId
from sage.base.inference import Failed, Kind, Last, Request, ServiceClass, Usage
from sage.flow.runner import EngineStatus

MAX_LOST_ENGINES = 16  # engines that are gone are still shown, the latest of them


@dataclass(frozen=True, slots=True)
class WaitingView:
    model: str
    service_class: ServiceClass
    num_waiting: int


@dataclass(frozen=True, slots=True)
class EndedView:
    """`outcome` is "finished" or the code of an error; what was refused on arrival is in it."""

    model: str
    kind: Kind
    service_class: ServiceClass
    outcome: str
    num_ended: int


@dataclass(frozen=True, slots=True)
class WaitedView:
    """Time from arrival to the pick, of the requests of one class that were picked."""

    service_class: ServiceClass
    num_picked: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class PickedView:
    """How many requests were given to engines while this policy and this route were in force."""

    policy: str
    route: str
    num_picked: int


@dataclass(frozen=True, slots=True)
class TokensView:
    """Tokens of answered requests; `cached_tokens` is a part of `prompt_tokens`."""

    model: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class TextsView:
    """Texts of a model that were embedded, found in the cache, or shared with one that was being embedded."""

    model: str
    num_embedded: int
    num_cached: int
    num_shared: int


@dataclass(frozen=True, slots=True)
class EngineView:
    """`state` is "starting", "ready", "draining" or "lost"; `info` is None while it starts; `num_requests` were picked
    for it.

    `forecast_errors`: by how much of their time first tokens came off what was foretold, p50 and p90 of the last 256.
    `figures`: what it last said of itself, if it does. `cache_belief`: how it is known what it has cached, where that
    is asked. `why` it is lost.
    """

    engine_id: EngineId
    state: str
    models: tuple[str, ...]
    info: EngineInfo | None
    num_running: int = 0
    load_tokens: int = 0
    num_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    num_batches: int = 0
    num_texts: int = 0
    forecast_errors: tuple[float, float] | None = None
    figures: EngineFigures | None = None
    cache_belief: CacheBelief | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class PlaneView:
    """The plane at one moment. `batch_sizes`: (texts in a micro-batch, how many batches had so many).

    `vector_cache_bytes`: what vectors of texts embedded before take. `num_taken_back`: how often engines gave back a
    request before its first token.
    """

    policy: str
    route: str
    admission: str
    window: str
    max_waiting: int
    num_waiting: int
    num_running: int
    waiting: tuple[WaitingView, ...]
    engines: tuple[EngineView, ...]
    ended: tuple[EndedView, ...]
    waited: tuple[WaitedView, ...]
    tokens: tuple[TokensView, ...]
    batch_sizes: tuple[tuple[int, int], ...]
    picked: tuple[PickedView, ...] = ()
    texts: tuple[TextsView, ...] = ()
    vector_cache_bytes: int = 0
    num_taken_back: int = 0


@dataclass(slots=True)
class UsageSum:
    """Tokens of many requests, counted in place."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    def add(self, usage: "Usage | UsageSum") -> None:
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.cached_tokens += usage.cached_tokens


@dataclass(slots=True)
class _Finished(UsageSum):
    """How many requests were answered, and their tokens."""

    num: int = 0


@dataclass(slots=True)
class _Waited:
    """How many were picked, and how long they had waited together."""

    num: int = 0
    waited_s: float = 0.0


@dataclass(slots=True)
class EngineTotals:
    """What one engine has been given and has answered since it came up."""

    info: EngineInfo
    num_requests: int = 0
    num_batches: int = 0
    num_texts: int = 0
    usage: UsageSum = field(default_factory=UsageSum)

    def view(
        self,
        state: str,
        *,
        num_running: int = 0,
        load_tokens: int = 0,
        forecast_errors: tuple[float, float] | None = None,
        figures: EngineFigures | None = None,
        cache_belief: CacheBelief | None = None,
        why: str = "",
    ) -> EngineView:
        return EngineView(
            engine_id=self.info.engine_id,
            state=state,
            models=tuple(card.name for card in self.info.models),
            info=self.info,
            num_running=num_running,
            load_tokens=load_tokens,
            num_requests=self.num_requests,
            prompt_tokens=self.usage.prompt_tokens,
            completion_tokens=self.usage.completion_tokens,
            cached_tokens=self.usage.cached_tokens,
            num_batches=self.num_batches,
            num_texts=self.num_texts,
            forecast_errors=forecast_errors,
            figures=figures,
            cache_belief=cache_belief,
            why=why,
        )


class Totals:
    """Counts that only grow. The models in them are known ones, or "" for all others: their number is bounded."""

    def __init__(self) -> None:
        self._failed: Counter[tuple[str, Kind, ServiceClass, str]] = Counter()
        self._finished: dict[tuple[Lane, ServiceClass], _Finished] = {}
        self._waited: defaultdict[ServiceClass, _Waited] = defaultdict(_Waited)
        self._batch_sizes: Counter[int] = Counter()
        self._engines: dict[EngineId, EngineTotals] = {}
        self._lost: deque[EngineTotals] = deque(maxlen=MAX_LOST_ENGINES)
        self._why_down: dict[EngineId, str] = {}
        self._num_picked_by: dict[tuple[str, str], int] = {}
        self._ordered_by = ("", "")
        self._num_picked_now = 0  # by these, beyond what is counted in `_num_picked_by`

    def ordered_by(self, policy: str, route: str) -> None:
        """Count what is picked from now on as picked by these."""
        self._count_picked()
        self._ordered_by = (policy, route)
        self._num_picked_by.setdefault(self._ordered_by, 0)

    def engine_up(self, info: EngineInfo) -> None:
        """Begin to count, or go on where an engine of this id was lost before."""
        known = next((totals for totals in self._lost if totals.info.engine_id == info.engine_id), None)
        if known is not None:
            self._lost.remove(known)
            known.info = info
        self._why_down.pop(info.engine_id, None)
        self._engines[info.engine_id] = known or EngineTotals(info)

    def engine_down(self, engine_id: EngineId, why: str) -> None:
        """Note that an engine was lost, or could not be started."""
        if (totals := self._engines.pop(engine_id, None)) is not None:
            self._lost.append(totals)
        self._why_down.pop(engine_id, None)
        self._why_down[engine_id] = why
        if len(self._why_down) > MAX_LOST_ENGINES:
            del self._why_down[next(iter(self._why_down))]

    def picked(self, assignment: Assignment, now_s: float) -> None:
        """Note that requests were picked for an engine."""
        engine, num = self._engines[assignment.account.info.engine_id], len(assignment.tickets)
        engine.num_requests += num
        self._num_picked_now += num
        if assignment.num_texts:
            engine.num_batches += 1
            engine.num_texts += assignment.num_texts
            self._batch_sizes[assignment.num_texts] += 1
        for ticket in assignment.tickets:
            waited = self._waited[ticket.request.service_class]
            waited.num += 1
            waited.waited_s = waited.waited_s + now_s - ticket.arrived_s

    def ended(self, request: Request, lane: Lane, last: Last, *, is_known: bool) -> None:
        """Note how a request of a lane ended; `is_known`: its model is one of those the plane knows."""
        if type(last) is Failed:
            model = lane.model if is_known else ""
            self._failed[(model, lane.kind, request.service_class, last.failure.code)] += 1
            return
        key = (lane, request.service_class)
        finished, usage = self._finished.get(key) or self._finished.setdefault(key, _Finished()), last.usage
        finished.num += 1
        finished.prompt_tokens += usage.prompt_tokens  # as `UsageSum.add`, without a call: each request comes by here
        finished.completion_tokens += usage.completion_tokens
        finished.cached_tokens += usage.cached_tokens
        if (engine := self._engines.get(last.engine_id)) is not None:
            of_engine = engine.usage
            of_engine.prompt_tokens += usage.prompt_tokens
            of_engine.completion_tokens += usage.completion_tokens
            of_engine.cached_tokens += usage.cached_tokens

    def ended_view(self) -> tuple[EndedView, ...]:
        ended = {(lane.model, lane.kind, cls, "finished"): each.num for (lane, cls), each in self._finished.items()}
        return tuple(EndedView(*key, num) for key, num in sorted({**ended, **self._failed}.items()))

    def waited_view(self) -> tuple[WaitedView, ...]:
        return tuple(WaitedView(cls, each.num, each.waited_s) for cls, each in sorted(self._waited.items()))

    def tokens_view(self) -> tuple[TokensView, ...]:
        sums: dict[str, UsageSum] = {}
        for (lane, _), each in self._finished.items():
            sums.setdefault(lane.model, UsageSum()).add(each)
        return tuple(
            TokensView(model, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens)
            for model, usage in sorted(sums.items())
        )

    def picked_view(self) -> tuple[PickedView, ...]:
        self._count_picked()
        return tuple(PickedView(*by, num) for by, num in self._num_picked_by.items())

    def _count_picked(self) -> None:
        if self._num_picked_now:
            self._num_picked_by[self._ordered_by] += self._num_picked_now
            self._num_picked_now = 0

    def batch_sizes(self) -> tuple[tuple[int, int], ...]:
        return tuple(sorted(self._batch_sizes.items()))

    def engines_view(self, router: Router, starting: Mapping[EngineId, tuple[str, ...]]) -> tuple[EngineView, ...]:
        """Return the engines: ready, then starting ones, then those lost, then those that could not be started."""
        ready = [
            self._engines[account.info.engine_id].view(
                "draining" if account.is_retired else "ready",
                num_running=len(account.held),
                load_tokens=account.load_tokens,
                forecast_errors=account.latency.errors(),
                figures=account.figures,
                cache_belief=router.cache_belief(account),
            )
            for account in router
        ]
        coming = [EngineView(engine_id, "starting", models, None) for engine_id, models in starting.items()]
        why = dict(self._why_down)
        lost = [totals.view("lost", why=why.pop(totals.info.engine_id, "")) for totals in self._lost]
        lost += [EngineView(engine_id, "lost", (), None, why=what) for engine_id, what in why.items()]
        return (*ready, *coming, *(engine for engine in lost if engine.engine_id not in starting))


def waiting_view(tickets: Iterable[Ticket]) -> tuple[WaitingView, ...]:
    """Return how many of `tickets` there are of each model and class."""
    waiting = Counter((ticket.request.model, ticket.request.service_class) for ticket in tickets)
    return tuple(WaitingView(*key, num) for key, num in sorted(waiting.items()))


def engine_statuses(view: PlaneView) -> tuple[EngineStatus, ...]:
    """Return the engines as a cluster shows them; one that is starting has no kind, device or models yet."""
    return tuple(map(_engine_status, view.engines))


def _engine_status(engine: EngineView) -> EngineStatus:
    info, figures = engine.info, engine.figures
    return EngineStatus(
        engine_id=engine.engine_id,
        kind=info.kind if info is not None else "",
        state=engine.state,
        device=info.device if info is not None else "",
        simulated=info.simulated if info is not None else False,
        models=info.models if info is not None else (),
        num_running=engine.num_running,
        num_requests=engine.num_requests,
        prompt_tokens=engine.prompt_tokens,
        completion_tokens=engine.completion_tokens,
        why=engine.why,
        num_waiting=round(figures.num_waiting) if figures is not None else None,
        kv_used=figures.kv_used if figures is not None else None,
        prefix_hit=figures.prefix_hit if figures is not None else None,
        cache_belief=engine.cache_belief or "",
    )
