"""Threads that embed micro-batches, one at a time each, at the usual priority or in time that nobody else wants.

Knows no request and no gate. An encoder belongs to a slot; a slot has a thread of each kind, since a thread that became
meek may not go back: only the superuser could.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

_CLOSE_S = 2.0
T = TypeVar("T")


class RowEncoder(Protocol):
    """What turns rows of tokens into vectors, on the thread that calls it; `rest` is called wherever it may rest."""

    def vectors(self, rows: Sequence[list[int]], rest: Callable[[], None] | None = None) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True, eq=False)
class _Work(Generic[T]):
    tag: T
    rows: Sequence[list[int]]
    rest: Callable[[], None] | None


class _Slot(Generic[T]):
    def __init__(self, encoder: RowEncoder, done: Callable[["_Done[T]"], None], *, name: str) -> None:
        self.encoder = encoder
        self.is_busy = False
        self._done = done
        self.orders: dict[bool, SimpleQueue[_Work[T] | None]] = {False: SimpleQueue(), True: SimpleQueue()}
        self.threads = [
            threading.Thread(target=self._run, args=(is_meek,), name=f"{name}{'-meek' * is_meek}", daemon=True)
            for is_meek in (False, True)
        ]
        for thread in self.threads:
            thread.start()

    def _run(self, is_meek: bool) -> None:
        if is_meek:
            become_meek()
        while (work := self.orders[is_meek].get()) is not None:
            try:
                outcome: NDArray[np.float32] | Exception = self.encoder.vectors(work.rows, work.rest).copy()
            except Exception as error:  # noqa: BLE001 - a library's own: raised where it is taken
                outcome = error
            self._done(_Done(self, work, outcome))


@dataclass(frozen=True, slots=True, eq=False)
class _Done(Generic[T]):
    slot: _Slot[T]
    work: _Work[T]
    outcome: NDArray[np.float32] | Exception


class EmbedWorkers(Generic[T]):
    """Slots that work side by side; `wake_fd` is readable when something is done. Used by one thread; to be closed."""

    def __init__(self, make: Callable[[], RowEncoder], num_slots: int, *, is_meek: bool = False) -> None:
        """Make an encoder for each slot, side by side; `is_meek`: in time that nobody else wants."""
        self._read_fd, self._write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._done: SimpleQueue[_Done[T]] = SimpleQueue()
        with ThreadPoolExecutor(num_slots, initializer=become_meek if is_meek else None) as makers:
            encoders = [made.result() for made in [makers.submit(make) for _ in range(num_slots)]]
        self._slots = [_Slot(made, self._came, name=f"embed-{number}") for number, made in enumerate(encoders)]

    @property
    def wake_fd(self) -> int:
        return self._read_fd

    def num_busy(self) -> int:
        return sum(slot.is_busy for slot in self._slots)

    def num_free(self) -> int:
        return len(self._slots) - self.num_busy()

    def give(self, tag: T, rows: Sequence[list[int]], *, is_meek: bool, rest: Callable[[], None] | None = None) -> None:
        """Have a free slot embed `rows` of tokens; there must be one. `tag` comes back with what is done.

        `rest`: called by the slot's thread wherever the encoder may rest; it may wait.
        """
        slot = next(slot for slot in self._slots if not slot.is_busy)
        slot.is_busy = True
        slot.orders[is_meek].put(_Work(tag, rows, rest))

    def take_done(self) -> list[tuple[T, NDArray[np.float32]]]:
        """Return what is done: its tag, and float32 [num_rows, dim]; raises what a library raised."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read_fd, 4096):
                pass
        taken = []
        while not self._done.empty():
            done = self._done.get()
            done.slot.is_busy = False
            if isinstance(done.outcome, Exception):
                raise done.outcome
            taken.append((done.work.tag, done.outcome))
        return taken

    def close(self) -> None:
        """End the threads; one amid a micro-batch ends after it, or with the process."""
        for slot in self._slots:
            for orders in slot.orders.values():
                orders.put(None)
        for slot in self._slots:
            for thread in slot.threads:
                thread.join(_CLOSE_S)
        if not any(thread.is_alive() for slot in self._slots for thread in slot.threads):
            os.close(self._read_fd)
            os.close(self._write_fd)

    def _came(self, done: _Done[T]) -> None:
        self._done.put(done)
        with contextlib.suppress(BlockingIOError):  # full of wake-ups already
            os.write(self._write_fd, b"\0")


def become_meek() -> None:
    """Let this thread run only when no other wants its core, where the system can."""
    if hasattr(os, "SCHED_IDLE"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
