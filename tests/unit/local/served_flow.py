"""A flow in virtual time whose requests go to the real control plane, over simulated engines. Knows no test."""

from collections.abc import Sequence
from typing import Any

from cluster.local.rehearsal import RehearsedFlow
from cluster.serving.engines.cost import CostModel
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.events import (
    AbortAt,
    Answer,
    Cancelled,
    Command,
    Dispatch,
    EngineEnded,
    EngineUp,
    Event,
    FirstTokens,
    Submitted,
    TakeBack,
    TimePassed,
    WakeAt,
)
from cluster.serving.plane import Plane
from sage.base.ids import EngineId, RequestId, TaskId
from sage.base.inference import Last, Reply, Request, Token
from sage.flow.graph import Graph, models_of


class ServedFlow(RehearsedFlow):
    """A rehearsal that asks engines; `asked` are all requests that came to the plane."""

    def __init__(self, graph: Graph, plane: Plane, costs: CostModel, *, num_engines: int = 1, seed: int = 0) -> None:
        self.asked: list[Request] = []
        self._plane = plane
        self._task_of: dict[RequestId, TaskId] = {}
        self._engines: dict[EngineId, SimulatedEngine] = {}
        self._begun_ids: set[RequestId] = set()
        self._wake_s: float | None = None
        models = {use.model: _no_stand_in for use in models_of(graph)}
        super().__init__(graph, seed=seed, models=models, checkpoints=False, batch_records=64)
        for model in models:
            for number in range(num_engines):
                engine = SimulatedEngine(EngineId(f"{model}-{number}"), model, costs, self._clock)
                self._engines[engine.info().engine_id] = engine
                self._happens(EngineUp(engine.info()))

    def ask(self, task_id: TaskId, requests: Sequence[Request]) -> None:
        self.asked += requests
        self._task_of.update((request.id, task_id) for request in requests)
        self._happens(Submitted(tuple(requests)))

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        self._happens(Cancelled(tuple(request_ids)))

    def _next_s(self) -> float | None:
        dues = [engine.due_in_s() for engine in self._engines.values()]
        found = [super()._next_s(), self._wake_s, *(self.now_s + due_s for due_s in dues if due_s is not None)]
        return min((due_s for due_s in found if due_s is not None), default=None)

    def _go_to(self, due_s: float) -> None:
        self._clock.now_s = max(self.now_s, due_s)
        if self._wake_s is not None and self._wake_s <= self.now_s:
            self._wake_s = None
            self._happens(TimePassed())
        for engine_id, engine in self._engines.items():
            if engine.due_in_s() == 0.0 and (replies := engine.step()):
                self._said(engine_id, replies)
        super()._go_to(due_s)

    def _said(self, engine_id: EngineId, replies: Sequence[Reply]) -> None:
        first = [reply.request_id for reply in replies if isinstance(reply, Token)]
        if new := tuple(dict.fromkeys(id for id in first if id not in self._begun_ids)):
            self._begun_ids.update(new)
            self._happens(FirstTokens(engine_id, new))
        for reply in replies:
            if isinstance(reply, Token) and reply.request_id in self._task_of:
                self._tasks.reply(self._task_of[reply.request_id], [reply])
        if lasts := tuple(reply for reply in replies if not isinstance(reply, Token)):
            self._happens(EngineEnded(engine_id, lasts))

    def _happens(self, event: Event) -> None:
        for command in self._plane.handle(event, self.now_s):
            self._obey(command)

    def _obey(self, command: Command) -> None:
        match command:
            case Dispatch(engine_id, requests):
                self._engines[engine_id].add(requests)
            case AbortAt(engine_id, request_ids) | TakeBack(engine_id, request_ids):
                self._engines[engine_id].cancel(request_ids)
            case Answer(ended):
                self._answered(ended)
            case WakeAt(at_s):
                self._wake_s = at_s
            case _:
                raise AssertionError(f"no engine of this test ends: {command}")

    def _answered(self, ended: Sequence[Last]) -> None:
        for last in ended:
            self._tasks.reply(self._task_of.pop(last.request_id), [last])


def _no_stand_in(text: str) -> Any:
    raise AssertionError(f"engines are asked, and no function: {text}")
