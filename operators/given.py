"""How far an instance was with windows that it gave key by key, when that was saved. Knows no window but its number."""

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

from operators.partition import instance_of, place_of_key


class Given(NamedTuple):
    """Of one instance of `num_instances`.

    `last`: the last window that it had given; `begun`: the one after it, and up to which place that was given.
    """

    instance: int
    num_instances: int
    last: int | None
    begun: int | None
    place: bytes

    def includes(self, window: int, key: Hashable) -> bool:
        """Say whether it has given a key's result."""
        if instance_of(key, self.num_instances) != self.instance:
            return False
        if self.last is not None and window <= self.last:
            return True
        return window == self.begun and place_of_key(key) <= self.place

    @property
    def newest(self) -> int | None:
        """The newest window of which it has given anything."""
        return self.last if self.begun is None else self.begun


def given_from(heard: Iterable[Any]) -> list[Given]:
    """Return what was heard of instances that give key by key, each once; numbers are of others, which give all."""
    return list(dict.fromkeys(Given(*each) for each in heard if not isinstance(each, int)))
