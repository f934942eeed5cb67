"""What has changed between two copies of a dict, without a word from whoever changed it. Pure.

A copy holds the very objects: a key whose value is another object now has changed. Nothing is told by the hot path.
Slices are compared by C, in turn: between two of them whoever compares may let other threads go on.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from itertools import chain, compress, islice
from operator import is_not
from typing import Any

LEN_SLICE = 2_000
"""Keys compared at once, and then encoded: about half a millisecond in which no other thread of Python has its turn."""

Change = tuple[list[Hashable], list[Any], list[Hashable]]
"""Keys and values that are new or others than before, and keys that are gone."""

_UNCHANGING = frozenset({type(None), bool, int, float, complex, str, bytes})


def changes(old: Mapping[Hashable, Any], new: Mapping[Hashable, Any], len_slice: int = LEN_SLICE) -> Iterator[Change]:
    """Return, slice by slice, what has changed.

    As long as keys stand where they stood, values are compared by place; from the first that does not on, by key.
    """
    old_keys, old_values, new_keys, new_values = iter(old), iter(old.values()), iter(new), iter(new.values())
    in_place, before = True, list[Hashable]()
    while keys := list(islice(new_keys, len_slice)):
        values = list(islice(new_values, len(keys)))
        if in_place:
            before = list(islice(old_keys, len(keys)))
            in_place = keys[: len(before)] == before
        if in_place:
            others: Iterable[bool] = map(is_not, islice(old_values, len(before)), values)
            kept = list(others) + [True] * (len(keys) - len(before))
        else:
            kept = list(map(is_not, map(old.get, keys, [_MISSING] * len(keys)), values))
        yield [*compress(keys, kept)], [*compress(values, kept)], []
    if in_place and len(old) <= len(new):
        return
    old_keys = iter(old)
    while keys := list(islice(old_keys, len_slice)):
        yield [], [], [key for key in keys if key not in new]


_MISSING = object()


def are_unchanging(values: Iterable[Any]) -> bool:
    """Say whether none of `values` can change in place: plain ones, and tuples of such."""
    kinds = set(map(type, values))
    if kinds <= _UNCHANGING:
        return True
    if not kinds <= {*_UNCHANGING, tuple}:
        return False
    tuples = (value for value in values if type(value) is tuple)
    return set(map(type, chain.from_iterable(tuples))) <= _UNCHANGING
