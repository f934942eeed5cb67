"""Runs the user's coroutines in virtual time. Knows no event loop: what such a coroutine may await is a Pause."""

from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from cluster.runtime.call_queue import CallQueue
from cluster.runtime.coroutines import Results
from operators.machine import Call, CallResult

Later = Callable[[float, Callable[[], object]], None]
"""Has something happen so many seconds from now."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Awaited, lets `for_s` seconds of virtual time pass."""

    for_s: float

    def __await__(self) -> Generator[float, None, None]:
        yield self.for_s


@dataclass(slots=True, eq=False)
class _Running:
    owner: str
    call_id: int
    coroutine: Coroutine[float, None, Any]


class SimulatedCoroutines:
    """Coroutines that run side by side; each goes on when its pause is over."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._running: dict[_Running, None] = {}
        self._owned: dict[str, tuple[CallQueue, Results]] = {}

    def owners(self) -> set[str]:
        """Return whose coroutines have not ended."""
        return {running.owner for running in self._running}

    def start(self, owner: str, calls: Sequence[Call], done: Results) -> None:
        queue, _ = self._owned.setdefault(owner, (CallQueue(), done))
        self._begin(owner, queue.add(calls))

    def free(self, owner: str, num_permits: int) -> None:
        if owner in self._owned:
            self._begin(owner, self._owned[owner][0].free(num_permits))

    def _begin(self, owner: str, calls: Sequence[Call]) -> None:
        for call in calls:
            coroutine = cast("Coroutine[float, None, Any]", call.fn(call.value))
            running = _Running(owner, call.call_id, coroutine)
            self._running[running] = None
            self._later(0.0, partial(self._go_on, running))
            if call.timeout_s is not None:
                self._later(call.timeout_s, partial(self._end, running, None, TimeoutError()))

    def cancel(self, owner: str) -> None:
        self._owned.pop(owner, None)
        for running in [running for running in self._running if running.owner == owner]:
            self._forget(running)

    def close(self, timeout_s: float) -> str | None:
        self._owned.clear()
        for running in list(self._running):
            self._forget(running)
        return None

    def _go_on(self, running: _Running) -> None:
        if running not in self._running:
            return
        try:
            for_s = running.coroutine.send(None)
        except StopIteration as stop:
            self._end(running, stop.value, None)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is its result
            self._end(running, None, error)
        else:
            self._later(for_s, lambda: self._go_on(running))

    def _end(self, running: _Running, value: Any, error: BaseException | None) -> None:
        if running in self._running:
            self._forget(running)
            queue, done = self._owned[running.owner]
            self._begin(running.owner, queue.ended(is_well=error is None))
            done([CallResult(running.call_id, value, error)])

    def _forget(self, running: _Running) -> None:
        del self._running[running]
        running.coroutine.close()
