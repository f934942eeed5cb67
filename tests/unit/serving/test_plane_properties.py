"""Random orders of events: each request is answered once, none is lost, and the policy's order is kept."""

from collections import Counter
from random import Random

import pytest
from msgspec.structs import replace

from cluster.serving.admission import ADMISSION_NAMES
from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import (
    AbortAt,
    Answer,
    Cancelled,
    Command,
    Dispatch,
    EndEngine,
    EngineDown,
    EngineEnded,
    EngineRetired,
    EngineStarting,
    EngineUp,
    Event,
    FirstTokens,
    PolicyChanged,
    Submitted,
    TakeBack,
    TimePassed,
    WakeAt,
)
from cluster.serving.plane import Plane
from cluster.serving.policy import POLICY_NAMES
from cluster.serving.routes import ROUTE_NAMES
from cluster.serving.ticket import Lane, lane_of
from cluster.serving.window import WINDOW_NAMES
from sage.base.errors import InvalidRequest, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Kind, Last, Request, ServiceClass
from sage.base.settings import TenantSettings
from tests.unit.serving.arrange import chat, chat_engine, embed, embed_engine, embedded, finished, generate, lost

CLASSES = tuple(ServiceClass)
MODELS = ("chat", "embed")
ADAPTERS = ("sql", "law", "french")
TENANTS = (
    (),
    (TenantSettings(name="t1", tokens_per_minute=15_000), TenantSettings(name="t2", max_waiting=1, weight=2.0)),
    (TenantSettings(name="*", requests_per_minute=20),),
)


class World:
    """Engines and askers that do anything a real one may, in an order drawn from a seed; knows the plane's orders only.

    `waiting` is what, by the orders seen, still waits: in order of arrival, since dicts keep it.
    """

    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.policy = self.rng.choice(POLICY_NAMES)
        self.max_waiting = self.rng.choice((5, 40))
        route, admission = self.rng.choice(ROUTE_NAMES), self.rng.choice(ADMISSION_NAMES)
        self.plane = Plane(
            MODELS,
            policy=self.policy,
            route=route,
            admission=admission,
            window=self.rng.choice(WINDOW_NAMES),
            max_waiting=self.max_waiting,
            tenants=self.rng.choice(TENANTS),
        )
        self.now_s = 0.0
        self.num_ids = self.most_adapters = 0
        self.num_engines = 0
        self.wake_s: float | None = None
        self.starting: dict[EngineId, str] = {}
        self.engines: dict[EngineId, EngineInfo] = {}
        self.held: dict[EngineId, dict[RequestId, Request]] = {}
        self.waiting: dict[RequestId, Request] = {}
        self.submitted: Counter[RequestId] = Counter()
        self.answered: Counter[RequestId] = Counter()
        self.cancelled: set[RequestId] = set()
        self.given_up: list[EngineId] = []
        self.begun: set[RequestId] = set()
        self.num_arrived = 0
        self.arrived: dict[RequestId, int] = {}
        self.taken_back: list[Request] = []
        self.giving_back: dict[RequestId, Request] = {}

    # What may happen.

    def submit(self) -> Event:
        requests = [self.new_request() for _ in range(self.rng.randint(1, 6))]
        return Submitted(tuple({request.id: request for request in requests}.values()))

    def new_request(self) -> Request:
        self.num_ids += 1
        id = f"r{self.num_ids if self.rng.random() < 0.9 else self.rng.randint(1, self.num_ids)}"
        service_class = self.rng.choice(CLASSES)
        timeout_s = self.rng.choice((None, None, 0.0, 1.0, 5.0))
        match self.rng.randint(0, 9):
            case 0:
                return chat(id, service_class, model=self.rng.choice(("embed", "unheard-of")))
            case 1 | 2 | 3:
                return embed(id, self.rng.choice((1, 2, 20)), service_class, timeout_s=timeout_s)
            case 4:
                return generate(id, service_class)
            case _:
                characters = self.rng.choice((4, 400, 40_000))
                tenant = f"t{self.rng.randint(1, 3)}"
                model = self.rng.choice(("chat", "chat", "chat", *ADAPTERS))
                return chat(
                    id, service_class, model=model, timeout_s=timeout_s, num_characters=characters, tenant=tenant
                )

    def cancel(self) -> Event:
        ids = tuple(RequestId(f"r{self.rng.randint(1, self.num_ids + 1)}") for _ in range(3))
        self.cancelled.update(ids)
        return Cancelled(ids)

    def engine_starts(self) -> Event | None:
        if len(self.starting) + len(self.engines) >= 4:
            return None
        self.num_engines += 1
        engine_id = EngineId(f"x{self.num_engines}")
        self.starting[engine_id] = self.rng.choice(MODELS)
        return EngineStarting(engine_id, (self.starting[engine_id],))

    def engine_is_up(self) -> Event | None:
        if not self.starting:
            return None
        engine_id = self.rng.choice(list(self.starting))
        num = self.rng.choice((1, 2, 8))
        adapters = self.rng.choice(((), ADAPTERS, ADAPTERS[:2]))
        slots = self.rng.choice((1, 2)) if adapters else 0
        info = chat_engine(engine_id, max_running=num, adapters=adapters, adapter_slots=slots)
        if self.starting.pop(engine_id) == "embed":
            info = embed_engine(engine_id, max_running=4 * num, max_batch_texts=8)
        info = replace(info, device=("CPU", "GPU")[self.num_engines % 2])
        if self.num_engines % 3 == 0:
            info = replace(info, models=tuple(replace(card, context_tokens=16_384) for card in info.models))
        self.engines[engine_id], self.held[engine_id] = info, {}
        return EngineUp(info)

    def engine_retires(self) -> Event | None:
        if not self.engines or self.rng.random() < 0.5:
            return None
        return EngineRetired(self.rng.choice(list(self.engines)), self.rng.choice((0.0, 5.0, 600.0)))

    def engine_is_lost(self) -> Event | None:
        ids = [*self.starting, *self.engines]
        if not ids or self.rng.random() < 0.7:
            return None
        return self.lose(self.rng.choice(ids))

    def lose(self, engine_id: EngineId) -> Event:
        self.starting.pop(engine_id, None)
        self.engines.pop(engine_id, None)
        self.held.pop(engine_id, None)
        return EngineDown(engine_id, lost())

    def engine_ends_some(self) -> Event | None:
        engine_id = self.rng.choice([id for id in self.engines if self.held[id]] or [None])
        if engine_id is None:
            return None
        held = self.held[engine_id]
        ended = self.rng.sample(list(held), self.rng.randint(1, len(held)))
        return EngineEnded(engine_id, tuple(self.end_of(held.pop(id), engine_id) for id in ended))

    def first_tokens_come(self) -> Event | None:
        engine_id = self.rng.choice([id for id in self.engines if self.held[id]] or [None])
        if engine_id is None:
            return None
        ids = tuple(self.rng.sample(list(self.held[engine_id]), 1))
        self.begun.update(ids)
        for id in ids:
            self.giving_back.pop(id, None)
        return FirstTokens(engine_id, ids)

    def end_of(self, request: Request, engine_id: EngineId) -> Last:
        if self.giving_back.pop(request.id, None) is not None:
            if self.rng.random() < 0.3:
                return finished(request.id, engine_id)
            self.waiting = dict(
                sorted({**self.waiting, request.id: request}.items(), key=lambda item: self.arrived[item[0]])
            )
            return Failed(request.id, Failure.of(RequestCancelled("given back")))
        if request.id in self.cancelled and self.rng.random() < 0.8:
            return Failed(request.id, Failure.of(RequestCancelled("stopped")))
        ends = embedded if lane_of(request).model == "embed" else finished
        return ends(request.id, engine_id)

    def change_policy(self) -> Event:
        if self.rng.random() < 0.3:
            return PolicyChanged(route=self.rng.choice(ROUTE_NAMES))
        self.policy = self.rng.choice(POLICY_NAMES)
        return PolicyChanged(self.policy)

    def time_passes(self) -> Event:
        self.now_s += self.rng.choice((0.1, 1.0, 3.0, 40.0))
        return TimePassed()

    # What follows.

    def handle(self, event: Event) -> None:
        waited = dict(self.waiting)
        if isinstance(event, Submitted):
            for request in event.requests:
                self.submitted[request.id] += 1
                self.num_arrived += 1
                is_held = any(request.id in held for held in self.held.values())
                if not is_held and self.waiting.setdefault(request.id, request) is request:
                    self.arrived[request.id] = self.num_arrived
        commands = self.plane.handle(event, self.now_s)
        self.plane.check()
        if isinstance(event, TimePassed):
            self.wake_s = None
        picked = [self.obey(command) for command in commands]
        self.check_order([request for requests in picked for request in requests], waited)
        while self.given_up:
            self.handle(self.lose(self.given_up.pop()))

    def obey(self, command: Command) -> tuple[Request, ...]:
        """Do as ordered; return what was dispatched."""
        match command:
            case Dispatch(engine_id, requests):
                self.dispatched(engine_id, requests)
                return requests
            case AbortAt(engine_id, request_ids):
                self.cancelled.update(request_ids)
            case TakeBack(engine_id, request_ids):
                self.told_to_give_back(engine_id, request_ids)
            case EndEngine(engine_id):
                self.given_up.append(engine_id)
            case Answer(ended):
                for last in ended:
                    self.ended(last)
            case WakeAt(at_s):
                self.wake_s = at_s
        return ()

    def dispatched(self, engine_id: EngineId, requests: tuple[Request, ...]) -> None:
        info, held = self.engines[engine_id], self.held[engine_id]
        for request in requests:
            lane = lane_of(request)
            assert info.card(lane.model, lane.kind) is not None, "an engine gets only what it serves"
            assert request.id not in held, "nothing is dispatched twice"
            held[request.id] = request
            self.begun.discard(request.id)
            del self.waiting[request.id]
        assert len(held) <= info.max_running, "the window is never exceeded"
        adapters = {request.model for request in held.values()} & set(info.adapters)
        assert len(adapters) <= info.adapter_slots, "no more adapters are at work than there are slots"
        self.most_adapters = max(self.most_adapters, len(adapters))

    def told_to_give_back(self, engine_id: EngineId, request_ids: tuple[RequestId, ...]) -> None:
        for request_id in request_ids:
            request = self.held[engine_id][request_id]
            assert request.service_class is ServiceClass.BATCH, "only of the least urgent"
            assert request_id not in self.begun, "nothing is taken back after its first token"
            assert not any(request is other for other in self.taken_back), "once at most"
            self.taken_back.append(request)
            self.giving_back[request_id] = request

    def ended(self, last: Last) -> None:
        self.answered[last.request_id] += 1
        assert self.answered[last.request_id] <= self.submitted[last.request_id], "never answered twice"
        is_duplicate = (
            isinstance(last, Failed) and last.failure.code == InvalidRequest.code and last.failure.param == "id"
        )
        if not is_duplicate:
            self.waiting.pop(last.request_id, None)
            self.giving_back.pop(last.request_id, None)

    def check_order(self, picked: list[Request], waited: dict[RequestId, Request]) -> None:
        """By fifo, nothing that waited before the event and still waits came before what was picked."""
        if self.policy != "fifo":
            return  # who goes first depends on what was served before: tests of the policies say how
        arrivals = {id: number for number, id in enumerate({**waited, **{r.id: r for r in picked}})}
        left = [request for id, request in waited.items() if self.waiting.get(id) is request]
        for lane in {lane_of(request) for request in picked}:
            last = max(arrivals[r.id] for r in picked if lane_of(r) == lane)
            assert all(arrivals[r.id] > last for r in left if lane_of(r) == lane), "the policy's order"

    def settle(self) -> None:
        """Let engines for everything come up and end all they are given, and no new request come."""
        for engine_id in [*self.starting, *self.engines]:
            self.handle(self.lose(engine_id))
        assert not self.waiting, "without engines nothing waits"
        assert self.plane._quotas.num_open() == 0, "each request that was charged was settled"


HAPPENINGS = (
    World.submit,
    World.submit,
    World.submit,
    World.cancel,
    World.engine_starts,
    World.engine_is_up,
    World.engine_is_up,
    World.engine_is_lost,
    World.engine_ends_some,
    World.engine_ends_some,
    World.first_tokens_come,
    World.change_policy,
    World.time_passes,
)


@pytest.mark.parametrize("seed", range(60))
def test_each_request_ends_in_exactly_one_answer_whatever_happens_in_whatever_order(seed: int) -> None:
    world = World(seed)
    for _ in range(120):
        event = world.rng.choice(HAPPENINGS)(world)
        if event is not None:
            world.handle(event)
    world.settle()
    assert world.answered == world.submitted
    assert world.submitted.total() > 20


def test_the_lanes_of_the_random_world_are_really_used() -> None:
    used: Counter[tuple[Lane, str]] = Counter()
    for seed in range(10):
        world = World(seed)
        for _ in range(120):
            event = world.rng.choice(HAPPENINGS)(world)
            if event is not None:
                world.handle(event)
        used.update({(Lane(e.model, e.kind), e.outcome): e.num_ended for e in world.plane.view().ended})
        used[Lane("most at work", Kind.CHAT), str(world.most_adapters)] += 1
    assert used[Lane("most at work", Kind.CHAT), "2"], "slots are all used"
    assert all(used[Lane(adapter, Kind.CHAT), "finished"] for adapter in ADAPTERS)
    outcomes = {outcome for _, outcome in used}
    codes = {"SAGE-1201", "SAGE-1203", "SAGE-2201", "SAGE-2202", "SAGE-2203", "SAGE-2205", "SAGE-2206", "SAGE-2208"}
    assert outcomes >= {"finished", *codes}


def test_requests_are_given_back_in_the_random_world_and_some_end_before_they_can_be() -> None:
    num_taken, num_back = 0, 0
    for seed in range(30):
        world = World(seed)
        for _ in range(120):
            event = world.rng.choice(HAPPENINGS)(world)
            if event is not None:
                world.handle(event)
        num_taken += len(world.taken_back)
        num_back += world.plane.view().num_taken_back
    assert num_taken > num_back > 3
