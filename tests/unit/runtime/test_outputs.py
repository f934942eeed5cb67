"""Where batches go, what waits for credit, and in which order it leaves."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.link_pace import FIRST_RECORDS
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link
from cluster.runtime.outputs import Outputs, OutputSpec
from sage.base.batch import Batch
from sage.base.ids import TaskId
from sage.flow.plan import Routing


def links_to(num: int, channel: int = 0) -> tuple[Link, ...]:
    return tuple(Link(channel, TaskId("a/0"), TaskId(f"b{channel}/{number}")) for number in range(num))


def split_by_value(batch: Batch, num_partitions: int) -> Iterable[tuple[int, Batch]]:
    for partition in range(num_partitions):
        values = [value for value in batch.values if value % num_partitions == partition]
        if values:
            yield partition, Batch(values, values)


class Wire:
    """Remembers what was sent."""

    def __init__(self, *specs: OutputSpec, num_batches: int = 2, max_records: int = 4) -> None:
        self.sent: list[Delivery | Idle | Barrier | End] = []
        self.outputs = Outputs(
            specs, self.sent.append, split_by_value, num_batches=num_batches, max_records=max_records
        )

    def values(self, link: Link) -> list[int]:
        return [value for m in self.sent if isinstance(m, Delivery) and m.link == link for value in m.batch.values]


def test_a_broadcast_goes_to_every_link_whole_and_in_order_as_each_has_credit() -> None:
    slow, fast = links_to(2)
    wire = Wire(OutputSpec(Routing.BROADCAST, (slow, fast)), num_batches=1, max_records=1)
    given = [[1], [2], [3]]
    for values in given:
        wire.outputs.emit(Batch(values, watermark_s=float(values[0])))
    for _ in range(2):
        wire.outputs.grant(Grant(fast, 1), 0.0)
    assert (wire.values(slow), wire.values(fast)) == ([1], [1, 2, 3])
    assert wire.outputs.is_stalled()
    for _ in range(2):
        wire.outputs.grant(Grant(slow, 1), 0.0)
    assert wire.values(slow) == [1, 2, 3]
    assert not wire.outputs.is_stalled()
    own = [m.batch.values for m in wire.sent if isinstance(m, Delivery)]
    assert len({id(values) for values in own}) == len(own), "a receiver may change its own list"


def test_what_is_idle_is_said_once_until_something_is_sent() -> None:
    [link] = links_to(1, 0)
    wire = Wire(OutputSpec(Routing.FORWARD, (link,)))
    assert wire.outputs.idle()
    assert wire.outputs.idle()
    wire.outputs.emit(Batch([1]))
    assert wire.outputs.idle()
    assert wire.sent == [Idle(link), Delivery(link, Batch([1])), Idle(link)]


def test_nothing_is_idle_while_records_or_watermarks_wait_for_credit() -> None:
    links = links_to(2, 0)
    wire = Wire(OutputSpec(Routing.ROUND_ROBIN, links), num_batches=1)
    wire.outputs.emit(Batch([1]))
    wire.outputs.emit(Batch((), watermark_s=5.0))
    assert not wire.outputs.idle(), "the first link is still to be told of the watermark"
    wire.outputs.emit(Batch([2]))
    assert not wire.outputs.idle(), "a record waits"
    for link in links:
        wire.outputs.grant(Grant(link, 1), 0.0)
    assert not wire.outputs.is_stalled()
    for link in links:
        if Delivery(link, Batch([2])) in wire.sent:
            wire.outputs.grant(Grant(link, 1), 0.0)
    assert wire.outputs.idle()
    assert wire.sent[-2:] == [Idle(link) for link in links]


def test_every_channel_gets_every_batch_and_lists_are_not_shared() -> None:
    first, second = links_to(1, 0), links_to(1, 1)
    wire = Wire(OutputSpec(Routing.FORWARD, first), OutputSpec(Routing.FORWARD, second))
    wire.outputs.emit(Batch([1, 2]))
    assert wire.values(first[0]) == wire.values(second[0]) == [1, 2]
    batches = [message.batch for message in wire.sent if isinstance(message, Delivery)]
    assert batches[0].values is not batches[1].values


def test_without_credit_batches_wait_are_joined_and_leave_in_order() -> None:
    (link,) = links_to(1)
    wire = Wire(OutputSpec(Routing.FORWARD, (link,)))
    for number in range(7):
        wire.outputs.emit(Batch([number]))
    assert wire.values(link) == [0, 1]
    assert wire.outputs.is_stalled()
    wire.outputs.grant(Grant(link, 2), 0.0)
    assert [len(m.batch) for m in wire.sent if isinstance(m, Delivery)] == [1, 1, 4, 1]
    assert wire.values(link) == list(range(7))
    assert not wire.outputs.is_stalled()


def test_round_robin_takes_turns_and_passes_over_who_has_no_credit() -> None:
    links = links_to(2)
    wire = Wire(OutputSpec(Routing.ROUND_ROBIN, links), max_records=1)
    for number in range(4):
        wire.outputs.emit(Batch([number]))
    assert (wire.values(links[0]), wire.values(links[1])) == ([0, 2], [1, 3])
    wire.outputs.grant(Grant(links[1], 2), 0.0)
    wire.outputs.emit(Batch([4]))
    wire.outputs.emit(Batch([5]))
    assert wire.values(links[1]) == [1, 3, 4, 5]


def test_keyed_batches_are_parted_and_one_full_partition_stalls_the_task() -> None:
    links = links_to(2)
    wire = Wire(OutputSpec(Routing.KEYED, links), max_records=1)
    wire.outputs.emit(Batch([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]))
    assert (wire.values(links[0]), wire.values(links[1])) == ([0, 2, 4], [1, 3])
    wire.outputs.emit(Batch([6, 8], [6, 8]))
    wire.outputs.emit(Batch([10], [10]))
    assert wire.outputs.is_stalled()


def test_a_completion_channel_carries_only_the_end() -> None:
    (data,), (done,) = links_to(1, 0), links_to(1, 1)
    wire = Wire(OutputSpec(Routing.FORWARD, (data,)), OutputSpec(Routing.COMPLETION, (done,)))
    wire.outputs.emit(Batch([1]))
    wire.outputs.end()
    assert wire.values(done) == []
    assert wire.sent[-2:] == [End(data), End(done)]


@given(
    routing=st.sampled_from([Routing.ROUND_ROBIN, Routing.KEYED]),
    num_links=st.integers(1, 4),
    batches=st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=9), max_size=30),
    num_batches=st.integers(1, 4),
)
def test_nothing_is_lost_or_doubled_and_keyed_order_is_kept(
    routing: Routing, num_links: int, batches: list[list[int]], num_batches: int
) -> None:
    links = links_to(num_links)
    wire = Wire(OutputSpec(routing, links), num_batches=num_batches)
    num_granted = dict.fromkeys(links, 0)
    for values in batches:
        wire.outputs.emit(Batch(values, values))
        while wire.outputs.is_stalled():
            for link in links:
                num_sent = sum(isinstance(m, Delivery) and m.link == link for m in wire.sent)
                if num_sent > num_granted[link]:
                    wire.outputs.grant(Grant(link, num_sent - num_granted[link]), 0.0)
                    num_granted[link] = num_sent
    sent = [value for values in batches for value in values]
    assert sorted(value for link in links for value in wire.values(link)) == sorted(sent)
    if routing is Routing.KEYED and num_links > 1:
        for number, link in enumerate(links):
            assert wire.values(link) == [value for value in sent if value % num_links == number]


def test_a_barrier_follows_what_was_emitted_on_every_link_of_every_channel_but_completions() -> None:
    first, second, done = links_to(2, 0), links_to(1, 1), links_to(1, 2)
    wire = Wire(
        OutputSpec(Routing.KEYED, first), OutputSpec(Routing.FORWARD, second), OutputSpec(Routing.COMPLETION, done)
    )
    wire.outputs.emit(Batch([1, 2], [1, 2]))
    wire.outputs.barrier(7)
    assert wire.sent[-3:] == [Barrier(first[0], 7), Barrier(first[1], 7), Barrier(second[0], 7)]


def test_a_batch_for_any_of_several_is_cut_and_its_watermark_follows_the_last_piece() -> None:
    links = links_to(2)
    wire = Wire(OutputSpec(Routing.ROUND_ROBIN, links), num_batches=8, max_records=1_000)
    numbers = list(range(FIRST_RECORDS + 3))
    wire.outputs.emit(Batch(numbers, numbers, [float(number) for number in numbers], 7.0))
    first, second, *_ = [message.batch for message in wire.sent if isinstance(message, Delivery)]
    assert (first.values, first.keys, first.watermark_s) == (numbers[:FIRST_RECORDS], numbers[:FIRST_RECORDS], None)
    assert (second.values, second.timestamps_s, second.watermark_s) == (numbers[-3:], [16.0, 17.0, 18.0], 7.0)
    assert [wire.values(link) for link in links] == [numbers[:FIRST_RECORDS], numbers[-3:]]


def test_a_batch_for_one_receiver_is_not_cut() -> None:
    (link,) = links_to(1)
    wire = Wire(OutputSpec(Routing.ROUND_ROBIN, (link,)), max_records=1_000)
    wire.outputs.emit(Batch(list(range(500))))
    assert [len(message.batch) for message in wire.sent if isinstance(message, Delivery)] == [500]
