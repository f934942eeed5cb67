"""An event loop whose timers are as exact as the kernel's, not rounded up to a millisecond. Knows nothing of its users.

`epoll_wait` counts in milliseconds, and asyncio rounds up: a call of 10 ms takes 10.5 on the average. `select` counts
in microseconds, and an epoll descriptor can be waited for like any other.
"""

import asyncio
import select
import selectors
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selectors import SelectorKey

MAX_FINE_S = 0.1
"""Beyond it a millisecond more does not matter."""

_MAX_SELECT_FD = 1023


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new loop; one of asyncio's own where the system has no epoll."""
    return asyncio.SelectorEventLoop(FineSelector()) if hasattr(select, "epoll") else asyncio.new_event_loop()


if hasattr(select, "epoll"):

    class FineSelector(selectors.EpollSelector):
        """Waits for descriptors by epoll, and no longer than it was told."""

        def select(self, timeout: float | None = None) -> "list[tuple[SelectorKey, int]]":
            if timeout is None or not 0 < timeout < MAX_FINE_S or self.fileno() > _MAX_SELECT_FD:
                return super().select(timeout)
            try:
                select.select([self.fileno()], (), (), timeout)
            except InterruptedError:
                return []
            return super().select(0)
