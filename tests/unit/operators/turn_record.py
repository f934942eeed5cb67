"""Chat requests by hand, and a `ChatTurns` that keeps what it is told. Knows no test."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from operators.context import Context
from operators.index import IndexStore
from operators.machine import Machine
from operators.registry import machine_for
from operators.turns import TurnReader
from sage.base.errors import SageError
from sage.base.ids import JobId, RequestId, TaskId
from sage.base.inference import ServiceClass, Usage
from sage.base.turns import Place, Reason, Turn, TurnRecord
from sage.flow.chat import ChatSource
from sage.flow.graph import Step, TurnRole
from tests.unit.operators.arrange import chain


class RecordedTurns:
    """A ChatTurns whose every call stands in `said`."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []
        self.asked: dict[RequestId, str] = {}
        self.used: list[Usage | None] = []
        self.gone: set[RequestId] = set()
        self.seconds_left: float | None = None

    def reader(self, step: str, source: ChatSource) -> TurnReader:
        raise AssertionError("no chain of these tests reads")

    def is_open(self, turn: Turn) -> bool:
        return turn.id not in self.gone

    def left_s(self, turn: Turn) -> float | None:
        return self.seconds_left

    def asks(self, turn: Turn, request_id: RequestId) -> None:
        self.asked[request_id] = turn.id

    def answered(self, turn: Turn, request_id: RequestId, usage: Usage | None) -> None:
        del self.asked[request_id]
        self.used.append(usage)

    def say(self, record: TurnRecord, speaker: str, text: str) -> None:
        self.said.append((record.turn.id, speaker, text))

    def end(self, record: TurnRecord, speaker: str, reason: Reason) -> None:
        self.said.append((record.turn.id, speaker, reason, record.place.share))

    def leave(self, record: TurnRecord, num_ways: int) -> None:
        self.said.append((record.turn.id, "left", num_ways * record.place.share))

    def fail(self, turn: Turn, error: SageError) -> None:
        self.said.append((turn.id, error.code, error.what))


def turn(name: str, *, max_tokens: int | None = None, stop: tuple[str, ...] = ()) -> Turn:
    return Turn(RequestId(name), ServiceClass.INTERACTIVE, "acme", None, max_tokens, stop)


def record(value: Any, name: str = "t", place: Place = Place(), **bounds: Any) -> TurnRecord:  # noqa: B008 - a value
    return TurnRecord(turn(name, **bounds), value, place)


def on_way(
    *steps: Step, turns: RecordedTurns, role: TurnRole = TurnRole.ON_WAY, indexes: IndexStore | None = None
) -> Machine:
    marked: Sequence[Step] = [replace(step, turns=role) for step in steps]
    context = Context(TaskId("task"), Random(1), indexes or IndexStore(), job_id=JobId("j"), turns=turns)
    return machine_for(chain(*marked), context)
