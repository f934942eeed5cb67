"""A link to an engine that also says when the engine is ready, or why it will not be. Knows no engine and no plane."""

import asyncio

from cluster.runtime.control_engine_log import EngineLog, LogMark
from cluster.serving.engines.link import EngineLink, HostLost
from cluster.serving.engines.port import FromHost, Ready, Replies, Seen, StartFailed, ToHost
from sage.base.ids import EngineId


class WatchedLink:
    """An EngineLink that passes everything on. `ready` ends when the engine is ready, or with why it is not.

    Used on the thread of the running loop.
    """

    def __init__(self, link: EngineLink, *, is_ready: bool) -> None:
        self.engine_id: EngineId = link.engine_id
        self.models: tuple[str, ...] = link.models
        self.is_asked = link.is_asked
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link = link
        if is_ready:
            self.ready.set_result(None)

    def fds(self) -> tuple[int, ...]:
        return self._link.fds()

    def send(self, message: ToHost) -> bool:
        return self._link.send(message)

    def drain(self) -> list[FromHost | HostLost]:
        came = self._link.drain()
        if not self.ready.done():
            for message in came:
                self._look_at(message)
        return came

    def ask(self) -> None:
        self._link.ask()

    def log(self, mark: LogMark | None) -> EngineLog:
        return self._link.log(mark)

    def close(self, timeout_s: float) -> None:
        self._link.close(timeout_s)

    def _look_at(self, message: FromHost | HostLost) -> None:
        if self.ready.done():
            return
        match message:
            case Ready():
                self.ready.set_result(None)
            case StartFailed(failure) | HostLost(failure):
                self.ready.set_exception(failure.error())
            case Replies() | Seen():
                pass
