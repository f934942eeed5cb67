"""Batches to any of several receivers are as large as the receivers are quick."""

from collections import deque

import pytest

from cluster.runtime.link_pace import FIRST_RECORDS, LinkPace
from cluster.runtime.links import Link
from sage.base.ids import TaskId

LINK = Link(0, TaskId("a/0"), TaskId("b/0"))
CREDIT, LUMP = 8, 4


def settled(*, batch_s: float = 0.0, record_s: float = 0.0, max_records: int = 1_000, num_lumps: int = 60) -> list[int]:
    """Return the size of each batch sent to a receiver that always has work and takes so long for it."""
    pace, waiting, sent, now_s = LinkPace([LINK], max_records), deque[int](), list[int](), 0.0
    for _ in range(num_lumps):
        while len(waiting) < CREDIT:
            waiting.append(pace.num_records)
            sent.append(pace.num_records)
            pace.sent(LINK, pace.num_records)
        now_s += sum(batch_s + record_s * waiting.popleft() for _ in range(LUMP))
        pace.granted(LINK, LUMP, now_s)
    return sent


def test_the_first_batches_are_small() -> None:
    assert settled(num_lumps=1) == [FIRST_RECORDS] * CREDIT


def test_a_quick_receiver_soon_gets_whole_batches() -> None:
    sent = settled(record_s=1e-6)
    assert sent[-1] == 1_000
    assert sum(size < 1_000 for size in sent) < 60


@pytest.mark.parametrize(("record_s", "most"), [(0.001, 10), (0.003, 3), (0.010, 1), (1.0, 1)])
def test_a_batch_for_a_slow_receiver_takes_some_milliseconds_or_is_one_record(record_s: float, most: int) -> None:
    assert 1 <= settled(record_s=record_s)[-1] <= most


def test_a_step_whose_calls_take_long_whatever_their_size_gets_whole_batches() -> None:
    sent = settled(batch_s=0.1)
    assert sent[-1] == 1_000
    assert sum(size < 1_000 for size in sent) <= 24


def test_a_receiver_that_waits_for_us_gets_more_at_once() -> None:
    pace = LinkPace([LINK], 1_000)
    for _ in range(10):
        for _ in range(LUMP):
            pace.sent(LINK, pace.num_records)
        pace.granted(LINK, LUMP, 0.0)
    assert pace.num_records == 1_000


def test_batches_do_not_grow_where_they_are_small_anyway() -> None:
    pace = LinkPace([LINK], 1_000)
    for _ in range(10):
        for _ in range(LUMP):
            pace.sent(LINK, 2)
        pace.granted(LINK, LUMP, 0.0)
    assert pace.num_records == FIRST_RECORDS


def test_receivers_that_say_the_same_count_once() -> None:
    links = [Link(0, TaskId("a/0"), TaskId(f"b/{number}")) for number in range(4)]
    pace = LinkPace(links, 1_000)
    for link in links:
        for _ in range(2 * LUMP):
            pace.sent(link, FIRST_RECORDS)
    for link in links:
        pace.granted(link, LUMP, 0.0)
    for link in links:
        for _ in range(LUMP):
            pace.sent(link, FIRST_RECORDS)
        pace.granted(link, LUMP, LUMP * FIRST_RECORDS * 0.001)
    assert pace.num_records == FIRST_RECORDS // 2


def test_no_batch_is_larger_than_asked() -> None:
    assert set(settled(max_records=5)) == {5}


def test_watermarks_alone_say_nothing_of_records() -> None:
    pace = LinkPace([LINK], 1_000)
    for now_s in range(10):
        for _ in range(LUMP):
            pace.sent(LINK, 0)
        pace.sent(LINK, 0)
        pace.granted(LINK, LUMP, float(now_s))
    assert pace.num_records == FIRST_RECORDS
