"""The coroutines of a flow on an event loop whose time is a clock of ours: it is turned by hand. Knows no task.

A coroutine that sleeps, or that is bounded by a time-out, goes on once the clock is there. One that waits for the world
outside, a network or a thread, is not waited for.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from heapq import heappop, heappush
from typing import Any, TypeVarTuple, Unpack

from cluster.runtime.call_queue import CallQueue
from cluster.runtime.coroutines import Results, run_call
from operators.machine import Call, CallResult
from sage.base.clock import Clock

Ts = TypeVarTuple("Ts")


class VirtualLoop(asyncio.SelectorEventLoop):
    """Tells the time of a clock; `turn` does what is ready, and never waits."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._num_ready = 0
        self._dues: list[tuple[float, int, asyncio.TimerHandle]] = []
        super().__init__()

    def time(self) -> float:
        return self._clock.monotonic_s()

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self._num_ready += 1
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = super().call_at(when, callback, *args, context=context)
        heappush(self._dues, (when, len(self._dues), handle))
        return handle

    def next_s(self) -> float | None:
        """Return when something is due next."""
        while self._dues and self._dues[0][2].cancelled():
            heappop(self._dues)
        return self._dues[0][0] if self._dues else None

    def is_ready(self) -> bool:
        """Say whether `turn` would do anything."""
        next_s = self.next_s()
        return self._num_ready > 0 or (next_s is not None and next_s <= self.time())

    def turn(self) -> None:
        """Do what is ready now, once round."""
        self._num_ready = 0
        super().call_soon(self.stop)
        self.run_forever()
        while self._dues and self._dues[0][0] <= self.time():
            heappop(self._dues)  # it was done


class VirtualCoroutines:
    """Runs the calls of tasks on a loop that is made for the first of them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop: VirtualLoop | None = None
        self._running: dict[asyncio.Task[None], str] = {}
        self._owned: dict[str, tuple[CallQueue, Results]] = {}

    @property
    def num_running(self) -> int:
        return len(self._running)

    def start(self, owner: str, calls: Sequence[Call], done: Results) -> None:
        """Begin `calls` at the next turn, or as calls before them end; each ends in one result given to `done`."""
        queue, _ = self._owned.setdefault(owner, (CallQueue(), done))
        self._begin(owner, queue.add(calls))

    def free(self, owner: str, num_permits: int) -> None:
        """Let calls of `owner` have permits of others that failed and are not made again."""
        if owner in self._owned:
            queue, _ = self._owned[owner]
            self._begin(owner, queue.free(num_permits))

    def _begin(self, owner: str, calls: Sequence[Call]) -> None:
        if not calls:
            return
        loop = self._loop = self._loop if self._loop is not None else VirtualLoop(self._clock)
        for call in calls:
            task = loop.create_task(run_call(call, partial(self._ended, owner)))
            self._running[task] = owner
            task.add_done_callback(self._running.pop)

    def _ended(self, owner: str, results: Sequence[CallResult]) -> None:
        queue, done = self._owned[owner]
        for result in results:
            self._begin(owner, queue.ended(is_well=result.error is None))
        done(results)

    def next_s(self) -> float | None:
        return None if self._loop is None else self._loop.next_s()

    def is_ready(self) -> bool:
        return self._loop is not None and self._loop.is_ready()

    def turn(self, _: Any = None) -> None:
        if self._loop is not None:
            self._loop.turn()

    def close(self) -> None:
        """Cancel what still runs, and let it end."""
        loop, self._loop = self._loop, None
        if loop is None:
            return
        for queue, _ in self._owned.values():
            queue.drop()
        for task in self._running:
            task.cancel()
        while loop.is_ready():
            loop.turn()
        loop.close()
        self._owned.clear()  # with the permits of what was cancelled
