"""Asks a server of ours, again and again, what it says of itself. Knows no engine; used on the loop's thread."""

import asyncio
import contextlib
from collections.abc import Callable

from cluster.serving.engines.figures import EngineFigures, figures_of
from cluster.serving.engines.openai_upstream import Upstream
from sage.base.errors import SageError

BUSY_S, IDLE_S = 1.0, 5.0


class ServerWatch:
    """Asks every BUSY_S while there is work, else every IDLE_S; what is as it was is not told."""

    def __init__(
        self, upstream: Upstream, is_busy: Callable[[], bool], tell: Callable[[EngineFigures], object]
    ) -> None:
        self._upstream = upstream
        self._is_busy = is_busy
        self._tell = tell
        self._told: EngineFigures | None = None
        self._is_over = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._ask())

    async def end(self) -> None:
        self._is_over.set()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _ask(self) -> None:
        while not self._is_over.is_set():
            try:
                figures = figures_of(await self._upstream.metrics())
            except (SageError, ValueError):  # requests say what is wrong with it; its end is noticed otherwise
                figures = None
            if figures is not None and figures != self._told:
                self._told = figures
                self._tell(figures)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_over.wait(), BUSY_S if self._is_busy() else IDLE_S)
