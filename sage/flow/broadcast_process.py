"""Keyed processes that are also told what is meant for all keys: what it says is the same for every instance.

Knows nothing of how they run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, MutableMapping
from typing import Any, Generic, NoReturn, Protocol, TypeVar

from sage.flow.process import KeyedProcess

K = TypeVar("K", bound=Hashable)
N = TypeVar("N", bound=Hashable)
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class BroadcastContext(Protocol):
    """What `on_broadcast` is told of the record at hand: it is of no key."""

    time_s: float | None
    """The event time of the record; None on a stream without event time."""


class BroadcastState(Generic[N, V]):
    """A dict that every instance of the step has alike: `on_broadcast` changes it, and all other methods read it."""

    name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, process: KeyedProcess[Any, Any, Any], owner: type) -> MutableMapping[N, V]:
        found: MutableMapping[N, V] = process._store.shared[self.name]
        return found

    def __set__(self, process: KeyedProcess[Any, Any, Any], value: Any) -> NoReturn:
        do = f"self.{self.name}.clear(), then self.{self.name}.update(...)"
        raise AttributeError(f"the broadcast state {self.name!r} is a dict to be changed in place: {do}")


class BroadcastProcess(KeyedProcess[K, T, U], Generic[K, T, S, U]):
    """What runs on a keyed stream beside a broadcast one: subclass it, as a KeyedProcess that is told more.

    Every instance is told the same, in the same order; so nothing goes on from there, and it does not matter how many
    instances there are.
    """

    @abstractmethod
    def on_broadcast(self, record: S, context: BroadcastContext) -> None:
        """Take a record of the broadcast stream: change broadcast states. There is no key, nor any state of one."""


def shared_names(process: KeyedProcess[Any, Any, Any]) -> list[str]:
    """Return the names of the broadcast states of `process`."""
    return sorted(
        {
            name
            for cls in type(process).__mro__
            for name, state in vars(cls).items()
            if isinstance(state, BroadcastState)
        }
    )
