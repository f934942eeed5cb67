"""Posts between their senders and the task: bounded, in order, and each once wherever a process is killed."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from cluster.runtime.posts import KeptPost
from cluster.web.post_bodies import decoder_of
from cluster.web.post_refusals import PostRefused
from cluster.web.waiting_posts import MAX_KEYS, START, Position, WaitingPosts, key_of
from sage.flow.connectors.http_source import MAX_WAITING_BYTES, HttpSource

SOURCE = HttpSource("orders", max_waiting=4)


def made(source: HttpSource = SOURCE, **where: Any) -> WaitingPosts:
    waiting = WaitingPosts(source, decoder_of(source))
    waiting.begin(1_000, **where)
    return waiting


def post(body: bytes = b"1", key: bytes = b"") -> KeptPost:
    return KeptPost(0, 1.0, True, body, key=key_of(key, body))


def admit(waiting: WaitingPosts, body: bytes = b"1", key: bytes = b"") -> bool:
    given = post(body, key)
    return waiting.admit(given, [int(line) for line in body.split()])


def take(waiting: WaitingPosts, body: bytes = b"1", key: bytes = b"") -> list[KeptPost]:
    """Admit a post and keep it, as all goes well."""
    admit(waiting, body, key)
    posts = waiting.to_keep()
    waiting.kept()
    return posts


def refusal(waiting: WaitingPosts, body: bytes = b"1", key: bytes = b"") -> tuple[int, str]:
    with pytest.raises(PostRefused) as raised:
        admit(waiting, body, key)
    return raised.value.status, raised.value.reason


def travelled(position: Any) -> Position:
    return msgspec.convert(msgspec.msgpack.decode(msgspec.msgpack.encode(position)), Position)


def test_records_are_read_in_order_across_posts() -> None:
    waiting = made()
    take(waiting, b"1\n2\n3")
    take(waiting, b"4")
    assert [waiting.read(2), waiting.read(2), waiting.read(2)] == [[1, 2], [3, 4], []]


def test_nothing_is_read_before_it_is_kept() -> None:
    waiting = made()
    admit(waiting)
    assert waiting.read(10) == []
    waiting.not_kept()
    assert waiting.to_keep() == []
    assert waiting.read(10) == []
    take(waiting, b"2")
    assert waiting.read(10) == [2]


def test_a_full_queue_refuses_until_a_post_is_read_whole() -> None:
    waiting = made()
    for _ in range(3):
        take(waiting, b"1\n2")
    admit(waiting)
    assert refusal(waiting) == (503, "overloaded")
    waiting.to_keep()
    waiting.kept()
    waiting.read(1)
    assert refusal(waiting) == (503, "overloaded")
    waiting.read(1)
    assert admit(waiting)


def test_long_bodies_are_bounded_together_and_one_alone_has_room() -> None:
    waiting = made(HttpSource("orders", max_body_bytes=2 * MAX_WAITING_BYTES))
    waiting.check_room(2 * MAX_WAITING_BYTES)
    half = b" " * (MAX_WAITING_BYTES // 2) + b"1"
    take(waiting, half)
    assert refusal(waiting, half) == (503, "overloaded")
    waiting.read(1)
    assert admit(waiting, half)


def test_the_source_ends_after_as_many_posts_as_it_takes() -> None:
    waiting = made(HttpSource("orders", max_posts=2))
    take(waiting)
    admit(waiting, b"2\n3")
    assert refusal(waiting) == (503, "source_ended")
    assert not waiting.is_over
    waiting.to_keep()
    waiting.kept()
    assert waiting.read(2) == [1, 2]
    assert not waiting.is_over
    assert waiting.read(2) == [3]
    assert waiting.is_over


def test_posts_that_were_taken_before_count_towards_the_end() -> None:
    source = HttpSource("orders", max_posts=2)
    first = made(source)
    (kept,) = take(first)
    resumed = made(source, position=travelled(made(source).position()), logged=[kept])
    take(resumed)
    assert refusal(resumed) == (503, "source_ended")


def test_a_post_of_a_known_key_is_taken_once_also_by_a_later_reading() -> None:
    waiting = made()
    (kept,) = take(waiting, b"1", b"order-1")
    assert not admit(waiting, b"1", b"order-1")
    assert refusal(waiting, b"2", b"order-1") == (422, "key_reused")
    for resumed in (made(position=travelled(waiting.position())), made(logged=[kept])):
        assert not admit(resumed, b"1", b"order-1")
        assert admit(resumed, b"1", b"order-2")
        assert refusal(resumed, b"1", b"order-2") == (409, "being_taken")


def test_the_newest_keys_are_remembered() -> None:
    waiting = made(HttpSource("orders", max_waiting=MAX_KEYS + 1))
    for number in range(MAX_KEYS + 1):
        admit(waiting, b"1", b"%d" % number)
    waiting.to_keep()
    waiting.kept()
    waiting.read(MAX_KEYS + 1)
    assert admit(waiting, b"1", b"0")
    assert not admit(waiting, b"1", b"1")


def test_numbers_grow_beyond_those_of_every_run_before() -> None:
    (kept,) = take(made())
    assert kept.number == 1_000
    waiting = made(logged=[kept])
    (later,) = take(waiting)
    assert later.number == 1_001
    ahead = WaitingPosts(SOURCE, decoder_of(SOURCE))
    ahead.begin(5_000, position=travelled(waiting.position()))
    assert take(ahead)[0].number == 5_000


class Crashing:
    """A source that is killed at any moment, with a log in memory whose files go as checkpoints go."""

    def __init__(self) -> None:
        self.files: defaultdict[int, list[KeptPost]] = defaultdict(list)
        self.since = 0
        self.position = START
        self.counted: list[int] = []  # what the state of the flow has, at the newest checkpoint
        self.begin()

    def begin(self) -> None:
        logged = sorted((kept for posts in self.files.values() for kept in posts), key=lambda kept: kept.number)
        self.waiting = made(HttpSource("orders"), position=self.position, logged=logged)
        self.seen = list(self.counted)

    def keep(self, posts: Sequence[KeptPost]) -> None:
        self.files[self.since].extend(posts)

    def checkpoint(self, checkpoint_id: int, *, completes: bool) -> None:
        self.since = checkpoint_id
        if completes:
            self.position, self.counted = travelled(self.waiting.position()), list(self.seen)
            for since in [since for since in self.files if since < checkpoint_id]:
                del self.files[since]


MOVES = st.sampled_from(["post", "posts", "read", "checkpoint", "given up", "torn", "kill"])


@given(st.lists(MOVES, max_size=60))
def test_what_was_acknowledged_is_counted_once_wherever_the_process_is_killed(moves: list[str]) -> None:
    source, acknowledged, next_record = Crashing(), list[int](), 0
    for number, move in enumerate(moves, 1):
        match move:
            case "post" | "posts":
                for _ in range(1 if move == "post" else 3):
                    admit(source.waiting, b"%d\n%d" % (next_record, next_record + 1))
                    acknowledged += [next_record, next_record + 1]
                    next_record += 2
                source.keep(source.waiting.to_keep())
                source.waiting.kept()
            case "torn":
                admit(source.waiting, b"999")
                source.waiting.to_keep()
                source.waiting.not_kept()
            case "read":
                source.seen += source.waiting.read(3)
            case "checkpoint" | "given up":
                source.checkpoint(number, completes=move == "checkpoint")
            case _:
                source.begin()  # after a kill
    while records := source.waiting.read(3):
        source.seen += records
    assert source.seen == acknowledged
