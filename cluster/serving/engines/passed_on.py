"""A link to an engine host around another one, to which it passes everything on. Knows no engine and no plane."""

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.serving.engines.link import EngineLink, HostLost
from cluster.serving.engines.port import FromHost, ToHost
from sage.base.ids import EngineId


class PassedOnLink:
    """An EngineLink that owns another one: for those that look at what comes."""

    def __init__(self, link: EngineLink) -> None:
        self.engine_id: EngineId = link.engine_id
        self.models: tuple[str, ...] = link.models
        self.is_asked = link.is_asked
        self._link = link

    def fds(self) -> tuple[int, ...]:
        return self._link.fds()

    def send(self, message: ToHost) -> bool:
        return self._link.send(message)

    def drain(self) -> list[FromHost | HostLost]:
        return self._link.drain()

    def ask(self) -> None:
        self._link.ask()

    def log(self, mark: LogMark | None) -> EngineLog:
        return self._link.log(mark)

    def close(self, timeout_s: float) -> None:
        self._link.close(timeout_s)
