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
from cluster.web.posts_left import MAX_KEYS, Position, posts_left
from cluster.web.waiting_posts import WaitingPosts, key_of
from sage.flow.connectors.http_source import MAX_WAITING_BYTES, HttpSource

SOURCE = HttpSource("orders", max_waiting=4)


def made(
    source: HttpSource = SOURCE, position: Position | None = None, logged: Sequence[KeptPost] = (), *, now: int = 1_000
) -> WaitingPosts:
    waiting = WaitingPosts(source, decoder_of(source))
    waiting.begin(now, posts_left({} if position is None else {0: position}, logged))
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
    ahead = made(position=travelled(waiting.position()), now=5_000)
    assert take(ahead)[0].number == 5_000


def test_the_newest_keys_of_all_instances_are_known_to_each_later() -> None:
    """As many of each: 10,000 of two that each had so many are the newer half of both."""
    first, second = ([b"%015d%d" % (number, at) + b"-" * 8 for number in range(MAX_KEYS)] for at in (1, 2))
    left = posts_left({at: Position(0, 0, 0, (), b"".join(keys)) for at, keys in enumerate((first, second))}, [], 1, 2)
    assert sorted(left.keys) == sorted([*first[MAX_KEYS // 2 :], *second[MAX_KEYS // 2 :]])
    assert left.keys[-2:] == (second[-1], first[-1])


def test_what_came_again_to_another_instance_once_the_first_was_gone_is_counted_once() -> None:
    (kept,) = take(made(), b"1", b"order-1")
    again = msgspec.structs.replace(kept, number=2_000, taken_by=1)
    other = msgspec.structs.replace(kept, number=2_001, taken_by=1, key=b"")
    hands = [posts_left({}, [kept, again, other], at, 2) for at in (0, 1)]
    assert [hand.waiting for hand in hands] == [(kept,), (other,)]
    known = Position(1_500, 1, 0, (), kept.key)
    assert posts_left({0: known, 1: Position(1_500, 0, 0, (), b"")}, [again], 1, 2).waiting == ()


def test_of_an_instance_that_a_checkpoint_does_not_know_what_came_later_is_new() -> None:
    before, later = (msgspec.structs.replace(post(), number=number, taken_by=2) for number in (1_400, 1_600))
    positions = {at: Position(1_500 + at, 0, 0, (), b"") for at in (0, 1)}
    assert [posts_left(positions, [before, later], at, 2).waiting for at in (0, 1)] == [(later,), ()]
    assert posts_left(positions, [before, later], 1, 2).next_number == 1_601


class Crashing:
    """The instances of a source, killed together at any moment, and begun again as so many as are wanted then.

    Their logs are in memory: files go as checkpoints go, of which two are kept. Each instance takes its part of a
    checkpoint by itself.
    """

    def __init__(self) -> None:
        self.files: defaultdict[int, list[KeptPost]] = defaultdict(list)
        self.newest = 0  # of the checkpoints that are complete
        self.positions: dict[int, Position] = {}
        self.counted: list[int] = []  # what the state of the flow has, at the newest checkpoint
        self.parts: dict[int, tuple[Position, list[int]]] = {}
        self.now = 0
        self.begin(1)

    def begin(self, num_instances: int) -> None:
        logged = sorted((kept for posts in self.files.values() for kept in posts), key=lambda kept: kept.number)
        source, self.since, self.parts = HttpSource("orders"), [self.newest] * num_instances, {}
        self.instances = [WaitingPosts(source, decoder_of(source), at) for at in range(num_instances)]
        for at, waiting in enumerate(self.instances):
            waiting.begin(self.now, posts_left(self.positions, logged, at, num_instances))
        self.seen: list[list[int]] = [[] for _ in self.instances]

    def keep(self, at: int) -> None:
        self.files[self.since[at]].extend(self.instances[at].to_keep())
        self.instances[at].kept()

    def take_part(self, at: int, checkpoint_id: int) -> None:
        """One instance is at the barrier; with the last of them the checkpoint is complete."""
        self.since[at] = checkpoint_id
        self.parts[at] = (travelled(self.instances[at].position()), list(self.seen[at]))
        if len(self.parts) == len(self.instances):
            self.positions = {each: position for each, (position, _) in self.parts.items()}
            self.counted += [record for _, seen in self.parts.values() for record in seen]
            self.seen = [seen[len(self.parts[each][1]) :] for each, seen in enumerate(self.seen)]
            for since in [since for since in self.files if since < self.newest]:
                del self.files[since]
            self.newest, self.parts = checkpoint_id, {}


MOVES = st.tuples(
    st.sampled_from(["post", "posts", "read", "part", "rest", "given up", "torn", "kill"]), st.integers(0, 3)
)


@given(st.lists(MOVES, max_size=60))
def test_what_was_acknowledged_is_counted_once_wherever_and_as_many_instances_are_killed(
    moves: list[tuple[str, int]],
) -> None:
    source, acknowledged, next_record = Crashing(), list[int](), 0
    checkpoint_id = 1
    for move, drawn in moves:
        at = drawn % len(source.instances)
        match move:
            case "post" | "posts":
                for _ in range(1 if move == "post" else 3):
                    admit(source.instances[at], b"%d\n%d" % (next_record, next_record + 1))
                    acknowledged += [next_record, next_record + 1]
                    next_record += 2
                source.keep(at)
            case "torn":
                admit(source.instances[at], b"999")
                source.instances[at].to_keep()
                source.instances[at].not_kept()
            case "read":
                source.seen[at] += source.instances[at].read(3)
            case "part" | "rest":
                wanted = [each for each in range(len(source.instances)) if each not in source.parts]
                for each in wanted if move == "rest" else wanted[:1]:
                    source.take_part(each, checkpoint_id)
                checkpoint_id += not source.parts
            case "given up":
                source.parts, checkpoint_id = {}, checkpoint_id + 1
            case _:
                source.begin(drawn + 1)  # after a kill
    source.begin(1)
    while records := source.instances[0].read(3):
        source.counted += records
    assert sorted(source.counted) == acknowledged
    if all(drawn == 0 for move, drawn in moves if move == "kill"):
        assert source.counted == acknowledged  # one instance all the time keeps their order
