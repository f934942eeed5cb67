"""What vLLM publishes of its cache is read in order, and what is missing is seen."""

import pytest

from cluster.serving.engines.kv_events import (
    END_NUMBER,
    AllBlocksCleared,
    BlockRemoved,
    BlockStored,
    KvBatch,
    kv_batch,
)
from cluster.serving.engines.kv_order import KvOrder
from sage.base.errors import RequestFailed
from tests.unit.engines.kv_published import CLEARED, batch, number, removed, stored

END = (b"", END_NUMBER, b"")


def listening() -> KvOrder:
    """Nothing was published before it listened."""
    order = KvOrder()
    assert (order.asks_again, order.missing) == (True, 0)
    assert order.again(END) == ()
    assert not order.asks_again
    return order


def test_what_vllm_publishes_is_read() -> None:
    first = kv_batch((b"", number(0), batch(stored(range(8), (1, 2)))))
    assert first == KvBatch(
        0, (BlockStored((1, 2), None, tuple(range(8)), 4, medium="GPU", extra_keys=(None, None), group_idx=0),)
    )
    assert kv_batch((b"", number(7), batch(removed(1), CLEARED))) == KvBatch(
        7, (BlockRemoved((1,), "GPU", 0), AllBlocksCleared())
    )


def test_copies_elsewhere_are_passed_over() -> None:
    copy: dict[str, object] = {**removed(1), "medium": "CPU"}
    assert kv_batch((b"", number(0), batch(copy))).events == ()


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        ((b"", batch()), "2 frames"),
        ((b"", b"1", batch()), "no number"),
        ((b"", number(0), b"\xc1"), "cannot be read"),
        ((b"", number(0), batch({"type": "Other"})), "cannot be read"),
        ((b"", number(0), batch(stored((-1, 1, 2, 3), (1,)))), "cannot be read"),
        ((b"", number(0), batch({**stored((), ()), "block_size": 0})), "cannot be read"),
        ((b"", number(0), batch(rank=1)), "several caches"),
        ((b"", number(0), batch({**removed(1), "group_idx": 1})), "several caches"),
    ],
    ids=["frames", "number", "garbage", "unknown", "token", "size", "ranks", "groups"],
)
def test_what_cannot_be_followed_is_said(frames: tuple[bytes, ...], why: str) -> None:
    with pytest.raises(RequestFailed, match=why):
        kv_batch(frames)


def test_what_was_published_before_anybody_listened_comes_first() -> None:
    order = KvOrder()
    assert order.again((b"", number(0), batch(removed(1)))) == (BlockRemoved((1,), "GPU", 0),)
    order.again(END)
    assert order.published((b"", number(0), batch(removed(1)))) == (), "it came both ways"
    assert order.published((b"", number(1), batch(removed(2)))) == (BlockRemoved((2,), "GPU", 0),)


def test_what_is_missing_is_asked_for_and_the_one_that_showed_it_comes_after() -> None:
    order = listening()
    assert order.published((b"", number(2), batch(removed(3)))) == ()
    assert (order.asks_again, order.missing) == (True, 0)
    for n in range(3):
        assert order.again((b"", number(n), batch(removed(n + 1)))) == (BlockRemoved((n + 1,), "GPU", 0),)
    assert order.again(END) == (), "it was among those"
    assert not order.asks_again
    assert order.published((b"", number(3), batch())) == ()
    assert not order.asks_again


def test_what_shows_a_gap_is_believed_where_the_gap_alone_is_sent_again() -> None:
    order = listening()
    order.published((b"", number(1), batch(removed(2))))
    order.again((b"", number(0), batch(removed(1))))
    assert order.again(END) == (BlockRemoved((2,), "GPU", 0),)


@pytest.mark.parametrize("frames", [(b"", number(2), batch()), END], ids=["later", "nothing"])
def test_what_is_kept_no_more_is_lost_until_all_is_cleared(frames: tuple[bytes, ...]) -> None:
    order = listening()
    order.published((b"", number(3), batch()))
    with pytest.raises(RequestFailed, match="0 is gone"):
        order.again(frames)
    order.lose()
    assert order.published((b"", number(9), batch(removed(1)))) == ()
    cleared = order.published((b"", number(20), batch(removed(1), CLEARED, stored(range(4), (1,)))))
    assert [type(event) for event in cleared] == [AllBlocksCleared, BlockStored]
    assert not order.is_lost
    assert order.published((b"", number(21), batch(removed(1)))) == (BlockRemoved((1,), "GPU", 0),)
