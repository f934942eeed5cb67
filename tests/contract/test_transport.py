"""What every transport between tasks must do. One suite; a transport joins by a fixture parameter."""

import queue
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.runtime.links import Delivery, End, Grant, Link, TaskMessage
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.ids import TaskId
from tests.contract.transport_ends import DEADLINE_S, Box, Ends, InprocEnds, ZmqCurveEnds, ZmqIpcEnds

LINK = Link(0, TaskId("job/source/0"), TaskId("job/sink/0"))


def receiver(box: Box) -> Callable[[TaskMessage], bool]:
    def receive(message: TaskMessage) -> bool:
        box.put(message)
        return True

    return receive


@pytest.fixture(params=[InprocEnds, ZmqIpcEnds, ZmqCurveEnds])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    with tempfile.TemporaryDirectory(prefix="sage-") as directory:
        made: Ends = request.param(Path(directory))
        made.join(LINK)
        yield made
        made.close()


@pytest.fixture
def box(ends: Ends) -> Box:
    """What comes for the link's sink."""
    box: Box = queue.SimpleQueue()
    ends.far.connect(LINK.target, receiver(box))
    return box


def test_messages_of_a_link_arrive_in_order_each_once(ends: Ends, box: Box) -> None:
    sent: list[TaskMessage] = [Delivery(LINK, Batch([number, "text"], [number, None])) for number in range(500)]
    sent.append(End(LINK))
    for message in sent:
        assert ends.near.send(message)
    assert [box.get(timeout=DEADLINE_S) for _ in sent] == sent
    assert box.empty()


def test_credit_goes_to_the_source_of_its_link(ends: Ends, box: Box) -> None:
    at_source: Box = queue.SimpleQueue()
    ends.near.connect(LINK.source, receiver(at_source))
    ends.far.send(Grant(LINK, 4))
    assert at_source.get(timeout=DEADLINE_S) == Grant(LINK, 4)
    assert box.empty()


def test_tasks_of_one_end_reach_each_other(ends: Ends) -> None:
    box: Box = queue.SimpleQueue()
    ends.near.connect(LINK.source, receiver(box))
    ends.near.send(End(Link(3, TaskId("job/other/0"), LINK.source)))
    assert box.get(timeout=DEADLINE_S) == End(Link(3, TaskId("job/other/0"), LINK.source))


def test_a_message_for_nobody_is_refused(ends: Ends) -> None:
    ends.near.send(End(LINK))
    ends.wait_gone(LINK.target)
    assert not ends.near.send(End(LINK))


def test_a_message_for_a_task_that_left_is_refused(ends: Ends, box: Box) -> None:
    ends.far.disconnect(LINK.target)
    ends.far.disconnect(LINK.target)
    ends.near.send(Delivery(LINK, Batch([1])))
    ends.wait_gone(LINK.target)
    assert not ends.near.send(Delivery(LINK, Batch([2])))
    assert box.empty()


def test_a_message_that_its_task_does_not_take_is_refused(ends: Ends) -> None:
    ends.far.connect(LINK.target, lambda _: False)
    ends.near.send(End(LINK))
    ends.wait_gone(LINK.target)
    assert not ends.near.send(End(LINK))


def test_a_task_is_connected_once(ends: Ends, box: Box) -> None:
    with pytest.raises(InternalError, match="twice"):
        ends.far.connect(LINK.target, receiver(box))


def test_many_senders_reach_one_receiver_and_none_is_reordered(ends: Ends, box: Box) -> None:
    links = [Link(0, TaskId(f"job/source/{number}"), LINK.target) for number in range(4)]
    for link in links:
        ends.join(link)

    def send(link: Link) -> None:
        for number in range(50):
            ends.near.send(Delivery(link, Batch([number])))

    threads = [threading.Thread(target=send, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    came: dict[Link, list[object]] = {link: [] for link in links}
    for _ in range(200):
        message = box.get(timeout=DEADLINE_S)
        assert isinstance(message, Delivery)
        came[message.link].extend(message.batch.values)
    for thread in threads:
        thread.join(DEADLINE_S)
    assert all(numbers == list(range(50)) for numbers in came.values())


def test_many_links_share_two_ends_both_ways(ends: Ends) -> None:
    links = [Link(i, TaskId(f"job/source/{i}"), TaskId(f"job/sink/{i}")) for i in range(100)]
    at_sources: Box = queue.SimpleQueue()
    at_sinks: Box = queue.SimpleQueue()
    for link in links:
        ends.join(link)
        ends.near.connect(link.source, receiver(at_sources))
        ends.far.connect(link.target, receiver(at_sinks))
    for link in links:
        ends.near.send(Delivery(link, Batch([link.channel])))
        ends.far.send(Grant(link, 1))
    assert {box_message.link for box_message in (at_sinks.get(timeout=DEADLINE_S) for _ in links)} == set(links)
    assert {box_message.link for box_message in (at_sources.get(timeout=DEADLINE_S) for _ in links)} == set(links)


def test_a_large_batch_arrives_whole(ends: Ends, box: Box) -> None:
    text = "x" * 40_000_000  # beyond what one frame may hold
    ends.near.send(Delivery(LINK, Batch([text, "small"])))
    ends.near.send(End(LINK))
    message = box.get(timeout=DEADLINE_S)
    assert isinstance(message, Delivery)
    assert message.batch.values == [text, "small"]
    assert box.get(timeout=DEADLINE_S) == End(LINK)


def test_arrays_arrive_as_they_were_and_may_be_written_to(ends: Ends, box: Box) -> None:
    large = np.arange(5_000_000)  # of 40 MB: in pieces
    arrays: list[Any] = [np.ones((300, 1000), np.float32), np.arange(5), np.zeros((0, 2)), large]
    ends.near.send(Delivery(LINK, Batch(arrays)))
    message = box.get(timeout=DEADLINE_S)
    assert isinstance(message, Delivery)
    for came, sent in zip(message.batch.values, arrays, strict=True):
        assert came.dtype == sent.dtype
        assert np.array_equal(came, sent)
        assert came.flags.writeable
