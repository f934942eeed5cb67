"""Values to columns. Knows nothing of messages; the inverse is `assemble`.

Exact types decide: an instance of a subclass would come out as its base class, so it is refused like any stranger.
"""

from collections.abc import Hashable, Sequence
from datetime import date, datetime, timezone
from enum import Enum
from gc import get_referents
from itertools import chain
from typing import Any, Literal, cast
from uuid import UUID

from cluster.runtime.columns import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    Binary,
    Buffer,
    Column,
    Flat,
    Items,
    Maps,
    Members,
    Mixed,
    Moments,
    Objects,
    Plain,
    Records,
    Rows,
    Scalar,
    Words,
)
from cluster.runtime.record_types import RecordClass, RecordTypes
from cluster.runtime.words import WORDS, Unwritten, Word

_PLAIN = {type(None), bool, int, float, str}
_PLAIN_OR_LIST = {*_PLAIN, list}
_ITEMS: dict[type, str] = {list: "list", tuple: "tuple", set: "set", frozenset: "frozenset"}
_TOO_DEEP = f"values nested deeper than {MAX_DEPTH}"
_FEW = 3  # up to so many dicts are one column of values, not one a key: less to say (measured 2026-11-22)


class Foreign(Exception):
    """A value that cannot travel, and why. `path` says where in the record it is, from the outside in."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
        self.path: list[str] = []


class Shredder:
    """Makes the columns of one message, and its buffers."""

    def __init__(self, types: RecordTypes, *, is_careful: bool = False) -> None:
        """`is_careful`: look at every int and str for what MessagePack has no word for; it takes longer."""
        self.buffers: list[Buffer] = []
        self._types = types
        self._is_careful = is_careful
        self._num_containers = 0

    def column(self, values: Sequence[Any], depth: int = 0) -> Column:
        """Return `values` as a column; raises Foreign. A column that nothing was done to shares `values`."""
        kinds = _kinds_of(values)
        if kinds <= _PLAIN:
            if self._is_careful and (kinds & {int, str}):
                return self._careful(values, depth)
            return Plain(values)
        if depth == MAX_DEPTH:
            raise Foreign(_TOO_DEEP)
        if len(kinds) > 1:
            return self._mixed(values, [None if kind in _PLAIN else kind for kind in map(type, values)], depth)
        return self._alike(kinds.pop(), values, depth)

    def _alike(self, kind: type, values: Sequence[Any], depth: int) -> Column:
        if kind in _ITEMS:
            return self._items(kind, values, depth)
        if kind is dict:
            return self._dicts(values, depth)
        if kind is bytes:
            return Binary("bytes", cast("list[bytes]", values))
        if kind is date:
            return Moments("date", [value.isoformat() for value in values])
        if kind is datetime:
            return Moments("datetime", list(map(_text_of, values)))
        if kind is UUID:
            return Binary("uuid", [value.bytes for value in values])
        if (word := WORDS.get(kind)) is not None:
            return _words(word, values)
        if kind.__module__ == "numpy":
            return self._numpy(values, depth)
        return self._own(kind, values, depth)

    # Containers.

    def _spend(self, num: int) -> None:
        self._num_containers += num
        if self._num_containers > MAX_CONTAINERS:
            raise Foreign(f"more than {MAX_CONTAINERS:,} values inside of others in one batch")

    def _items(self, kind: type, values: Sequence[Any], depth: int) -> Column:
        self._spend(len(values))
        lengths = list(map(len, values))
        len_each = lengths[0] if len(set(lengths)) == 1 else 0
        if kind is not tuple:
            self._bound(lengths)
        items = list(chain.from_iterable(values))
        if kind is tuple and len_each and len(values) > 1 and len_each <= len(values):
            return Rows([self._at(f"[{i}]", items[i::len_each], depth) for i in range(len_each)])
        word = cast(Literal["list", "tuple", "set", "frozenset"], _ITEMS[kind])
        return Items(word, len_each or lengths, self._at("[...]", items, depth))

    def _bound(self, lengths: list[int]) -> None:
        """Stop before what holds itself is unfolded for ever."""
        if sum(lengths) > 64 * MAX_CONTAINERS:
            raise Foreign(f"more than {64 * MAX_CONTAINERS:,} values in one batch")

    def _dicts(self, values: Sequence[dict[Any, Any]], depth: int) -> Column:
        """The collector is asked what many dicts hold. Of one whose keys were never but texts it names the values, of
        any other the keys too, so that there are more. That takes 0.11 us for five fields with the look at each kind,
        where to look up each key took 0.18 and let subclasses of text pass (measured 2026-11-24).
        """
        self._spend(len(values))
        are_many = len(values) > _FEW
        held = get_referents(*values) if are_many else []
        have_texts = are_many and len(held) == sum(map(len, values))
        if have_texts and not self._is_careful and _are_flat(held, len(values[0])):
            return Flat(values)
        names = list(values[0])
        keys = list(chain.from_iterable(values))
        items = list(chain.from_iterable(map(dict.values, values)))
        num = len(names)
        if num and have_texts and keys == names * len(values):
            return Records(names, [self._at(f"[{name!r}]", items[i::num], depth) for i, name in enumerate(names)])
        lengths = list(map(len, values))
        return Maps(lengths, self._at(" as a key", keys, depth), self._at("[...]", items, depth))

    def _at(self, where: str, values: Sequence[Any], depth: int) -> Column:
        try:
            return self.column(values, depth + 1)
        except Foreign as foreign:
            foreign.path.insert(0, where)
            raise

    def _mixed(self, values: Sequence[Any], sorts: Sequence[Hashable], depth: int) -> Column:
        """Return a column for each sort; `sorts[i]` is that of `values[i]`."""
        numbers: dict[Hashable, int] = {}
        choice = [numbers.setdefault(sort, len(numbers)) for sort in sorts]
        parts: list[list[Any]] = [[] for _ in numbers]
        for number, value in zip(choice, values, strict=True):
            parts[number].append(value)
        return Mixed(choice, [self.column(part, depth + 1) for part in parts])

    # What MessagePack has no word for.

    def _careful(self, values: Sequence[Any], depth: int) -> Column:
        sorts = list(map(_sort_of, values))
        found = set(sorts)
        if found == {None}:
            return Plain(values)
        if depth == MAX_DEPTH:
            raise Foreign(_TOO_DEEP)
        if len(found) > 1:
            return self._mixed(values, sorts, depth)
        if found == {int}:
            return Binary("int", [n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True) for n in values])
        return Binary("str", [text.encode("utf-8", "surrogatepass") for text in values])

    def _numpy(self, values: Sequence[Any], depth: int) -> Column:
        from cluster.runtime.arrays import arrays_column, dtypes_of

        dtypes = dtypes_of(values)
        if dtypes is None:
            raise Foreign(f"a numpy.{type(values[0]).__qualname__} of {_dtype_of(values[0])}")
        if len(set(dtypes)) > 1:
            return self._mixed(values, dtypes, depth)
        self._spend(len(values))
        column, buffers = arrays_column(values, len(self.buffers))
        self.buffers += buffers
        return column

    def _own(self, kind: type, values: Sequence[Any], depth: int) -> Column:
        name = self._types.name_of(kind)
        if name is None:
            raise Foreign(f"a {kind.__module__}.{kind.__qualname__}")
        if name in self._types.enums:
            return Members(name, list(map(_member_name, values)))
        self._spend(len(values))
        known = self._types.classes[name]
        columns = [
            self._at(f".{field}", column, depth)
            for field, column in zip(known.fields, _fields_of(known, values), strict=True)
        ]
        return Objects(name, len(values), columns)


def _kinds_of(values: Sequence[Any]) -> set[type]:
    """Return the types of `values`. Most often it is one, which is told in half the time that a set of all takes."""
    kinds = list(map(type, values))
    if kinds and kinds.count(kinds[0]) == len(kinds):
        return {kinds[0]}
    return set(kinds)


def _are_flat(held: Sequence[Any], num: int) -> bool:
    """Say whether these values of dicts, of which the first has `num`, are plain, or lists of such."""
    kinds = list(map(type, held))
    if num and kinds == kinds[:num] * (len(kinds) // num):  # one dict is as the other: no look at each kind
        found = set(kinds[:num])
        lists = [held[i::num] for i in range(num) if kinds[i] is list]
    else:
        found = set(kinds)
        lists = [[value for value in held if type(value) is list]] if list in found else []
    items = chain.from_iterable(chain.from_iterable(lists))
    return found <= _PLAIN_OR_LIST and (not lists or _kinds_of(list(items)) <= _PLAIN)


def _fields_of(known: RecordClass, values: Sequence[Any]) -> list[list[Any]]:
    try:
        return known.take_apart(values)
    except AttributeError as error:
        raise Foreign(f"an instance of {known.name} that is not complete ({error})") from error


def _sort_of(value: Scalar) -> type | None:
    """Return the type of an int or str that needs a form of its own, or None."""
    if type(value) is int:
        return None if -(2**63) <= value < 2**64 else int
    if type(value) is str and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return str
    return None


def _text_of(moment: datetime) -> str:
    if moment.tzinfo is not None and type(moment.tzinfo) is not timezone:
        raise Foreign(f"a datetime in the zone {moment.tzinfo!r}, which is neither UTC nor a fixed offset")
    if moment.tzinfo is not None and moment.tzinfo.utcoffset(moment).microseconds:  # ISO 8601 knows no such offsets
        raise Foreign(f"a datetime whose offset is no whole number of seconds: {moment.tzinfo!r}")
    return moment.isoformat() + ("~" if moment.fold else "")


def _words(word: Word, values: Sequence[Any]) -> Words:
    try:
        return Words(word.kind, list(map(word.text_of, values)))
    except Unwritten as unwritten:
        raise Foreign(str(unwritten)) from unwritten


def _member_name(member: Enum) -> str:
    name: str | None = member.name
    if name is None or type(member).__members__.get(name) is not member:
        raise Foreign(f"{member!r}, which is no single member of its Enum")
    return name


def _dtype_of(value: Any) -> str:
    return f"dtype {value.dtype}" if hasattr(value, "dtype") else "no dtype"
