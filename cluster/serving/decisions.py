"""What one event brings, until it leaves as commands. Knows nothing of how it was decided."""

from collections.abc import Iterable, Mapping

import msgspec

from cluster.serving.events import AbortAt, Answer, Command, EndEngine, TakeBack
from cluster.serving.ticket import Lane
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failure, Last

_ByEngine = dict[EngineId, list[RequestId]]


class Decisions(msgspec.Struct, eq=False):
    """Answers, aborts, engines to end, dispatches, and the lanes in which something may be possible now."""

    now_s: float
    ended: list[Last] = []
    lanes: dict[Lane, None] = {}
    dispatches: list[Command] = []
    _aborts: _ByEngine | None = None  # made when first needed, as the next two: most events bring none
    _taken_back: _ByEngine | None = None
    _over: dict[EngineId, Failure] | None = None

    def look_at(self, lanes: Iterable[Lane]) -> None:
        """Note lanes in which something may be possible now."""
        self.lanes.update(lanes if type(lanes) is dict else dict.fromkeys(lanes))

    def abort(self, engine_id: EngineId, request_id: RequestId) -> None:
        """Have an engine stop a request."""
        if self._aborts is None:
            self._aborts = {}
        self._aborts.setdefault(engine_id, []).append(request_id)

    def take_back(self, taken_back: Mapping[EngineId, list[RequestId]]) -> None:
        """Have engines give these back, after what is dispatched: that may be among them."""
        if self._taken_back is None:
            self._taken_back = {}
        for engine_id, request_ids in taken_back.items():
            self._taken_back.setdefault(engine_id, []).extend(request_ids)

    def end(self, over: Mapping[EngineId, Failure]) -> None:
        """Have these engines ended."""
        if over:
            self._over = {**(self._over or {}), **over}

    def commands(self) -> list[Command]:
        """Return what is to be done, in order: stop, end engines, begin, take back, answer. To be called once."""
        commands = self.dispatches
        if self._aborts or self._over:
            aborts = [AbortAt(id, tuple(request_ids)) for id, request_ids in (self._aborts or {}).items()]
            ends = [EndEngine(engine_id, failure) for engine_id, failure in (self._over or {}).items()]
            commands = [*aborts, *ends, *commands]
        if self._taken_back:
            commands += [TakeBack(id, tuple(request_ids)) for id, request_ids in self._taken_back.items()]
        if self.ended:
            commands.append(Answer(tuple(self.ended)))
        return commands
