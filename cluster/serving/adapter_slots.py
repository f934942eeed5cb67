"""Which adapters (LoRA) an engine has ready, as far as is known: those that it was given last. Pure; knows no queue.

An engine has few slots for adapters. One that is asked for and is in none is loaded, in place of the one used longest
ago that nobody is being answered by (as vLLM does); while all are at work, what asks for another waits.
"""

from collections.abc import Iterator


class AdapterSlots:
    """The adapters in the slots of one engine; O(1) each.

    `work`: of each the work that was given since it was loaded, as whoever takes it counts it.
    """

    def __init__(self, num_slots: float) -> None:
        """`num_slots`: at least 1; infinite where each that was loaded stays."""
        self._num_slots = num_slots
        self._at_work: dict[str, int] = {}  # requests of each that is at work
        self._idle: dict[str, None] = {}  # the one used longest ago first
        self.work: dict[str, float] = {}
        self.num_loads = 0
        self.closed: str | None = None
        self.version = 0
        """Another whenever others may be taken without being loaded."""

    def __contains__(self, adapter: str) -> bool:
        return adapter in self.work

    def __iter__(self) -> Iterator[str]:
        return iter(self.work)

    @property
    def can_load(self) -> bool:
        """Say whether a slot is empty, or holds what nobody is being answered by."""
        return len(self._at_work) < self._num_slots

    @property
    def next_out(self) -> str | None:
        """The adapter that would leave its slot for another; None where a slot is empty, or all are at work."""
        return next(iter(self._idle), None) if len(self.work) >= self._num_slots else None

    def has_room(self, adapter: str) -> bool:
        """Say whether a request of `adapter` may be taken now."""
        return adapter != self.closed if adapter in self.work else self.can_load

    def close(self, adapter: str) -> None:
        """Take nothing more of `adapter`, which is at work, until it is not: its slot is for another then."""
        assert adapter in self._at_work, adapter
        self.closed = adapter
        self.version += 1

    def at_work(self, adapter: str) -> int:
        """Return how many requests are being answered by it."""
        return self._at_work.get(adapter, 0)

    def take(self, adapter: str, work: float = 0.0) -> bool:
        """Begin with a request of `adapter`, which is in a slot or can be loaded; say whether it has to be."""
        is_loaded = adapter not in self.work
        if is_loaded:
            assert self.can_load, "a slot is free for it"
            if (out := self.next_out) is not None:
                del self._idle[out], self.work[out]
            self.num_loads += 1
            self.version += 1
        self._idle.pop(adapter, None)
        self._at_work[adapter] = self._at_work.get(adapter, 0) + 1
        self.work[adapter] = self.work.get(adapter, 0.0) + work
        return is_loaded

    def drop(self, adapter: str) -> None:
        """End a request of `adapter`; once none is left it may leave its slot."""
        self._at_work[adapter] -= 1
        if not self._at_work[adapter]:
            del self._at_work[adapter]
            self._idle[adapter] = None
            if adapter == self.closed:
                self.closed = None
                self.version += 1

    def check(self) -> None:
        """Assert what always holds; for tests."""
        assert len(self.work) <= self._num_slots, "no more are ready than there are slots"
        assert self.work.keys() == self._at_work.keys() | self._idle.keys(), "each is at work or idle"
        assert not self._at_work.keys() & self._idle.keys(), "and not both"
        assert all(num > 0 for num in self._at_work.values())
