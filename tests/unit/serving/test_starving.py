"""Whoever waits is served within a bound, whatever else comes; simulated: one engine that works on one at a time."""

import math
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import Dispatch, EngineEnded, EngineUp, Event, Submitted
from cluster.serving.patience import USUAL
from cluster.serving.plane import Plane
from cluster.serving.policy import AGEING_S, FLOOR_SHARES, POLICY_NAMES
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    GenerateRequest,
    Kind,
    Last,
    ModelCard,
    Request,
    Sampling,
    ScoreRequest,
    ServiceClass,
    TextsRequest,
)
from tests.unit.serving.arrange import (
    BATCH,
    CHAT_CARD,
    INTERACTIVE,
    STANDARD,
    chat,
    chat_engine,
    embed,
    embed_engine,
    embedded,
    finished,
    generate,
    waiting,
)


class Busy:
    """A plane whose engines always have something to do, and what it picked."""

    def __init__(self, policy: str, *infos: EngineInfo, each_s: float = 0.1) -> None:
        self._each_s = each_s
        self.plane = Plane(("chat", "embed"), policy=policy)
        self.now_s = 100.0
        self.picks: list[str] = []
        self._running: list[tuple[EngineInfo, Request]] = []
        self._infos = {info.engine_id: info for info in infos}
        for info in infos:
            self._handle(EngineUp(info))

    def submit(self, *requests: Request) -> None:
        self._handle(Submitted(requests))

    def end_all(self) -> None:
        self.now_s += self._each_s
        ended: dict[EngineId, list[Last]] = {}
        for info, request in self._running:
            end = embedded if isinstance(request, TextsRequest) else finished
            ended.setdefault(info.engine_id, []).append(end(request.id, info.engine_id))
        self._running = []
        for engine_id, lasts in ended.items():
            self._handle(EngineEnded(engine_id, tuple(lasts)))

    def _handle(self, event: Event) -> None:
        for command in self.plane.handle(event, self.now_s):
            if isinstance(command, Dispatch):
                for request in command.requests:
                    self.picks.append(request.id)
                    self._running.append((self._infos[command.engine_id], request))


def small(id: str, service_class: ServiceClass) -> GenerateRequest:
    return GenerateRequest(RequestId(id), "chat", "x", Sampling(max_tokens=1), service_class)


BY_CLASS = pytest.mark.parametrize("policy", ["priority", "hybrid"])


@BY_CLASS
def test_small_requests_of_a_batch_in_another_lane_do_not_use_up_the_floor_of_a_long_one(policy: str) -> None:
    busy = Busy(policy, chat_engine("c1", max_running=1))
    busy.submit(*(chat(f"first{n}", INTERACTIVE) for n in range(4)), chat("long", BATCH, max_tokens=1_000))
    for n in range(1_400):
        busy.end_all()
        busy.submit(chat(f"i{n}", INTERACTIVE))
        busy.submit(small(f"si{n}", INTERACTIVE))
        busy.submit(small(f"sb{n}", BATCH))
        if "long" in busy.picks:
            return
    raise AssertionError("it starves")


@BY_CLASS
def test_a_batch_of_texts_on_another_engine_does_not_use_up_the_floor_of_a_long_chat(policy: str) -> None:
    busy = Busy(policy, chat_engine("c1", max_running=1), embed_engine(max_running=1, max_batch_texts=1))
    busy.submit(*(chat(f"first{n}", INTERACTIVE) for n in range(4)), chat("long", BATCH, max_tokens=1_000))
    for n in range(900):
        busy.end_all()
        busy.submit(chat(f"i{n}", INTERACTIVE))
        busy.submit(embed(f"ei{n}", 1, INTERACTIVE), embed(f"eb{n}", 1, BATCH))
        if "long" in busy.picks:
            return
    raise AssertionError("it starves")


@pytest.mark.parametrize("policy", POLICY_NAMES)
def test_who_had_a_turn_does_not_wait_behind_each_tenant_that_was_never_seen_before(policy: str) -> None:
    busy = Busy(policy, chat_engine("c1", max_running=1))
    busy.submit(chat("h0", tenant="h"), chat("h1", tenant="h"))
    for n in range(2_000):
        busy.submit(chat(f"new{n}", tenant=f"new{n}"))
        busy.end_all()
        if "h1" in busy.picks:
            return
    raise AssertionError("it starves")


LANES: dict[str, Callable[[str, ServiceClass, str], Request]] = {
    "chat": lambda id, service_class, tenant: chat(id, service_class, tenant=tenant),
    "generate": lambda id, service_class, tenant: replace(generate(id, service_class), tenant=tenant),
    "embed": lambda id, service_class, tenant: replace(embed(id, 1, service_class), tenant=tenant),
    "score": lambda id, service_class, tenant: ScoreRequest(RequestId(id), "embed", "x", ("y",), service_class, tenant),
}
FOR_ALL = EngineInfo(
    EngineId("all"),
    "simulated",
    "CPU",
    True,
    (CHAT_CARD, ModelCard("embed", (Kind.EMBED, Kind.SCORE), 512, dim=2)),
    max_running=1,
    max_batch_texts=1,
)


def bound(waits_in: str, busy_in: str, service_class: ServiceClass, *, together: int = 1, each_s: float = 1.0) -> int:
    """Return within how many answers of `each_s` seconds, `together` at once, whoever waits has a turn: once it is old,
    its class is owed what it costs by its share, or, where that goes by when it is due, once its class would have it
    begun."""
    cost, each = (waiting(LANES[lane]("x", service_class, "x")).cost_tokens for lane in (waits_in, busy_in))
    by_floor = AGEING_S / each_s + 2 * cost / (FLOOR_SHARES[service_class] * each * together)
    return 3 + math.ceil(max(by_floor, USUAL.of[service_class] / each_s))


@pytest.mark.parametrize("policy", POLICY_NAMES)
@pytest.mark.parametrize("service_class", [STANDARD, BATCH])
@pytest.mark.parametrize("lesser_too", [False, True])
@pytest.mark.parametrize(("waits_in", "busy_in"), [(one, other) for one in LANES for other in LANES])
def test_whoever_waits_in_any_lane_has_a_turn_within_a_bound_whatever_comes_in_another(
    waits_in: str, busy_in: str, lesser_too: bool, service_class: ServiceClass, policy: str
) -> None:
    busy = Busy(policy, FOR_ALL, each_s=1.0)
    busy.submit(LANES[busy_in]("first", INTERACTIVE, "loud"), LANES[busy_in]("next", INTERACTIVE, "loud"))
    busy.submit(LANES[waits_in]("waits", service_class, "quiet"))
    for n in range(bound(waits_in, busy_in, service_class) * (2 if lesser_too else 1)):
        busy.submit(LANES[busy_in](f"i{n}", INTERACTIVE, "loud"))
        if lesser_too:
            busy.submit(LANES[busy_in](f"l{n}", service_class, "loud"))
        busy.end_all()
        if "waits" in busy.picks:
            return
    raise AssertionError("it starves")


TOGETHER = 8  # texts that an engine takes at once


@pytest.mark.parametrize("policy", POLICY_NAMES)
@pytest.mark.parametrize("service_class", [STANDARD, BATCH])
@pytest.mark.parametrize("lesser_too", [False, True])
@pytest.mark.parametrize(
    ("waits_in", "busy_in"), [(one, other) for one in LANES for other in ("embed", "score") if one != other]
)
def test_whoever_waits_beside_batches_of_texts_is_owed_for_all_that_goes_with_them(
    waits_in: str, busy_in: str, lesser_too: bool, service_class: ServiceClass, policy: str
) -> None:
    each_s = 10.0
    busy = Busy(policy, replace(FOR_ALL, max_running=TOGETHER, max_batch_texts=TOGETHER), each_s=each_s)

    def submit(name: str, of: ServiceClass) -> None:
        busy.submit(*(LANES[busy_in](f"{name}.{number}", of, "loud") for number in range(TOGETHER)))

    submit("first", INTERACTIVE)
    submit("next", INTERACTIVE)
    busy.submit(LANES[waits_in]("waits", service_class, "quiet"))
    num = bound(waits_in, busy_in, service_class, together=TOGETHER, each_s=each_s)
    for n in range(num * (2 if lesser_too else 1)):
        submit(f"i{n}", INTERACTIVE)
        if lesser_too:
            submit(f"l{n}", service_class)
        busy.end_all()
        if "waits" in busy.picks:
            return
    raise AssertionError("it starves")


@BY_CLASS
@pytest.mark.parametrize("together", [1, 3, 32])
def test_a_class_gets_its_floor_of_tokens_beside_another_lane_however_large_batches_are(
    together: int, policy: str
) -> None:
    busy = Busy(policy, replace(FOR_ALL, max_running=together, max_batch_texts=together), each_s=0.001)
    num = 2_400 // together
    for name, lane, of in (("i", "score", INTERACTIVE), ("b", "embed", BATCH)):
        busy.submit(*(LANES[lane](f"{name}{number}", of, "default") for number in range((num + 1) * together)))
    for _ in range(num):
        busy.end_all()
    costs = {lane: waiting(LANES[lane]("x", BATCH, "x")).cost_tokens for lane in ("embed", "score")}
    num_batch = sum(pick.startswith("b") for pick in busy.picks)
    share = num_batch * costs["embed"] / ((len(busy.picks) - num_batch) * costs["score"])
    assert 0.9 * FLOOR_SHARES[BATCH] <= share <= 1.1 * FLOOR_SHARES[BATCH]
