"""Engines of a running cluster, started, ended and scaled by whoever may speak to its head. Knows no engine."""

import msgspec

from cluster.client.line import HeadLine
from cluster.runtime.control_clients import Done
from cluster.runtime.control_engine_log import EngineLog, GetEngineLog, LogMark
from cluster.runtime.control_plane import EndEngines, ScaleEngines, StartEngine
from cluster.serving.engines.spec import EngineSpec
from sage.base.ids import EngineId

_ANSWER_S = 30.0


class EngineAdmin:
    """What each call wants has begun when it returns; `engines()` of the cluster says how far it is."""

    def __init__(self, line: HeadLine) -> None:
        self._line = line

    def start(self, spec: EngineSpec) -> None:
        """Have an engine run from now on; where there is no room, it waits for some. Raises NameTaken, NoEngine."""
        text = msgspec.json.encode(spec).decode()
        self._line.ask(lambda number: StartEngine(number, text), Done, timeout_s=_ANSWER_S)

    def stop(self, name: str) -> None:
        """End an engine, or all replicas of one, at once; what they work on fails. Raises InvalidRequest."""
        self._line.ask(lambda number: EndEngines(number, name, True), Done, timeout_s=_ANSWER_S)

    def drain(self, name: str) -> None:
        """Give an engine nothing more, and end it once it has answered what it works on. Raises InvalidRequest."""
        self._line.ask(lambda number: EndEngines(number, name, False), Done, timeout_s=_ANSWER_S)

    def scale(self, name: str, num_replicas: int) -> None:
        """Have so many replicas of an engine run; those too many are drained. Raises InvalidRequest."""
        self._line.ask(lambda number: ScaleEngines(number, name, num_replicas), Done, timeout_s=_ANSWER_S)

    def log(self, engine_id: EngineId, mark: LogMark | None = None) -> EngineLog:
        """Return what the process of an engine wrote after `mark`, or the newest; on whichever node it runs.

        Raises: InvalidRequest where no such engine runs.
        """
        return self._line.ask(lambda number: GetEngineLog(number, engine_id, mark), EngineLog, timeout_s=_ANSWER_S)
