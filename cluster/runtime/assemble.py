"""Columns to values. Trusts nothing: what does not fit raises, and nothing is made that the message did not pay for.

Knows nothing of messages; the inverse is `shred`.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime
from itertools import islice
from typing import Any, cast
from uuid import UUID

from cluster.runtime.columns import (
    MAX_CONTAINERS,
    MAX_DEPTH,
    Arrays,
    BadFrame,
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
    Words,
)
from cluster.runtime.dicts import dicts_from_columns
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.words import value_of

_MAKERS: dict[str, Callable[[Iterable[Any]], Any]] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}


class Assembler:
    """Makes the values of one message."""

    def __init__(self, types: RecordTypes, buffers: Sequence[Buffer]) -> None:
        self._types = types
        self._buffers = buffers
        self._num_containers = 0

    def values(self, column: Column, depth: int = 0) -> list[Any]:
        """Return the column's values; raises BadFrame, or whatever Python raises for what does not fit together."""
        match column:
            case Plain(values):
                return cast("list[Any]", values)  # as decoded: a list that nobody else holds
            case _ if depth == MAX_DEPTH:
                raise BadFrame(f"columns nested deeper than {MAX_DEPTH}")
            case Flat(rows):
                self._spend(len(rows))
                return cast("list[Any]", rows)
            case Binary(kind, texts):
                return _from_binary(kind, texts)
            case Moments(kind, words):
                return list(map(date.fromisoformat if kind == "date" else _datetime_from, words))
            case Words(kind, texts):
                return list(map(value_of(kind), texts))
            case Members(name, members):
                known = self._types.enums[name].__members__
                return [known[member] for member in members]
            case Arrays():
                return self._arrays(column)
            case Mixed(choice, parts):
                return _mixed(choice, [self.values(part, depth + 1) for part in parts])
            case _:
                return self._containers(column, depth + 1)

    def _containers(self, column: Rows | Records | Items | Maps | Objects, below: int) -> list[Any]:
        match column:
            case Records(names, columns):
                parts = [self.values(part, below) for part in columns]
                self._spend(len(parts[0]))
                return dicts_from_columns(names, parts)
            case Rows(columns):
                parts = [self.values(part, below) for part in columns]
                self._spend(len(parts[0]))
                return list(zip(*parts, strict=True))
            case Items(kind, lengths, items):
                return self._items(_MAKERS[kind], lengths, self.values(items, below))
            case Maps(lengths, keys, values):
                self._spend(len(lengths))
                num = _checked_sum(lengths, self.values(keys, below), self.values(values, below))
                return _maps(lengths, num)
            case Objects(name, num, columns):
                self._spend(num)
                return self._objects(name, num, [self.values(part, below) for part in columns])

    def _spend(self, num: int) -> None:
        self._num_containers += num
        if self._num_containers > MAX_CONTAINERS:
            raise BadFrame(f"more than {MAX_CONTAINERS:,} containers in one batch")

    def _items(self, make: Callable[[Iterable[Any]], Any], lengths: int | list[int], items: list[Any]) -> list[Any]:
        if isinstance(lengths, list):
            self._spend(len(lengths))
            if sum(lengths) != len(items):
                raise BadFrame(f"containers of {sum(lengths)} items in all, and {len(items)} items")
            rest = iter(items)
            return [make(islice(rest, length)) for length in lengths]
        if not 0 < lengths <= len(items):
            raise BadFrame(f"containers of {lengths} items each, and {len(items)} items")
        self._spend(len(items) // lengths)
        return list(map(make, zip(*[iter(items)] * lengths, strict=True)))

    def _arrays(self, column: Arrays) -> list[Any]:
        from cluster.runtime.arrays import arrays_from_column

        self._spend(column.num)
        return arrays_from_column(column, self._buffers)

    def _objects(self, name: str, num: int, parts: list[list[Any]]) -> list[Any]:
        known = self._types.classes[name]
        if len(parts) != len(known.fields) or any(len(part) != num for part in parts):
            raise BadFrame(f"instances of {name} with {len(parts)} fields, or of fields that are not as many")
        return known.build(parts, num)


def _from_binary(kind: str, values: list[bytes]) -> list[Any]:
    match kind:
        case "int":
            return [int.from_bytes(value, "big", signed=True) for value in values]
        case "str":
            return [value.decode("utf-8", "surrogatepass") for value in values]
        case "uuid":
            return [UUID(bytes=value) for value in values]
        case _:
            return values


def _datetime_from(text: str) -> datetime:
    if text.endswith("~"):
        return datetime.fromisoformat(text[:-1]).replace(fold=1)
    return datetime.fromisoformat(text)


def _mixed(choice: list[int], parts: list[list[Any]]) -> list[Any]:
    if len(choice) != sum(map(len, parts)):
        raise BadFrame(f"{len(choice)} choices among {sum(map(len, parts))} values")
    rests = list(map(iter, parts))
    return [next(rests[number]) for number in choice]


def _checked_sum(lengths: list[int], keys: list[Any], values: list[Any]) -> "zip[tuple[Any, Any]]":
    if not sum(lengths) == len(keys) == len(values):
        raise BadFrame(f"dicts of {sum(lengths)} entries, {len(keys)} keys and {len(values)} values")
    return zip(keys, values, strict=True)


def _maps(lengths: list[int], entries: "zip[tuple[Any, Any]]") -> list[dict[Any, Any]]:
    return [dict(islice(entries, length)) for length in lengths]
