"""What one event brings, until it leaves as commands. Knows nothing of how it was decided."""

from cluster.serving.events import AbortAt, Answer, Command, EndEngine, TakeBack
from cluster.serving.ticket import Lane
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failure, Last


class Decisions:
    """Answers, aborts, engines to end, dispatches, and the lanes in which something may be possible now."""

    __slots__ = ("aborts", "dispatches", "ended", "lanes", "now_s", "over", "taken_back")

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self.ended: list[Last] = []
        self.aborts: dict[EngineId, list[RequestId]] = {}
        self.taken_back: dict[EngineId, list[RequestId]] = {}
        self.over: dict[EngineId, Failure] = {}
        self.lanes: dict[Lane, None] = {}
        self.dispatches: list[Command] = []

    def take_back(self, taken_back: dict[EngineId, list[RequestId]]) -> None:
        """Have engines give these back, after what is dispatched: that may be among them."""
        for engine_id, request_ids in taken_back.items():
            self.taken_back.setdefault(engine_id, []).extend(request_ids)

    def commands(self) -> list[Command]:
        """Return what is to be done, in order: stop, end engines, begin, take back, answer. To be called once."""
        commands = self.dispatches
        if self.aborts or self.over:
            aborts = [AbortAt(id, tuple(request_ids)) for id, request_ids in self.aborts.items()]
            ends = [EndEngine(engine_id, failure) for engine_id, failure in self.over.items()]
            commands = [*aborts, *ends, *commands]
        if self.taken_back:
            commands += [TakeBack(id, tuple(request_ids)) for id, request_ids in self.taken_back.items()]
        if self.ended:
            commands.append(Answer(tuple(self.ended)))
        return commands
