"""A mapping that forgets what was not used for long, in halves. Knows nothing of what it maps."""

from collections.abc import Iterable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Keeps at least the `num_kept` entries used last, and at most twice as many. O(1), without links between entries.

    Two dicts: what is used moves to the young one; once that is full, it becomes the old one, and the old is dropped.
    """

    def __init__(self, num_kept: int) -> None:
        assert num_kept >= 1, num_kept
        self._num_kept = num_kept
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: K) -> V | None:
        """Return what `key` maps to, and count it as used; None where it is not known (any more)."""
        found = self._young.get(key)
        if found is None and (found := self._old.get(key)) is not None:
            self.put(key, found)
        return found

    def leading(self, keys: Iterable[K]) -> list[V]:
        """Return what the first of these keys map to, up to the first that is not known; all of them count as used."""
        young = self._young.get
        found: list[V] = []
        for key in keys:
            value = young(key)
            if value is None:
                if (value := self._old.get(key)) is None:
                    break
                self.put(key, value)
                young = self._young.get
            found.append(value)
        return found

    def put(self, key: K, value: V) -> None:
        if len(self._young) >= self._num_kept and key not in self._young:
            self._old, self._young = self._young, {}
        self._old.pop(key, None)
        self._young[key] = value
