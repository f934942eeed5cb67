"""Sources that several instances of a step share: what each reads, and which sources cannot be shared."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sage
from sage.base.errors import FlowInvalid, SourceUnreadable
from sage.flow.connectors.csv_source import CsvSource
from sage.flow.connectors.parquet_source import ParquetSource
from sage.flow.dealing import PartitionRead, PartitionsRead, deal, together
from sage.flow.sources import CollectionSource, JsonLinesSource, TextSource
from sage.testing import Scripted
from tests.unit.flow.connectors.reading import rest_of

REFUSED: dict[str, Callable[[sage.Flow], Any]] = {
    "ticks come from one clock": lambda flow: flow.ticks(1.0),
    "one file that grows, is read by one instance": lambda flow: flow.read_text("app.log", follow=True),
    "in the order of 'id' by one instance": lambda flow: flow.from_sql("sqlite://", table="t", order_by="id"),
    "of the posts to 'orders' 7 are taken, which one instance counts": lambda flow: flow.from_http(
        "orders", max_posts=7
    ),
    "chat requests for 'shy' are given to one task": lambda flow: flow.from_chat("shy"),
    "an iterator can be read once only": lambda flow: flow.from_collection(iter([1])),
    "a set can only be iterated": lambda flow: flow.from_collection({1, 2}),
    "Scripted does not say how several instances can read it": lambda flow: flow.from_source(Scripted([1])),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_source_that_cannot_be_shared_says_why(why: str) -> None:
    flow = sage.Flow("f")
    source = REFUSED[why](flow)
    with pytest.raises(FlowInvalid, match=why):
        source.with_parallelism(2)


@settings(max_examples=40, deadline=None)
@given(
    num=st.integers(0, 12),
    begun=st.sets(st.integers(0, 11)),
    ended=st.sets(st.integers(0, 11)),
    num_instances=st.integers(1, 5),
)
def test_every_partition_is_dealt_once_and_what_was_read_is_known(
    num: int, begun: set[int], ended: set[int], num_instances: int
) -> None:
    names = list("abcdefghijkl")[:num]
    was = [PartitionRead(name, 7, 1.5) for at, name in enumerate(names) if at in begun - ended]
    over = [name for at, name in enumerate(names) if at in ended]
    hands = [deal(names, PartitionsRead(tuple(was), tuple(over)), at, num_instances) for at in range(num_instances)]
    left = [each.name for hand in hands for each in hand.left]
    assert sorted(left) == sorted(set(names) - set(over))
    assert sorted(each.name for hand in hands for each in hand.left if each.position == 7) == [x.name for x in was]
    assert sorted(name for hand in hands for name in hand.ended) == over
    assert max(len(hand.left) for hand in hands) - min(len(hand.left) for hand in hands) <= 1
    assert all(list(hand.left) == sorted(hand.left, key=lambda each: each.name) for hand in hands)
    assert len({hand.listing for hand in hands}) == 1
    assert deal([*names, "new"], PartitionsRead(), 0, 1).listing != hands[0].listing


def test_a_partition_that_is_gone_and_names_that_are_none_are_refused() -> None:
    with pytest.raises(SourceUnreadable, match="a, which was read before, is not there any more"):
        deal(["b"], PartitionsRead((PartitionRead("a", 1),)), 0, 2)
    with pytest.raises(SourceUnreadable, match="two partitions are named 'a'"):
        deal(["a", "a"], PartitionsRead(), 0, 2)
    names: Any = "ab"
    with pytest.raises(SourceUnreadable, match="partitions are names, got 'ab'"):
        deal(names, PartitionsRead(), 0, 2)


def _sources(folder: Path) -> list[Any]:
    """Return sources of three files each, of five records, and one of a list of fifteen."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in range(3):
        numbers = range(5 * file, 5 * file + 5)
        (folder / f"{file}.txt").write_text("".join(f"{n}\n" for n in numbers))
        (folder / f"{file}.csv").write_text("n\n" + "".join(f"{n}\n" for n in numbers))
        pq.write_table(pa.table({"n": list(numbers)}), folder / f"{file}.parquet", row_group_size=2)
    return [
        TextSource(f"{folder}/*.txt"),
        JsonLinesSource(f"{folder}/*.txt", int),
        CsvSource(f"{folder}/*.csv"),
        ParquetSource(f"{folder}/*.parquet"),
        CollectionSource(range(15)),
    ]


def test_what_one_instance_has_read_is_gone_on_with_by_partitions(tmp_path: Path) -> None:
    for source in _sources(tmp_path):
        whole = rest_of(source.open(), 2)
        assert len(whole) == 15
        for num_read in (0, 3, 5, 11, 15):
            reader = source.open()
            first: list[Any] = []
            while len(first) < num_read:
                first += reader.read(min(2, num_read - len(first))) or []
            position = msgspec.msgpack.decode(msgspec.msgpack.encode(reader.position()))
            reader.close()
            dealt = deal(source.partitions(), source.by_partition(position), 0, 1)
            rest = [x for each in dealt.left for x in rest_of(source.open_partition(each.name, each.position), 2)]
            assert first + rest == whole, (source, num_read)


def test_together_is_what_each_has_read_once() -> None:
    one, other = PartitionsRead((PartitionRead("a", 1),), ("b",)), PartitionsRead((PartitionRead("c", 2),), ("b", "d"))
    assert together([one, other]) == PartitionsRead((PartitionRead("a", 1), PartitionRead("c", 2)), ("b", "d"))
