"""What an instance of a source goes on with of all that was posted before, to however many instances. Pure.

What one instance had left goes to one, in its order: the posts of instance i go to instance i modulo their number now.
All that was kept is known to each instance when it begins, so all deal alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from cluster.runtime.posts import KeptPost

MAX_KEYS = 10_000
"""Idempotency-Keys that an instance remembers; the newest."""

LEN_NAME = 16
LEN_MARK = 8
_LEN_KEY = LEN_NAME + LEN_MARK


class Position(NamedTuple):
    """All that a later reading needs beside what is kept from then on.

    `next_number`: what is kept under it, or a later one, is not in `waiting`. `num_read`: of the records of the first,
    beside those that it says itself. `keys`: those that are remembered, one after the other.
    """

    next_number: int
    num_taken: int
    num_read: int
    waiting: tuple[KeptPost, ...]
    keys: bytes


class PostsLeft(NamedTuple):
    """What one instance goes on with. `next_number`: above those of all that was kept. `keys`: the oldest first."""

    next_number: int = 0
    num_taken: int = 0
    waiting: tuple[KeptPost, ...] = ()
    keys: tuple[bytes, ...] = ()


def posts_left(
    positions: Mapping[int, Position], logged: Sequence[KeptPost], instance: int = 0, num_instances: int = 1
) -> PostsLeft:
    """Return what `instance` goes on with, where `positions` are those of all instances before it.

    `logged`: what all of them have kept, in the order in which it came. Of it that is new which came after the position
    of who took it. Who is not among `positions` wrote before all of them were, or after: numbers grow with each run.
    A post that came again to another instance, under its key, is passed over where the first was known by then.
    """
    least = min((position.next_number for position in positions.values()), default=0)
    since = {taken_by: position.next_number for taken_by, position in positions.items()}
    keys = dict.fromkeys(_newest_of([_keys_of(position) for _, position in sorted(positions.items())]))
    new: list[KeptPost] = []
    for post in logged:
        if post.number >= since.get(post.taken_by, least) and post.key not in keys:
            new.append(post)
            if post.key:
                keys[post.key] = None
    own = [position for taken_by, position in sorted(positions.items()) if taken_by % num_instances == instance]
    own_new = [post for post in new if post.taken_by % num_instances == instance]
    return PostsLeft(
        max(
            [*(post.number + 1 for post in logged), *(position.next_number for position in positions.values())],
            default=0,
        ),
        sum(position.num_taken for position in own) + len(own_new),
        (*(post for position in own for post in _waiting_at(position)), *own_new),
        tuple(keys)[-MAX_KEYS:],
    )


def _waiting_at(position: Position) -> Iterator[KeptPost]:
    num_read = position.num_read
    for post in position.waiting:
        yield msgspec.structs.replace(post, num_read=post.num_read + num_read) if num_read else post
        num_read = 0


def _keys_of(position: Position) -> list[bytes]:
    return [position.keys[at : at + _LEN_KEY] for at in range(0, len(position.keys), _LEN_KEY)]


def _newest_of(by_instance: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return the newest keys, the oldest first: as many of each instance, since nobody knows whose are newer."""
    ranks = zip_longest(*(reversed(keys) for keys in by_instance))
    newest_first = dict.fromkeys(key for rank in ranks for key in rank if key is not None)
    return list(newest_first)[:MAX_KEYS][::-1]
