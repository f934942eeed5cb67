"""Engine hosts that pass from plane to plane: started once, and what each says of itself is noted on its way.

Knows no plane's decisions.
"""

import asyncio
from collections.abc import Sequence

from cluster.serving.driver import HeldLink
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.launch import HostLink
from cluster.serving.engines.link import EngineLink, HostLost
from cluster.serving.engines.passed_on import PassedOnLink
from cluster.serving.engines.port import FromHost, Ready, Seen, StartFailed
from sage.base.errors import EngineStartFailed

_LOOK_EVERY_S = 0.05
_REST_S = 7.0
"""What a server says of itself is read every 5 s while it has nothing to do."""


class SeenLink(PassedOnLink):
    """An EngineLink around another one, which it owns. `figures`: what the engine said last, None before."""

    def __init__(self, link: HostLink) -> None:
        super().__init__(link)
        self.figures: EngineFigures | None = None

    def drain(self) -> list[FromHost | HostLost]:
        came = super().drain()
        for message in came:
            if isinstance(message, Seen) and isinstance(message.said, EngineFigures):
                self.figures = message.said
        return came

    async def at_rest(self) -> EngineFigures | None:
        """Return what it says once nothing runs in it, used while no plane has it; None of one that says nothing.

        Raises: what ended it.
        """
        if self.figures is None:
            return None
        async with asyncio.timeout(_REST_S):
            while self.figures.num_running or self.figures.num_waiting:
                await _heard_of([self])
                for message in self.drain():
                    if isinstance(message, HostLost | StartFailed):
                        raise message.failure.error()
        return self.figures


async def all_ready(links: list[HeldLink], within_s: float) -> list[HeldLink]:
    """Return the links with what their engines say of themselves, once all are ready; raises what one says that
    cannot start, EngineStartFailed."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + within_s
    while waiting := [held for held in links if held.info is None]:
        for held in waiting:
            for message in held.link.drain():
                if isinstance(message, Ready):
                    held.info = message.info
                elif isinstance(message, HostLost | StartFailed):
                    raise message.failure.error()
        if loop.time() > until_s:
            raise EngineStartFailed(f"{waiting[0].link.engine_id} was not ready within {within_s:g} s")
        await _heard_of([held.link for held in waiting])
    return links


async def _heard_of(links: Sequence[EngineLink]) -> None:
    """Wait until something has come from one of them, or for a moment: what came with it is told by `drain` alone."""
    loop, came = asyncio.get_running_loop(), asyncio.Event()
    fds = [fd for link in links for fd in link.fds()]
    for fd in fds:
        loop.add_reader(fd, came.set)
    try:
        async with asyncio.timeout(_LOOK_EVERY_S):
            await came.wait()
    except TimeoutError:
        pass
    finally:
        for fd in fds:
            loop.remove_reader(fd)
