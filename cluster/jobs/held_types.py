"""Which classes are in the values that a flow holds, and in the fields of those classes. Calls nothing of the user's.

Code that travels keeps only the names that it uses; what a flow holds travels whole, so every process finds the same.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any, cast, get_args, get_origin

import msgspec

from cluster.runtime.columns import MAX_DEPTH

_CONTAINERS = (list, tuple, set, frozenset, deque, dict)
_AT_ONCE = 4096  # so many items are opened at a time: a long collection is never held twice


def types_held(values: Iterable[Any], may_travel: Callable[[type], bool]) -> Iterator[type]:
    """Yield, once each, the classes in `values` that may travel, then those that their fields name.

    Goes into containers of Python and into the fields of such classes, as deep as records may be nested. What can only
    be iterated is left as it is: it may be used up by that, or have no end.
    """
    look = _Look(may_travel)
    look.at(values, MAX_DEPTH)
    yield from look.found
    yield from (cls for cls in types_of_fields(look.found, may_travel) if cls not in look.found)


def types_of_fields(classes: Iterable[type], may_travel: Callable[[type], bool]) -> Iterator[type]:
    """Yield `classes` that may travel and those that their fields' annotations name, and so on; once each."""
    seen: dict[int, Any] = {}  # by id: what `Annotated` says need not be hashable
    left: deque[Any] = deque(classes)
    while left:
        hint = left.popleft()
        if isinstance(hint, str) or id(hint) in seen:  # a text names what only its module can say
            continue
        seen[id(hint)] = hint
        left.extend((get_origin(hint), *_arguments(hint)))
        if isinstance(hint, type) and may_travel(hint):
            yield hint
            left.extend(_hints(hint))


class _Look:
    """One look at values: which classes were found, and what was opened already, so that nothing is opened twice."""

    def __init__(self, may_travel: Callable[[type], bool]) -> None:
        self.found: dict[type, None] = {}
        self._may_travel = may_travel
        self._seen: set[int] = set()
        self._fields: dict[type, tuple[str, ...]] = {}

    def at(self, values: Iterable[Any], depth: int) -> None:
        left = iter(values)
        while some := list(islice(left, _AT_ONCE)):
            kinds = {kind for kind in dict.fromkeys(map(type, some)) if self._is_opened(kind)}
            if kinds and depth:
                opened = [value for value in some if type(value) in kinds and id(value) not in self._seen]
                self._seen.update(map(id, opened))
                self.at(chain.from_iterable(map(self._inside, opened)), depth - 1)

    def _is_opened(self, kind: type) -> bool:
        if self._may_travel(kind):
            self.found[kind] = None
            self._fields[kind] = _fields(kind)
        return kind in self.found or issubclass(kind, _CONTAINERS)

    def _inside(self, value: Any) -> Iterable[Any]:
        if (fields := self._fields.get(type(value))) is not None:
            return [getattr(value, name, None) for name in fields]
        return (*value, *value.values()) if isinstance(value, dict) else cast("Iterable[Any]", value)


def _fields(cls: type) -> tuple[str, ...]:
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    return tuple(field.name for field in dataclasses.fields(cls)) if dataclasses.is_dataclass(cls) else ()


def _hints(cls: type) -> list[Any]:
    if dataclasses.is_dataclass(cls):
        return [field.type for field in dataclasses.fields(cls)]
    return [hint for base in cls.__mro__ for hint in vars(base).get("__annotations__", {}).values()]


def _arguments(hint: Any) -> Iterator[Any]:
    """Yield what a hint is made of, as far as it can be one: `Literal` and `Annotated` hold any value."""
    for inner in get_args(hint):
        if isinstance(inner, type) or get_origin(inner) is not None:
            yield inner
