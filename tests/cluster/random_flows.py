"""Random flows and what plain lists make of the same steps. Knows no runner."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

import sage


@dataclass(frozen=True)
class Move:
    """One step: `kind` applied to the streams numbered `on` (taken modulo their number), with `num` instances."""

    kind: str
    on: tuple[int, int]
    num: int


KINDS = ("map", "filter", "flat_map", "union", "count", "spread", "batches")

moves = st.lists(
    st.builds(Move, st.sampled_from(KINDS), st.tuples(st.integers(0, 9), st.integers(0, 9)), st.integers(1, 3)),
    max_size=8,
)
sources = st.lists(st.lists(st.integers(-50, 50), max_size=40), min_size=1, max_size=3)


def plus_one(number: int) -> int:
    return number + 1


def is_odd(number: int) -> bool:
    return number % 2 == 1


def twice(number: int) -> list[int]:
    return [number, -number]


def last_digit(number: int) -> int:
    return number % 10


def num_counted(pair: tuple[int, int]) -> int:
    return pair[1]


class RandomFlow:
    """The flow that moves describe, its sinks, and what they must hold, in any order."""

    def __init__(self, sources: list[list[int]], moves: list[Move]) -> None:
        self.flow = sage.Flow("random")
        self._streams: list[Any] = [self.flow.from_collection(items) for items in sources]
        self._lists: list[list[int]] = [list(items) for items in sources]
        read: set[int] = set()
        for move in moves:
            first, second = (number % len(self._streams) for number in move.on)
            kind = "map" if move.kind == "union" and first == second else move.kind  # a union takes each stream once
            read |= {first, second} if kind == "union" else {first}
            self._add(kind, move.num, first, second)
        ends = [number for number in range(len(self._streams)) if number not in read]
        self._sinks = [(self._streams[number].collect(), self._lists[number]) for number in ends]

    def _add(self, kind: str, num: int, first: int, second: int) -> None:
        stream, items = self._streams[first], self._lists[first]
        match kind:
            case "map":
                self._grow(stream.map(plus_one), [n + 1 for n in items])
            case "filter":
                self._grow(stream.filter(is_odd), [n for n in items if n % 2 == 1])
            case "flat_map":
                self._grow(stream.flat_map(twice).with_parallelism(num), [m for n in items for m in (n, -n)])
            case "union":
                self._grow(stream.union(self._streams[second]), items + self._lists[second])
            case "count":
                counted = stream.key_by(last_digit).count(final=True).with_parallelism(num).map(num_counted)
                self._grow(counted, list(Counter(n % 10 for n in items).values()))
            case "spread":
                self._grow(stream.map(plus_one).with_parallelism(num), [n + 1 for n in items])
            case _:
                self._grow(stream.map_batches(list), list(items))

    def _grow(self, stream: Any, items: list[int]) -> None:
        self._streams.append(stream)
        self._lists.append(items)

    def check(self) -> None:
        """Every record must have reached its sink once."""
        for sink, wanted in self._sinks:
            assert Counter(sink.items) == Counter(wanted)
