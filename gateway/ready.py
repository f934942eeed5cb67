"""A link to an engine that also says when the engine is ready, or why it will not be. Knows no engine and no plane."""

import asyncio

from cluster.serving.engines.link import EngineLink, HostLost
from cluster.serving.engines.passed_on import PassedOnLink
from cluster.serving.engines.port import FromHost, Ready, Replies, Seen, StartFailed
from cluster.serving.engines.tokenizer_port import Told


class WatchedLink(PassedOnLink):
    """An EngineLink that passes everything on. `ready` ends when the engine is ready, or with why it is not.

    Used on the thread of the running loop.
    """

    def __init__(self, link: EngineLink, *, is_ready: bool) -> None:
        super().__init__(link)
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if is_ready:
            self.ready.set_result(None)

    def drain(self) -> list[FromHost | HostLost]:
        came = super().drain()
        if not self.ready.done():
            for message in came:
                self._look_at(message)
        return came

    def _look_at(self, message: FromHost | HostLost) -> None:
        if self.ready.done():
            return
        match message:
            case Ready():
                self.ready.set_result(None)
            case StartFailed(failure) | HostLost(failure):
                self.ready.set_exception(failure.error())
            case Replies() | Seen() | Told():
                pass
