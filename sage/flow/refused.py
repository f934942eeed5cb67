"""Which of many records a sink refuses, and how it says so. Knows no sink."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from sage.base.errors import SinkUnwritable

Why = TypeVar("Why")
Given = TypeVar("Given")
Made = TypeVar("Made")


def refused_alone(numbers: Sequence[int], take: Callable[[Sequence[int]], Mapping[int, Why]]) -> dict[int, Why]:
    """Return which of `numbers` are refused for themselves, and why: what is refused together is taken by halves.

    `take` is given some, in order, and returns those that it did not take: where one is to blame, that may be all.
    It is called at most 2 log2(n) times for each that is returned, n being how many there are, and once.

    >>> refused_alone([1, 2, 3, 4], lambda part: {number: "odd one" for number in part if 3 in part})
    {3: 'odd one'}
    """
    found: dict[int, Why] = {}
    parts = [list(numbers)]
    while parts:
        refused = take(part) if (part := parts.pop()) else {}
        left = sorted(refused)
        if len(left) > 1:
            parts += [left[len(left) // 2 :], left[: len(left) // 2]]
        else:
            found.update(refused)
    return found


def each_of(records: Sequence[Given], fn: Callable[[Given], Made]) -> list[Made]:
    """Return what `fn` makes of each; raises SinkUnwritable for all of which it raises that."""
    made: list[Made] = []
    refused: dict[int, SinkUnwritable] = {}
    for at, record in enumerate(records):
        try:
            made.append(fn(record))
        except SinkUnwritable as error:
            refused[at] = error
    if refused:
        raise first_refused(refused)
    return made


def first_refused(refused: Mapping[int, SinkUnwritable]) -> SinkUnwritable:
    """Return the error of the first record of a batch that is refused, which has those of all others with it."""
    for at, error in refused.items():
        error.at = at
    first, *others = (refused[at] for at in sorted(refused))
    first.others = tuple(others)
    return first
