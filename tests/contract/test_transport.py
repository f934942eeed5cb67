"""What every transport between tasks must do. One suite; a transport joins by a fixture parameter."""

import queue
import threading
from collections.abc import Callable

import pytest

from cluster.runtime.inproc import InprocTransport
from cluster.runtime.links import Delivery, End, Grant, Link, TaskMessage
from cluster.runtime.transport import Transport
from sage.base.batch import Batch
from sage.base.errors import InternalError
from sage.base.ids import TaskId

DEADLINE_S = 10.0
LINK = Link(0, TaskId("job/source/0"), TaskId("job/sink/0"))

Box = queue.SimpleQueue[TaskMessage]


def receiver(box: Box) -> Callable[[TaskMessage], bool]:
    def receive(message: TaskMessage) -> bool:
        box.put(message)
        return True

    return receive


@pytest.fixture(params=[InprocTransport])
def transport(request: pytest.FixtureRequest) -> Transport:
    made: Transport = request.param()
    return made


def test_messages_of_a_link_arrive_in_order_each_once(transport: Transport) -> None:
    box: Box = queue.SimpleQueue()
    transport.connect(LINK.target, receiver(box))
    sent: list[TaskMessage] = [Delivery(LINK, Batch([number, "text"], [number, None])) for number in range(100)]
    sent.append(End(LINK))
    for message in sent:
        assert transport.send(message)
    assert [box.get(timeout=DEADLINE_S) for _ in sent] == sent
    assert box.empty()


def test_credit_goes_to_the_source_of_its_link(transport: Transport) -> None:
    at_source: Box = queue.SimpleQueue()
    at_target: Box = queue.SimpleQueue()
    transport.connect(LINK.source, receiver(at_source))
    transport.connect(LINK.target, receiver(at_target))
    transport.send(Grant(LINK, 4))
    assert at_source.get(timeout=DEADLINE_S) == Grant(LINK, 4)
    assert at_target.empty()


def test_a_message_for_nobody_is_refused(transport: Transport) -> None:
    assert not transport.send(End(LINK))
    transport.connect(LINK.target, receiver(queue.SimpleQueue()))
    transport.disconnect(LINK.target)
    transport.disconnect(LINK.target)
    assert not transport.send(End(LINK))


def test_a_task_is_connected_once(transport: Transport) -> None:
    transport.connect(LINK.target, receiver(queue.SimpleQueue()))
    with pytest.raises(InternalError, match="twice"):
        transport.connect(LINK.target, receiver(queue.SimpleQueue()))


def test_many_senders_reach_one_receiver_and_none_is_reordered(transport: Transport) -> None:
    box: Box = queue.SimpleQueue()
    transport.connect(LINK.target, receiver(box))
    links = [Link(0, TaskId(f"job/source/{number}"), LINK.target) for number in range(4)]

    def send(link: Link) -> None:
        for number in range(50):
            transport.send(Delivery(link, Batch([number])))

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
