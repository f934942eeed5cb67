"""Replays a trace against the control plane and simulated engines, in virtual time. The plane is the one that serves.

Knows nothing of files and of what is printed.
"""

import dataclasses
import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.simulator.arrival import Arrival, Trace
from benchmarks.simulator.coming import Coming
from benchmarks.simulator.contention import contention_of
from benchmarks.simulator.device import DeviceModel, Job
from benchmarks.simulator.engine import EngineModel, Sequenced
from benchmarks.simulator.outcome import Outcome
from benchmarks.simulator.shown_engines import (
    DIM,
    MODEL,
    TEXT_MODEL,
    device_of,
    info_of_chat,
    info_of_texts,
    kv_of,
    text_engine,
)
from benchmarks.simulator.texts import TextsJob, TextsModel
from cluster.serving.engines.cost import CostModel
from cluster.serving.events import (
    AbortAt,
    Answer,
    Command,
    Dispatch,
    EngineEnded,
    EngineSeen,
    EngineUp,
    Event,
    FirstTokens,
    Submitted,
    TakeBack,
    TimePassed,
    WakeAt,
)
from cluster.serving.plane import Plane
from cluster.serving.sharing import SharingMode
from cluster.serving.size import ASSUMED_ANSWER_TOKENS, PromptPrefix, Size
from sage.base.errors import InternalError, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    Embedded,
    EmbedRequest,
    Failed,
    Failure,
    Finished,
    GenerateRequest,
    Last,
    Origin,
    Request,
    Usage,
)

KV_TOKENS = 1_300_000  # of llama2-70b on 8 H100 (the prototype of 2026-11-22)
TELLS_EVERY_S = 1.0  # as servers are asked (`server_watch`)
_CANCELLED = Failure.of(RequestCancelled("stopped"))


@dataclass(frozen=True, slots=True)
class Setup:
    """What a trace is replayed against. `window`: sequences that the plane gives to one engine at once; None: as many
    as the engine takes. `prompts`: the plane's window for prompts, fixed or adaptive. `looks_early`, `adapter_slots`:
    as of EngineModel. `others`: what further engines beside those of `costs` cost, one each. `sharing`: how texts share
    a device with chat, where the trace has any: each device has an engine for them then. `kv_grows`: as of EngineModel;
    `tells_kv`: engines tell how much memory they have and use, every TELLS_EVERY_S while they work."""

    policy: str
    route: str
    admission: str
    num_engines: int
    costs: CostModel
    kv_tokens: int = KV_TOKENS
    window: int | None = None
    max_waiting: int = 100_000
    prompts: str = "fixed"
    looks_early: bool = False
    adapter_slots: int = 4
    others: tuple[CostModel, ...] = ()
    sharing: SharingMode = SharingMode.GATED
    kv_grows: bool = False
    tells_kv: bool = False

    @property
    def all_costs(self) -> tuple[CostModel, ...]:
        """What each engine costs."""
        return (self.costs,) * self.num_engines + self.others


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of it. `num_decisions`: events that the plane handled; `loads`: prompt tokens given to each engine;
    `forecast_errors`: of first tokens, p50 and p90, the mean over the engines; `busy_s`: that all engines worked."""

    outcomes: tuple[Outcome, ...]
    duration_s: float
    num_decisions: int
    cached_tokens: int
    prompt_tokens: int
    loads: tuple[int, ...]
    policy: str
    route: str
    admission: str
    prompts: str
    forecast_errors: tuple[float, float]
    busy_s: float = 0.0
    num_loads: int = 0
    """Of adapters, by all engines."""
    num_preempted: int = 0
    """Times that an engine stopped a request for want of memory."""

    def parted(self) -> tuple["Replayed", tuple[Outcome, ...]]:
        """Return the same with chat's outcomes alone, until its last end, and the outcomes of texts."""
        texts = tuple(outcome for outcome in self.outcomes if outcome.arrival.texts)
        if not texts:
            return self, ()
        chat = tuple(outcome for outcome in self.outcomes if not outcome.arrival.texts)
        ended_s = max((outcome.end_s or 0.0 for outcome in chat), default=0.0)
        return dataclasses.replace(self, outcomes=chat, duration_s=ended_s), texts


class TraceSizing:
    """Measures requests by the trace: prompts exactly, answers not at all. A request's id is its number."""

    def __init__(self, arrivals: Sequence[Arrival]) -> None:
        self._arrivals = arrivals

    def size(self, request: Request) -> Size:
        return Size(self._arrivals[int(request.id)].prompt_tokens, ASSUMED_ANSWER_TOKENS)

    def prefix(self, request: Request) -> PromptPrefix:
        arrival = self._arrivals[int(request.id)]
        ends = range(arrival.block_tokens, arrival.block_tokens * (len(arrival.blocks) + 1), arrival.block_tokens)
        return PromptPrefix(arrival.blocks, tuple([min(end, arrival.prompt_tokens) for end in ends]))

    def session(self, request: Request) -> int:
        arrival = self._arrivals[int(request.id)]
        return -1 - int(request.id) if arrival.session is None else arrival.session


def replay(trace: Trace, setup: Setup) -> Replayed:
    """Return what becomes of every request of `trace`."""
    return _Replay(trace, setup).run()


class _Replay:
    def __init__(self, trace: Trace, setup: Setup) -> None:
        self._arrivals = trace.arrivals
        self._coming = Coming(trace.arrivals)
        self._outcomes = tuple(Outcome(arrival) for arrival in trace.arrivals)
        self._plane = Plane(
            policy=setup.policy,
            route=setup.route,
            admission=setup.admission,
            window=setup.prompts,
            max_waiting=setup.max_waiting,
            sizing=TraceSizing(trace.arrivals),
        )
        self._embeds = any(arrival.texts for arrival in trace.arrivals)
        self._devices = [self._device(costs, setup) for costs in setup.all_costs]
        self._loads = [0] * len(self._devices)
        self._jobs: dict[RequestId, tuple[int, Job]] = {}
        self._due: list[tuple[float, int]] = []  # (end of its stretch, device), stale ones too
        self._wake_s = math.inf
        self._num_decisions = 0
        self._setup = setup
        self._told_s = [-math.inf] * len(self._devices)
        for number, costs in enumerate(setup.all_costs):
            window = min(setup.window or costs.max_running, costs.max_running)
            self._handle(EngineUp(info_of_chat(number, costs, trace, window, setup.adapter_slots)), 0.0)
            self._tell(number, 0.0)
            if self._embeds:
                self._handle(EngineUp(info_of_texts(number, costs)), 0.0)

    def _device(self, costs: CostModel, setup: Setup) -> DeviceModel:
        chat = EngineModel(
            costs,
            kv_tokens=setup.kv_tokens,
            looks_early=setup.looks_early,
            adapter_slots=setup.adapter_slots,
            kv_grows=setup.kv_grows,
        )
        if not self._embeds:
            return DeviceModel(chat)
        return DeviceModel(chat, TextsModel(chat, costs, contention_of(costs.name), setup.sharing))

    def run(self) -> Replayed:
        while True:
            arrives_s = self._coming.next_s()
            engine_s = self._next_engine_s()
            now_s = min(arrives_s, engine_s, self._wake_s)
            if now_s == math.inf:
                break
            if now_s == arrives_s:
                self._arrive(self._coming.take(), now_s)
            elif now_s == engine_s:
                self._advance(heapq.heappop(self._due)[1], now_s)
            else:
                self._wake_s = math.inf
                self._handle(TimePassed(), now_s)
        return self._replayed()

    def _ended(self, number: int, last: Last, now_s: float) -> None:
        self._outcomes[number].end_s = now_s
        if not isinstance(last, Failed):
            self._coming.ended(number, now_s)
            return
        for each in (number, *self._coming.failed(number)):
            self._outcomes[each].end_s = now_s
            self._outcomes[each].why = last.failure.code

    def _replayed(self) -> Replayed:
        if any(outcome.end_s is None for outcome in self._outcomes):
            raise InternalError("a simulated run ended before all of its requests did")
        view = self._plane.view()
        return Replayed(
            self._outcomes,
            max((outcome.end_s or 0.0 for outcome in self._outcomes), default=0.0),
            self._num_decisions,
            sum(device.chat.cached_tokens for device in self._devices),
            sum(device.chat.prompt_tokens for device in self._devices),
            tuple(self._loads),
            view.policy,
            view.route,
            view.admission,
            view.window,
            _mean([engine.forecast_errors for engine in view.engines if engine.forecast_errors is not None]),
            sum(device.chat.busy_s for device in self._devices),
            sum(device.chat.slots.num_loads for device in self._devices),
            sum(device.chat.num_preempted for device in self._devices),
        )

    def _arrive(self, number: int, now_s: float) -> None:
        arrival = self._arrivals[number]
        self._outcomes[number].asked_s = now_s
        id, service_class, origin = RequestId(str(number)), arrival.service_class, self._origin(number, now_s)
        request: Request
        if arrival.texts:
            texts = ("",) * len(arrival.texts)
            request = EmbedRequest(id, TEXT_MODEL, texts, service_class, tenant=arrival.tenant, origin=origin)
        else:
            model = arrival.adapter or MODEL
            request = GenerateRequest(id, model, "", service_class=service_class, tenant=arrival.tenant, origin=origin)
        self._handle(Submitted((request,)), now_s)

    def _origin(self, number: int, now_s: float) -> Origin | None:
        call = self._arrivals[number].call
        if call is None:
            return None
        return Origin(call.flow, call.step, str(call.record), self._coming.due_in_s(number, now_s))

    def _next_engine_s(self) -> float:
        """Return when the next stretch ends, passing over those that were cut or have ended."""
        while self._due and self._devices[self._due[0][1]].next_s() != self._due[0][0]:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else math.inf

    def _advance(self, number: int, now_s: float) -> None:
        happened = self._devices[number].advance(now_s)
        self._expect(number)
        self._tell(number, now_s)
        engine_id = EngineId(str(number))
        if happened.first:
            for job in happened.first:
                self._outcomes[int(job.id)].first_s = now_s
            self._handle(FirstTokens(engine_id, tuple(job.id for job in happened.first)), now_s)
        if happened.ended:
            lasts = tuple(_finished(job, engine_id) for job in happened.ended)
            for job in happened.ended:
                del self._jobs[job.id]
            self._handle(EngineEnded(engine_id, lasts), now_s)
        if happened.embedded:
            embeds_id = text_engine(number)
            for texts in happened.embedded:
                del self._jobs[texts.id]
            self._handle(
                EngineEnded(embeds_id, tuple(_embedded(texts, embeds_id) for texts in happened.embedded)), now_s
            )

    def _tell(self, number: int, now_s: float) -> None:
        """Let the plane know how much memory an engine uses, where it is time."""
        if not self._setup.tells_kv or now_s < self._told_s[number] + TELLS_EVERY_S:
            return
        self._told_s[number] = now_s
        self._handle(EngineSeen(EngineId(str(number)), kv_of(self._devices[number].chat, self._setup.kv_tokens)), now_s)

    def _expect(self, number: int) -> None:
        ends_s = self._devices[number].next_s()
        if ends_s < math.inf:
            heapq.heappush(self._due, (ends_s, number))

    def _handle(self, event: Event, now_s: float) -> None:
        self._num_decisions += 1
        for command in self._plane.handle(event, now_s):
            self._obey(command, now_s)

    def _obey(self, command: Command, now_s: float) -> None:
        match command:
            case Dispatch(engine_id, requests):
                number = device_of(engine_id)
                for request in requests:
                    arrival = self._arrivals[int(request.id)]
                    self._outcomes[int(request.id)].engine = number
                    self._loads[number] += 0 if arrival.texts else arrival.prompt_tokens
                    self._jobs[request.id] = (number, self._devices[number].add(request.id, arrival, now_s))
                self._expect(number)
            case AbortAt(engine_id, request_ids) | TakeBack(engine_id, request_ids):
                number = device_of(engine_id)
                lasts: list[Last] = []
                for request_id in request_ids:
                    self._devices[number].cancel(self._jobs.pop(request_id)[1], now_s)
                    lasts.append(Failed(request_id, _CANCELLED))
                self._expect(number)
                self._handle(EngineEnded(engine_id, tuple(lasts)), now_s)
            case Answer(ended):
                for last in ended:
                    self._ended(int(last.request_id), last, now_s)
            case WakeAt(at_s):
                self._wake_s = at_s
            case _:
                raise InternalError(f"a simulated engine cannot obey {command}")


def _embedded(job: TextsJob, engine_id: EngineId) -> Embedded:
    return Embedded(job.id, b"", DIM, Usage(job.arrival.prompt_tokens), engine_id, job.arrival.texts)


def _mean(errors: Sequence[tuple[float, float]]) -> tuple[float, float]:
    num = max(1, len(errors))
    return sum(p50 for p50, _ in errors) / num, sum(p90 for _, p90 in errors) / num


def _finished(job: Sequenced, engine_id: EngineId) -> Finished:
    usage = Usage(job.arrival.prompt_tokens, job.arrival.answer_tokens, job.cached_tokens)
    return Finished(job.id, "stop", usage, engine_id)
