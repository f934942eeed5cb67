"""Event time between tasks: timestamps stay with their records, and no watermark overtakes one."""

from collections import deque
from collections.abc import Iterable
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.runtime.columns import BadFrame
from cluster.runtime.inputs import Inputs, InputSpec
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link
from cluster.runtime.outputs import Outputs, OutputSpec
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.records import decode_batch, encode_batch
from operators.partition import Partitioner
from sage.base.batch import Batch
from sage.base.ids import TaskId
from sage.flow.plan import Routing

LEFT = Link(0, TaskId("a/0"), TaskId("b/0"))
RIGHT = Link(0, TaskId("a/1"), TaskId("b/0"))


def timed(*times: float, watermark_s: float | None = None) -> Batch:
    """Records that are their own times, each its own key."""
    return Batch(list(times), list(times), list(times), watermark_s)


def taken(inputs: Inputs) -> list[Batch]:
    batches = []
    while inputs.has_batch():
        batches.append(inputs.take()[0])
    return batches


def test_the_watermark_of_a_task_is_the_least_of_its_links_and_told_when_it_rises() -> None:
    inputs = Inputs([InputSpec(LEFT), InputSpec(RIGHT)], num_batches=4)
    inputs.add(Delivery(LEFT, timed(5, watermark_s=5)))
    inputs.add(Delivery(RIGHT, timed(3, watermark_s=3)))
    inputs.add(Delivery(LEFT, timed(6, watermark_s=4)))
    inputs.add(Delivery(RIGHT, timed(9, watermark_s=9)))
    assert [batch.watermark_s for batch in taken(inputs)] == [None, 3, None, 5]


def test_a_link_without_part_in_the_time_of_its_task_neither_holds_nor_moves_it() -> None:
    rules = Link(1, TaskId("c/0"), TaskId("b/0"))
    inputs = Inputs([InputSpec(LEFT, port=0), InputSpec(rules, port=1, is_timeless=True)], num_batches=4)
    inputs.add(Delivery(rules, Batch(["rule"], watermark_s=99)))
    inputs.add(Delivery(LEFT, timed(5, watermark_s=5)))
    assert [(batch.values, batch.keys, batch.watermark_s) for batch in taken(inputs)] == [
        ([(1, "rule")], (None,), None),
        ([(0, 5)], [5], 5),
    ]
    inputs.idle(Idle(rules))
    assert not inputs.is_idle()
    inputs.idle(Idle(LEFT))
    assert inputs.is_idle()
    inputs.end(End(rules))
    inputs.end(End(LEFT))
    assert inputs.watermark_s == 5
    assert inputs.is_over()


def test_a_link_that_ends_holds_the_watermark_back_until_what_came_before_is_taken() -> None:
    inputs = Inputs([InputSpec(LEFT), InputSpec(RIGHT)], num_batches=4)
    inputs.add(Delivery(RIGHT, timed(8, watermark_s=8)))
    inputs.add(Delivery(LEFT, timed(1)))
    inputs.end(End(LEFT))
    assert taken(inputs) == [timed(8), timed(1), Batch((), watermark_s=8)]
    inputs.end(End(RIGHT))
    assert inputs.is_over()


def test_an_idle_link_holds_nothing_back_until_something_comes_on_it() -> None:
    inputs = Inputs([InputSpec(LEFT), InputSpec(RIGHT)], num_batches=4)
    inputs.add(Delivery(RIGHT, timed(8, watermark_s=8)))
    inputs.add(Delivery(LEFT, timed(1, watermark_s=1)))
    inputs.idle(Idle(LEFT))
    assert [batch.watermark_s for batch in taken(inputs)] == [None, 1, 8]
    assert not inputs.is_idle()
    inputs.add(Delivery(LEFT, timed(3, watermark_s=3)))
    inputs.add(Delivery(RIGHT, timed(9, watermark_s=9)))
    inputs.add(Delivery(LEFT, timed(20, watermark_s=20)))
    assert [batch.watermark_s for batch in taken(inputs)] == [None, None, 9]
    inputs.idle(Idle(LEFT))
    inputs.idle(Idle(RIGHT))
    assert inputs.is_idle()
    assert taken(inputs) == [], "a watermark does not rise where nothing is to be expected"
    inputs.end(End(LEFT))
    assert inputs.is_idle(), "what has ended is not waited for either"
    inputs.end(End(RIGHT))
    assert inputs.is_over()


def test_a_link_is_idle_only_after_what_came_before_was_taken() -> None:
    inputs = Inputs([InputSpec(LEFT), InputSpec(RIGHT)], num_batches=4)
    inputs.add(Delivery(LEFT, timed(1, watermark_s=1)))
    inputs.idle(Idle(LEFT))
    inputs.idle(Idle(RIGHT))
    assert not inputs.is_idle()
    taken(inputs)
    assert inputs.is_idle()


def test_an_idle_link_is_told_again_after_a_checkpoint() -> None:
    inputs = Inputs([InputSpec(LEFT, is_completion=True), InputSpec(RIGHT)], num_batches=4)
    inputs.add(Delivery(RIGHT, timed(1, watermark_s=1)))
    inputs.idle(Idle(RIGHT))
    assert inputs.waiting() == (timed(1, watermark_s=1),)


def test_a_watermark_alone_joins_the_batch_that_waits_before_it() -> None:
    sent: list[Delivery | Idle | Barrier | End] = []
    outputs = Outputs(
        [OutputSpec(Routing.FORWARD, (LEFT,))], sent.append, Partitioner().split, num_batches=1, max_records=10
    )
    outputs.emit(Batch((), watermark_s=1.0))
    outputs.emit(timed(2, 3))
    outputs.emit(Batch((), watermark_s=2.0))
    outputs.emit(timed(4, watermark_s=3.0))
    outputs.grant(Grant(LEFT, 1), 0.0)
    assert sent == [Delivery(LEFT, Batch((), watermark_s=1.0)), Delivery(LEFT, timed(2, 3, 4, watermark_s=3.0))]


def test_every_partition_hears_of_a_watermark() -> None:
    parts = dict(Partitioner().split(timed(1, 2, watermark_s=2), 7))
    assert {part.watermark_s for part in parts.values()} == {2}
    assert len(parts) == 7
    assert sorted(time for part in parts.values() for time in part.timestamps_s or ()) == [1, 2]
    assert all(part.timestamps_s == part.values for part in parts.values())


@pytest.mark.parametrize("batch", [timed(0.1, -3, 2**60, watermark_s=-0.5), Batch((), watermark_s=inf), timed()])
def test_event_time_travels(batch: Batch) -> None:
    came = decode_batch(encode_batch(batch, RecordTypes({}), where="step x"), RecordTypes({}))
    assert (came.timestamps_s, came.watermark_s) == (batch.timestamps_s, batch.watermark_s)


def test_timestamps_that_are_too_few_are_refused() -> None:
    buffers = encode_batch(Batch([1], None, [1.0]), RecordTypes({}), where="step x")
    bad = bytes(buffers[0]).replace(b"\xc4\x08" + bytes(6) + b"\xf0\x3f", b"\xc4\x00")
    with pytest.raises(BadFrame, match="0 timestamps of 1 records"):
        decode_batch([bad, *buffers[1:]], RecordTypes({}))


class Exchange:
    """Senders and receivers of one channel; what is sent comes when the test lets it."""

    def __init__(self, routing: Routing, num_senders: int, num_receivers: int, num_batches: int) -> None:
        ways = [
            tuple(Link(0, TaskId(f"a/{sender}"), TaskId(f"b/{at}")) for at in range(num_receivers))
            for sender in range(num_senders)
        ]
        self.on_way: dict[Link, deque[Delivery | Idle | Barrier | End]] = {
            link: deque() for links in ways for link in links
        }
        self.senders = [
            Outputs(
                [OutputSpec(routing, links)], self.carry, Partitioner().split, num_batches=num_batches, max_records=4
            )
            for links in ways
        ]
        self.receivers = [
            Inputs([InputSpec(links[at]) for links in ways], num_batches=num_batches) for at in range(num_receivers)
        ]

    def carry(self, message: Delivery | Idle | Barrier | End) -> None:
        self.on_way[message.link].append(message)

    def moves(self, ended: set[int]) -> Iterable[tuple[str, int | Link]]:
        for at, outputs in enumerate(self.senders):
            if at not in ended and not outputs.is_stalled():
                yield "send", at
                yield "rest", at
        yield from (("carry", link) for link, messages in self.on_way.items() if messages)
        yield from (("take", at) for at, inputs in enumerate(self.receivers) if inputs.has_batch())

    def deliver(self, link: Link) -> None:
        inputs = self.receivers[int(link.target[2:])]
        match self.on_way[link].popleft():
            case Delivery() as delivery:
                inputs.add(delivery)
            case Barrier() as barrier:
                inputs.bar(barrier)
            case Idle() as idle:
                inputs.idle(idle)
            case End() as end:
                inputs.end(end)

    def take(self, at: int) -> Batch:
        batch, grant = self.receivers[at].take()
        if grant is not None:
            self.senders[int(grant.link.source[2:])].grant(grant, 0.0)
        return batch


@settings(deadline=None)
@given(
    routing=st.sampled_from([Routing.ROUND_ROBIN, Routing.KEYED]),
    num_senders=st.integers(1, 3),
    num_receivers=st.integers(1, 4),
    num_batches=st.integers(1, 3),
    data=st.data(),
)
def test_no_watermark_overtakes_a_record_and_all_of_them_arrive(
    routing: Routing, num_senders: int, num_receivers: int, num_batches: int, data: st.DataObject
) -> None:
    exchange = Exchange(routing, num_senders, num_receivers, num_batches)
    to_send = [
        deque(number + sender / 4 for number in range(data.draw(st.integers(0, 12)))) for sender in range(num_senders)
    ]
    ended: set[int] = set()
    were_idle: set[float] = set()
    watermark_s = [-inf] * num_receivers
    num_taken = 0
    num_sent = sum(map(len, to_send))

    while choices := list(exchange.moves(ended)):
        match data.draw(st.sampled_from(choices)):
            case "rest", int(at):
                exchange.senders[at].idle()
                were_idle.add(at / 4)
            case "send", int(at) if to_send[at]:
                time_s = to_send[at].popleft()
                has_watermark = data.draw(st.booleans())
                exchange.senders[at].emit(timed(time_s, watermark_s=time_s if has_watermark else None))
            case "send", int(at):
                exchange.senders[at].end()
                ended.add(at)
            case _, Link() as link:
                exchange.deliver(link)
            case _, int(at):
                batch = exchange.take(at)
                num_taken += len(batch)
                assert batch.timestamps_s is None or list(batch.timestamps_s) == list(batch.values)
                assert all(time_s >= watermark_s[at] or time_s % 1 in were_idle for time_s in batch.values)
                if batch.watermark_s is not None:
                    assert batch.watermark_s > watermark_s[at], "told when it rises"
                    watermark_s[at] = batch.watermark_s
    assert num_taken == num_sent
    assert all(inputs.is_over() for inputs in exchange.receivers)
