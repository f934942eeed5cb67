"""The posts of a source between whoever sends them and its task: bounded, numbered, each once. Pure.

A post is admitted, then kept where there is a log, then waits; only then it is acknowledged.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from hashlib import blake2b
from itertools import count
from typing import Any, NamedTuple

import msgspec

from cluster.runtime.posts import KeptPost
from cluster.web.post_bodies import Decode
from cluster.web.post_refusals import PostRefused
from cluster.web.posts_left import LEN_MARK, LEN_NAME, MAX_KEYS, PostsLeft
from sage.flow.connectors.http_source import MAX_WAITING_BYTES, HttpSource


class PostAdmitted(NamedTuple):
    """A post with those of its records that were not read before; once it is kept it has a number."""

    post: KeptPost
    records: Sequence[Any]


class WaitingPosts:
    """Called under one lock."""

    def __init__(self, source: HttpSource, decode: Decode, instance: int = 0) -> None:
        self._source = source
        self._instance = instance
        self._decode = decode
        self._waiting: deque[PostAdmitted] = deque()
        self._num_read_of_first = 0
        self._len_bytes = 0  # of bodies that wait, or are being kept
        self._next_number = 0
        self._num_taken = 0
        self._keeping: list[PostAdmitted] = []
        self._names_keeping: set[bytes] = set()
        self._keys: OrderedDict[bytes, bytes] = OrderedDict()

    # Where it begins.

    def begin(self, now_unix_us: int, left: PostsLeft) -> None:
        """Begin with what is left of earlier readings.

        Raises PostRefused where something of it cannot be decoded: the type was another one then.
        """
        self._num_taken = left.num_taken
        for key in left.keys:
            self._remember(key)
        for post in left.waiting:
            self._waiting.append(PostAdmitted(post, self._decode(post)[post.num_read :]))
            self._len_bytes += len(post.body)
        self._next_number = max(left.next_number, now_unix_us)  # what is written now is after all that ever was

    # What comes.

    def check_room(self, len_body_bytes: int) -> None:
        """Raise PostRefused (503) where nothing of this length can be taken now. One post has room, however long."""
        if self.has_all:
            raise PostRefused(503, "source_ended", "The source has had all that it takes, and ends.")
        num_waiting = len(self._waiting) + len(self._keeping)
        is_full = num_waiting >= self._source.max_waiting
        if is_full or (num_waiting and self._len_bytes + len_body_bytes > MAX_WAITING_BYTES):
            raise PostRefused(503, "overloaded", "The flow does not keep up; try again later.")

    @property
    def has_all(self) -> bool:
        """Say whether as many were admitted as there may be."""
        most = self._source.max_posts
        return most is not None and self._num_taken + len(self._keeping) >= most

    def admit(self, post: KeptPost, records: Sequence[Any]) -> bool:
        """Have a post be kept next; False for one that was taken before.

        Raises PostRefused: 409, 422, 503.
        """
        if self._is_known(post.key):
            return False
        self.check_room(len(post.body))
        self._keeping.append(PostAdmitted(post, records))
        self._names_keeping.add(post.key[:LEN_NAME])
        self._len_bytes += len(post.body)
        return True

    def to_keep(self) -> list[KeptPost]:
        """Return what is to be kept before it may be acknowledged, numbered from what was kept last."""
        numbers = count(self._next_number)
        self._keeping = [
            PostAdmitted(msgspec.structs.replace(post, number=number, taken_by=self._instance), records)
            for number, (post, records) in zip(numbers, self._keeping, strict=False)
        ]
        return [post for post, _ in self._keeping]

    def kept(self) -> None:
        """What was to be kept is; it waits for its task now."""
        for each in self._keeping:
            self._remember(each.post.key)
        self._num_taken += len(self._keeping)
        self._next_number += len(self._keeping)
        self._waiting.extend(self._keeping)
        self._forget_keeping()

    def not_kept(self) -> None:
        """It could not be kept, and is nobody's. Its numbers come never again: some of it may be on the disk."""
        self._next_number += len(self._keeping)
        self._len_bytes -= sum(len(each.post.body) for each in self._keeping)
        self._forget_keeping()

    def _forget_keeping(self) -> None:
        self._keeping = []
        self._names_keeping.clear()

    # What is read.

    @property
    def is_over(self) -> bool:
        """Say whether all that may come was read."""
        return self.has_all and not self._waiting and not self._keeping

    def read(self, max_records: int) -> list[Any]:
        """Return the next records."""
        found: list[Any] = []
        while self._waiting and len(found) < max_records:
            first = self._waiting[0]
            end = min(len(first.records), self._num_read_of_first + max_records - len(found))
            found += first.records[self._num_read_of_first : end]
            self._num_read_of_first = end
            if end == len(first.records):
                self._len_bytes -= len(first.post.body)
                self._num_read_of_first = 0
                self._waiting.popleft()
        return found

    def position(self) -> tuple[Any, ...]:
        """Return a Position as plain values. What is just being kept has numbers from the next one on."""
        waiting = [msgspec.structs.astuple(each.post) for each in self._waiting]
        if waiting:
            num_read = self._waiting[0].post.num_read + self._num_read_of_first
            waiting[0] = msgspec.structs.astuple(msgspec.structs.replace(self._waiting[0].post, num_read=num_read))
        keys = b"".join(name + mark for name, mark in self._keys.items())
        return self._next_number, self._num_taken, 0, waiting, keys

    # Idempotency-Keys.

    def _remember(self, key: bytes) -> None:
        if key:
            self._keys[key[:LEN_NAME]] = key[LEN_NAME:]
            if len(self._keys) > MAX_KEYS:
                self._keys.popitem(last=False)

    def _is_known(self, key: bytes) -> bool:
        """Say whether a post of this key was taken; raises PostRefused where it said something else."""
        if not key:
            return False
        name, mark = key[:LEN_NAME], key[LEN_NAME:]
        if name in self._names_keeping:
            raise PostRefused(409, "being_taken", "A request of this Idempotency-Key is just being taken; try again.")
        if self._keys.get(name, mark) != mark:
            what = "Another body came with this Idempotency-Key; give each request its own."
            raise PostRefused(422, "key_reused", what, param="idempotency-key")
        return name in self._keys


def key_of(idempotency_key: bytes, body: bytes) -> bytes:
    """Return what is remembered of a key, and of what came with it; b"" where there is no key."""
    if not idempotency_key:
        return b""
    name = blake2b(idempotency_key, digest_size=LEN_NAME).digest()
    return name + blake2b(body, digest_size=LEN_MARK).digest()
