"""Runs the user's coroutines for tasks: as a port, and on one event-loop thread. Knows nothing of steps.

asyncio is slow to import; flows without coroutines do without it.
"""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from cluster.runtime.call_queue import CallQueue
from cluster.runtime.stuck import describe_thread
from operators.machine import Call, CallResult

if TYPE_CHECKING:
    import asyncio

Results = Callable[[Sequence[CallResult]], None]
"""Takes results on the loop's thread, without waiting."""


class Coroutines(Protocol):
    """What runs the coroutines of one node's tasks; called on any thread, without waiting but in `close`."""

    def start(self, owner: str, calls: Sequence[Call], done: Results) -> None:
        """Run `calls` as soon as they have permits, in order; each ends in exactly one result, unless its owner is
        cancelled. All results of one owner are given to one `done`.
        """
        ...

    def free(self, owner: str, num_permits: int) -> None:
        """Let other calls have the permits of calls that failed and are not made again."""
        ...

    def cancel(self, owner: str) -> None:
        """Cancel what still runs for `owner`; a result that comes all the same is not wanted any more."""
        ...

    def close(self, timeout_s: float) -> str | None:
        """Cancel everything; return what a coroutine that would not end in time is doing, None where all have."""
        ...


class _Owned:
    """What one owner has here. `came`: the results of this turn of the loop."""

    def __init__(self, owner: str, done: Results) -> None:
        self.owner = owner
        self.done = done
        self.queue = CallQueue()
        self.came: list[CallResult] = []


class ThreadCoroutines:
    """An event loop on a daemon thread of its own, started by the first call."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._running: dict[asyncio.Task[None], str] = {}  # owners; touched on the loop's thread only
        self._owned: dict[str, _Owned] = {}  # likewise

    @property
    def thread(self) -> threading.Thread | None:
        """The loop's thread, once there is one."""
        return self._thread

    def start(self, owner: str, calls: Sequence[Call], done: Results) -> None:
        self._running_loop().call_soon_threadsafe(self._start, owner, calls, done)

    def free(self, owner: str, num_permits: int) -> None:
        self._running_loop().call_soon_threadsafe(self._free, owner, num_permits)

    def cancel(self, owner: str) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._cancel, owner)

    def close(self, timeout_s: float) -> str | None:
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return None
        if thread.is_alive():
            loop.call_soon_threadsafe(self._close)
            thread.join(timeout_s)
        return describe_thread(thread) if thread.is_alive() else None

    def _running_loop(self) -> "asyncio.AbstractEventLoop":
        from cluster.runtime.fine_loop import new_event_loop

        with self._lock:
            if self._loop is None:
                self._loop = new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop

    def _run(self, loop: "asyncio.AbstractEventLoop") -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
            loop.run_until_complete(asyncio.gather(*self._running, return_exceptions=True))
            loop.run_until_complete(loop.shutdown_asyncgens())  # and connections that were closed come to their end
        finally:
            loop.close()

    def _start(self, owner: str, calls: Sequence[Call], done: Results) -> None:
        owned = self._owned.get(owner)
        if owned is None:
            owned = self._owned[owner] = _Owned(owner, done)
        self._begin(owned, owned.queue.add(calls))

    def _free(self, owner: str, num_permits: int) -> None:
        if (owned := self._owned.get(owner)) is not None:
            self._begin(owned, owned.queue.free(num_permits))

    def _begin(self, owned: _Owned, calls: Sequence[Call]) -> None:
        assert self._loop is not None
        for call in calls:
            task = self._loop.create_task(run_call(call, partial(self._ended, owned)))
            self._running[task] = owned.owner
            task.add_done_callback(self._forget)

    def _ended(self, owned: _Owned, results: Sequence[CallResult]) -> None:
        """Begin what has waited for it. What ends in one turn of the loop is given as one: each time the task's thread
        wakes, the loop's waits.
        """
        assert self._loop is not None
        if not owned.came:
            self._loop.call_soon(self._hand_on, owned)
        owned.came.extend(results)
        for result in results:
            self._begin(owned, owned.queue.ended(is_well=result.error is None))

    def _hand_on(self, owned: _Owned) -> None:
        """By a callback for each taker: the loop logs what one raises, and goes on with the others."""
        came, owned.came = owned.came, []
        owned.done(came)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        del self._running[task]

    def _cancel(self, owner: str) -> None:
        if (owned := self._owned.pop(owner, None)) is not None:
            owned.queue.drop()
        for task, of in self._running.items():
            if of == owner:
                task.cancel()

    def _close(self) -> None:
        import asyncio

        for owned in self._owned.values():
            owned.queue.drop()
        for task in self._running:
            task.cancel()
        asyncio.get_running_loop().stop()


async def run_call(call: Call, done: Results) -> None:
    """Await one call and give its outcome to `done`; raises CancelledError where the call is cancelled from outside."""
    import asyncio

    try:
        if call.timeout_s is None:  # to have none took a tenth of what a call takes here
            value = await call.fn(call.value)
        else:
            async with asyncio.timeout(call.timeout_s):
                value = await call.fn(call.value)
    except asyncio.CancelledError:
        current = asyncio.current_task()
        if current is not None and current.cancelling():
            raise
        done([CallResult(call.call_id, None, RuntimeError("the coroutine cancelled itself"))])
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its result
        done([CallResult(call.call_id, None, error)])
    else:
        done([CallResult(call.call_id, value, None)])
