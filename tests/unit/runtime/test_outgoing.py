"""What waits for a peer, and which tasks are there."""

import pytest

from cluster.runtime.links import End, Grant, Link
from cluster.runtime.outgoing import Outgoing, Peer
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.routes import Route, Routes
from cluster.runtime.wire import Outbound
from sage.base.errors import InternalError
from sage.base.ids import NodeId, TaskId

LINK = Link(0, TaskId("job/source/0"), TaskId("job/sink/0"))
END, CREDIT = Outbound(End(LINK), 0), Outbound(Grant(LINK, 1), 0)
A, B = NodeId("a"), NodeId("b")
TASK = TaskId("job/sink/0")


def route(peer: NodeId, epoch: int) -> Route:
    return Route(peer, epoch, RecordTypes())


def test_credit_overtakes_what_else_waits() -> None:
    outgoing = Outgoing(Peer(A, "ipc:///a"))
    for outbound in (END, CREDIT):
        outgoing.put(outbound)
    assert [outgoing.take(), outgoing.take(), outgoing.take()] == [CREDIT, END, None]


def test_what_could_not_be_sent_is_next_again() -> None:
    outgoing = Outgoing(Peer(A, "ipc:///a"))
    first = Outbound(End(LINK), 1)
    outgoing.put(first)
    outgoing.put(END)
    taken = outgoing.take()
    assert taken is not None
    outgoing.put_back(taken)
    assert outgoing.take() == first


def test_more_than_credit_allows_is_refused() -> None:
    outgoing = Outgoing(Peer(A, "ipc:///a"), num_waiting=2)
    outgoing.put(END)
    outgoing.put(END)
    with pytest.raises(InternalError, match="credit was not respected"):
        outgoing.put(END)
    outgoing.put(CREDIT)
    assert len(outgoing) == 3


def test_a_task_has_ended_where_its_peer_says_so() -> None:
    routes = Routes()
    routes.add(TASK, route(A, 1))
    assert not routes.end(TASK, B, 1)
    assert not routes.end(TASK, A, 0)
    assert routes.end(TASK, A, 1)
    assert not routes.end(TASK, A, 1)
    assert routes.has_ended(TASK)


def test_a_task_of_a_new_epoch_has_not_ended() -> None:
    routes = Routes()
    routes.add(TASK, route(A, 1))
    routes.end(TASK, A, 1)
    routes.add(TASK, route(A, 2))
    assert not routes.has_ended(TASK)


def test_the_tasks_of_a_peer_are_forgotten_with_it() -> None:
    routes = Routes()
    routes.add(TASK, route(A, 1))
    routes.add(TaskId("other"), route(B, 1))
    routes.remove_peer(A)
    assert routes.find(TASK) is None
    assert routes.find(TaskId("other")) is not None
