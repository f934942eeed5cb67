"""Keyed processes as users write them: functions over records and timers, with state for each key.

Knows nothing of how they run; whoever runs one says which key's state it sees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from copy import deepcopy
from typing import Any, Generic, Protocol, TypeVar

from sage.base.errors import FlowInvalid
from sage.flow.check_numbers import above_zero

K = TypeVar("K", bound=Hashable)
S = TypeVar("S")
T = TypeVar("T")
U = TypeVar("U")
V = TypeVar("V")


class ProcessContext(Protocol[K]):
    """What a process is told of the record or timer at hand, and what it may ask for. Not to be kept."""

    key: K
    time_s: float | None
    """The event time of the record, or of the timer; None on a stream without event time."""

    @property
    def watermark_s(self) -> float:
        """No record that comes is to be expected before this event time."""
        ...

    def set_timer(self, time_s: float) -> None:
        """Call `on_timer(time_s, ...)` for this key once the watermark is there; a key has each time once.

        At the end of the stream every timer fires; those that are set then do not.
        """
        ...

    def drop_timer(self, time_s: float) -> None: ...

    def set_alarm(self, after_s: float) -> None:
        """Call `on_alarm` for this key `after_s` seconds of the clock from now, unless the stream ends before.

        A second alarm replaces the first. After a restart the time counts anew.
        """
        ...

    def drop_alarm(self) -> None: ...

    def aside(self, tag: str, record: Any) -> None:
        """Put `record` to the side of `tag`, which `process(..., sides=[tag])` names."""
        ...


class Store:
    """Where the states of one process find the values of the key at hand."""

    def __init__(self) -> None:
        self.current: dict[str, Any] = {}
        self.shared: Mapping[str, Any] = {}

    def written(self, name: str, ttl_s: float) -> None:
        """Called when a state that expires was written or handed out to be changed."""

    def look_at(self, name: str) -> None:
        """Called before a state that expires is read: what the record at hand is too late for is forgotten."""

    def forgotten(self) -> None:
        """Called when something of the key at hand was forgotten: perhaps it was the last."""


class KeyedProcess(ABC, Generic[K, T, U]):
    """What `KeyedStream.process` runs: subclass it, and declare states as class attributes.

    Each key has values of its own. A method returns, or yields, what goes on; None is nothing.
    """

    _store: Store

    @abstractmethod
    def on_record(self, record: T, context: ProcessContext[K]) -> Iterable[U] | None:
        """Take a record."""

    def on_timer(self, time_s: float, context: ProcessContext[K]) -> Iterable[U] | None:
        """The watermark has reached a time that was set."""
        return None

    def on_alarm(self, context: ProcessContext[K]) -> Iterable[U] | None:
        """The time of the clock that was set is over."""
        return None


class CoProcess(KeyedProcess[K, tuple[int, T | S], U], Generic[K, T, S, U]):
    """What runs on two connected streams: subclass it, as a KeyedProcess with a method for either stream."""

    @abstractmethod
    def on_first(self, record: T, context: ProcessContext[K]) -> Iterable[U] | None:
        """Take a record of the stream that `connect` was called on."""

    @abstractmethod
    def on_second(self, record: S, context: ProcessContext[K]) -> Iterable[U] | None:
        """Take a record of the other stream."""

    def on_record(self, record: tuple[int, Any], context: ProcessContext[K]) -> Iterable[U] | None:
        """Give it to the method of its stream."""
        number, value = record
        return self.on_second(value, context) if number else self.on_first(value, context)


class _State:
    """A value a key, under the name of the class attribute. `ttl_s`: how long after it was last written it is kept."""

    def __init__(self, ttl_s: float | None) -> None:
        for fault in above_zero(ttl_s=ttl_s):
            raise FlowInvalid(fault.what, fault.do, param=fault.param)
        self.ttl_s = ttl_s
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def _values(self, process: KeyedProcess[Any, Any, Any]) -> dict[str, Any]:
        if self.ttl_s is not None:
            process._store.look_at(self.name)
        return process._store.current

    def _keep(self, process: KeyedProcess[Any, Any, Any], value: Any) -> None:
        process._store.current[self.name] = value
        if self.ttl_s is not None:
            process._store.written(self.name, self.ttl_s)

    def __delete__(self, process: KeyedProcess[Any, Any, Any]) -> None:
        process._store.current.pop(self.name, None)
        process._store.forgotten()


class ValueState(_State, Generic[V]):
    """One value a key: read and assigned like an attribute, `default` before; `del` forgets it.

    Of a default that can be changed in place, as a list, each key has a copy of its own from its first look on.
    """

    def __init__(self, default: V, *, ttl_s: float | None = None) -> None:
        super().__init__(ttl_s)
        self._default = default
        self._is_copied = isinstance(default, list | dict | set | bytearray)

    def __get__(self, process: KeyedProcess[Any, Any, Any], owner: type) -> V:
        values = self._values(process)
        if self._is_copied and self.name not in values:
            self._keep(process, deepcopy(self._default))
        found: V = values.get(self.name, self._default)
        return found

    def __set__(self, process: KeyedProcess[Any, Any, Any], value: V) -> None:
        self._keep(process, value)


class ListState(_State, Generic[V]):
    """A list a key, to be changed in place; `del` forgets it."""

    def __init__(self, *, ttl_s: float | None = None) -> None:
        super().__init__(ttl_s)

    def __get__(self, process: KeyedProcess[Any, Any, Any], owner: type) -> list[V]:
        found: list[V] = self._values(process).get(self.name) or []
        self._keep(process, found)
        return found


class MapState(_State, Generic[K, V]):
    """A dict a key, to be changed in place; `del` forgets it."""

    def __init__(self, *, ttl_s: float | None = None) -> None:
        super().__init__(ttl_s)

    def __get__(self, process: KeyedProcess[Any, Any, Any], owner: type) -> dict[K, V]:
        found: dict[K, V] = self._values(process).get(self.name) or {}
        self._keep(process, found)
        return found


class ReducingState(_State, Generic[V]):
    """What `fn` made of all values assigned for a key: `state = value` adds one; None before; `del` forgets it."""

    def __init__(self, fn: Callable[[V, V], V], *, ttl_s: float | None = None) -> None:
        super().__init__(ttl_s)
        self._fn = fn

    def __get__(self, process: KeyedProcess[Any, Any, Any], owner: type) -> V | None:
        found: V | None = self._values(process).get(self.name)
        return found

    def __set__(self, process: KeyedProcess[Any, Any, Any], value: V) -> None:
        values = self._values(process)
        self._keep(process, self._fn(values[self.name], value) if self.name in values else value)


def expires(process: KeyedProcess[Any, Any, Any]) -> bool:
    """Say whether a state of `process` has a time to live, which is event time."""
    return any(
        isinstance(state, _State) and state.ttl_s is not None
        for cls in type(process).__mro__
        for state in vars(cls).values()
    )
