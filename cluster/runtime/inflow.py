"""Things that come from other threads, gathered so that the actor gets one message however many came."""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Inflow(Generic[T]):
    """Filled by any thread, emptied by one. Its bound is that of what was asked for: replies to requests in flight."""

    def __init__(self, notify: Callable[[], object]) -> None:
        """`notify` is called when something came after the last `take`; on the filling thread, without waiting."""
        self._notify = notify
        self._lock = threading.Lock()
        self._items: list[T] = []

    def put(self, items: Sequence[T]) -> None:
        with self._lock:
            is_first = not self._items
            self._items.extend(items)
        if is_first and items:
            self._notify()

    def take(self) -> list[T]:
        """Return everything that came, in order."""
        with self._lock:
            items, self._items = self._items, []
        return items
