"""Whoever waits is served within a bound, whatever else comes; simulated: one engine that works on one at a time."""

import pytest

from cluster.serving.engines.port import EngineInfo
from cluster.serving.events import Dispatch, EngineEnded, EngineUp, Event, Submitted
from cluster.serving.plane import Plane
from cluster.serving.policy import POLICY_NAMES
from sage.base.ids import RequestId
from sage.base.inference import GenerateRequest, Request, Sampling, ServiceClass
from tests.unit.serving.arrange import (
    BATCH,
    INTERACTIVE,
    chat,
    chat_engine,
    embed,
    embed_engine,
    embedded,
    finished,
)


class Busy:
    """A plane whose engines always have something to do, and what it picked."""

    def __init__(self, policy: str, *infos: EngineInfo) -> None:
        self.plane = Plane(("chat", "embed"), policy=policy)
        self.now_s = 100.0
        self.picks: list[str] = []
        self._running: list[tuple[EngineInfo, str]] = []
        self._infos = {info.engine_id: info for info in infos}
        for info in infos:
            self._handle(EngineUp(info))

    def submit(self, *requests: Request) -> None:
        self._handle(Submitted(requests))

    def end_all(self) -> None:
        self.now_s += 0.1
        ended, self._running = self._running, []
        for info, id in ended:
            last = embedded(id, info.engine_id) if info.models[0].dim else finished(id, info.engine_id)
            self._handle(EngineEnded(info.engine_id, (last,)))

    def _handle(self, event: Event) -> None:
        for command in self.plane.handle(event, self.now_s):
            if isinstance(command, Dispatch):
                for request in command.requests:
                    self.picks.append(request.id)
                    self._running.append((self._infos[command.engine_id], request.id))


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
