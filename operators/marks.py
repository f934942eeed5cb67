"""Which keys were touched since the last snapshot. Knows nothing of what is done to them.

Nothing is marked before the first snapshot: a run without checkpoints pays nothing, and loops are generated anew then.
"""

from collections.abc import Callable, Hashable


class Marks:
    """`add(key)` marks a key, once `is_on`; it stays the same function for ever, so that loops may bind it."""

    def __init__(self) -> None:
        self.is_on = False
        self._keys: set[Hashable] = set()
        self.add: Callable[[Hashable], None] = self._keys.add

    def touch(self, key: Hashable) -> None:
        """Mark a key where it may be too early."""
        if self.is_on:
            self._keys.add(key)

    def take(self) -> frozenset[Hashable] | None:
        """Return the keys marked since the last call; None at the first: from then on keys are marked."""
        if not self.is_on:
            self.is_on = True
            return None
        keys = frozenset(self._keys)
        self._keys.clear()
        return keys
