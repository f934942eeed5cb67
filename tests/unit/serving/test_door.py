"""The door between threads, by hand."""

from collections.abc import Sequence

from cluster.serving.door import Door, HandedIn, Withdrawn
from sage.base.errors import NoEngine, Overloaded
from sage.base.ids import RequestId
from sage.base.inference import Failed, Reply
from tests.unit.serving.arrange import chat


class Knocks:
    def __init__(self, *, is_heard: bool = True) -> None:
        self.num = 0
        self.is_heard = is_heard

    def __call__(self) -> bool:
        self.num += 1
        return self.is_heard


def codes(replies: Sequence[Reply]) -> list[str]:
    return [reply.failure.code for reply in replies if isinstance(reply, Failed)]


def test_one_knock_does_for_all_that_is_handed_in_until_it_is_fetched() -> None:
    knocks = Knocks()
    door = Door(knocks, tuple)
    got: list[Reply] = []
    a, b = chat("a"), chat("b")
    door.submit([a], got.extend)
    door.cancel([RequestId("a")])
    door.submit([b], got.extend)
    entries = door.fetch()
    assert [type(entry) for entry in entries] == [HandedIn, Withdrawn, HandedIn]
    assert knocks.num == 1
    door.submit([a], got.extend)
    assert knocks.num == 2
    assert got == []


def test_more_than_the_bound_is_refused_with_a_time_to_retry() -> None:
    door = Door(Knocks(), tuple, max_requests=2)
    got: list[Reply] = []
    door.submit([chat("a"), chat("b")], got.extend)
    door.submit([chat("c")], got.extend)
    assert codes(got) == [Overloaded.code]
    door.fetch()
    door.submit([chat("d")], got.extend)
    assert codes(got) == [Overloaded.code]


def test_what_waits_at_a_door_that_closes_is_refused_and_so_is_what_comes_later() -> None:
    door = Door(Knocks(), tuple)
    got: list[Reply] = []
    door.submit([chat("a")], got.extend)
    door.close()
    door.submit([chat("b")], got.extend)
    assert codes(got) == [NoEngine.code, NoEngine.code]


def test_requests_for_a_thread_that_has_ended_are_refused() -> None:
    door = Door(Knocks(is_heard=False), tuple)
    got: list[Reply] = []
    door.submit([chat("a")], got.extend)
    assert codes(got) == [NoEngine.code]
