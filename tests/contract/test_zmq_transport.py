"""What only a transport between processes must do: notice loss and lies, and leave nothing behind."""

import os
import queue
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pytest
import zmq

from cluster.runtime.allow_list import AllowedKey, AllowList, Role
from cluster.runtime.curve import ClientTrust, connect
from cluster.runtime.data_sockets import CurveSockets, PrivateSockets
from cluster.runtime.data_thread import DataFact, PeerLost
from cluster.runtime.keys import new_curve_keys
from cluster.runtime.links import Delivery, End, Link
from cluster.runtime.record_types import record_types_of
from cluster.runtime.wire import WIRE_VERSION, Refused, Welcome, hello, read_to_connector
from sage.base.batch import Batch
from sage.base.clock import SystemClock
from sage.base.errors import ConfigInvalid, InternalError, NodeLost, RecordUnsendable, WireMismatch
from sage.base.ids import NodeId, TaskId
from tests.contract.test_transport import LINK, receiver
from tests.contract.transport_ends import DEADLINE_S, FAR, NEAR, Box, ZmqCurveEnds, ZmqIpcEnds, meet, node


class Point(msgspec.Struct):
    x: int


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sage-") as directory:
        yield Path(directory)


@pytest.fixture
def ends(directory: Path) -> Iterator[ZmqIpcEnds]:
    ends = ZmqIpcEnds(directory)
    ends.join(LINK)
    yield ends
    ends.close()


@pytest.fixture
def box(ends: ZmqIpcEnds) -> Box:
    box: Box = queue.SimpleQueue()
    ends.far.connect(LINK.target, receiver(box))
    return box


def is_lost(fact: DataFact) -> bool:
    return isinstance(fact, PeerLost)


def test_a_node_that_is_let_in_a_moment_later_is_heard_and_nothing_is_lost() -> None:
    clock, keys, was_asked = SystemClock(), [new_curve_keys() for _ in range(2)], threading.Event()
    box: Box = queue.SimpleQueue()
    both = AllowList(tuple(AllowedKey(own.public_key, Role.NODE, "node", 0.0) for own in keys))
    admitted = [AllowList()]

    def far_list() -> AllowList:
        was_asked.set()
        return admitted[0]

    one = node(NEAR, "tcp://127.0.0.1:*", CurveSockets(keys[0], lambda: both, clock))
    other = node(FAR, "tcp://127.0.0.1:*", CurveSockets(keys[1], far_list, clock))
    try:
        other.transport.connect(LINK.target, receiver(box))
        other.transport.route(LINK.source, NEAR)
        other.transport.add_peer(NEAR, one.transport.address, keys[0].public_key)
        one.transport.route(LINK.target, FAR)
        one.transport.add_peer(FAR, other.transport.address, keys[1].public_key)
        assert one.transport.send(Delivery(LINK, Batch([1])))
        assert was_asked.wait(DEADLINE_S)
        assert box.empty()
        admitted[0] = both
        assert box.get(timeout=DEADLINE_S) == Delivery(LINK, Batch([1]))
    finally:
        one.transport.close()
        other.transport.close()


class Stranger:
    """A DEALER that says what it likes to a listening node."""

    def __init__(self, address: str) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1000))
        self._socket.connect(address)

    def say(self, *frames: bytes) -> None:
        self._socket.send_multipart(frames)

    def hear(self) -> object:
        return read_to_connector(self._socket.recv())

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


@pytest.fixture
def stranger(ends: ZmqIpcEnds) -> Iterator[Stranger]:
    stranger = Stranger(ends.other.transport.address)
    yield stranger
    stranger.close()


def end_frame(number: int, *, epoch: int = 0, source: str = LINK.source, wire: int = WIRE_VERSION) -> bytes:
    return msgspec.msgpack.encode(["end", wire, number, epoch, 0, source, LINK.target])


def test_classes_of_the_table_travel(directory: Path) -> None:
    ends = ZmqIpcEnds(directory, record_types_of([Point]))
    box: Box = queue.SimpleQueue()
    ends.join(LINK)
    ends.far.connect(LINK.target, receiver(box))
    ends.near.send(Delivery(LINK, Batch([Point(1)])))
    assert box.get(timeout=DEADLINE_S) == Delivery(LINK, Batch([Point(1)]))
    ends.close()


def test_a_record_that_cannot_travel_fails_its_sender_and_no_other(ends: ZmqIpcEnds, box: Box) -> None:
    with pytest.raises(RecordUnsendable, match=r"task job/source/0 sends .*Point"):
        ends.near.send(Delivery(LINK, Batch([Point(1)])))
    ends.near.send(End(LINK))
    assert box.get(timeout=DEADLINE_S) == End(LINK)


def test_a_large_array_is_a_view_of_what_was_received(ends: ZmqIpcEnds, box: Box) -> None:
    ends.near.send(Delivery(LINK, Batch([np.arange(200_000)])))
    message = box.get(timeout=DEADLINE_S)
    assert isinstance(message, Delivery)
    assert not message.batch.values[0].flags.owndata


def test_a_message_of_another_epoch_is_dropped_and_its_sender_told(ends: ZmqIpcEnds, box: Box) -> None:
    ends.one.transport.route(LINK.target, FAR, epoch=1)
    ends.near.send(End(LINK))
    ends.wait_gone(LINK.target)
    ends.other.transport.route(LINK.source, NEAR, epoch=2)
    ends.one.transport.route(LINK.target, FAR, epoch=2)
    ends.near.send(Delivery(LINK, Batch(["new"])))
    assert box.get(timeout=DEADLINE_S) == Delivery(LINK, Batch(["new"]))
    assert ends.other.transport.stats().num_not_here == 1


def test_a_node_that_closes_is_reported_and_gets_nothing_more(ends: ZmqIpcEnds) -> None:
    ends.other.transport.close()
    lost = ends.one.wait_for(is_lost)
    assert isinstance(lost, PeerLost)
    assert isinstance(lost.error, NodeLost)
    assert not ends.near.send(End(LINK))


def test_a_node_that_drops_another_ends_both_ways_and_they_may_meet_again(ends: ZmqIpcEnds, box: Box) -> None:
    ends.other.transport.drop_peer(NEAR)
    ends.one.wait_for(is_lost)
    meet(ends.one, ends.other)
    ends.join(LINK)
    ends.near.send(End(LINK))
    assert box.get(timeout=DEADLINE_S) == End(LINK)


def test_a_node_may_be_dropped_while_many_threads_send_to_it(ends: ZmqIpcEnds, box: Box) -> None:
    def send() -> list[bool]:
        return [ends.near.send(Delivery(LINK, Batch([1]))) for _ in range(5_000)]

    with ThreadPoolExecutor(4) as pool:
        sent = [pool.submit(send) for _ in range(4)]
        assert isinstance(box.get(timeout=DEADLINE_S), Delivery)
        ends.one.transport.drop_peer(FAR)
    for each in sent:
        assert each.result() == sorted(each.result(), reverse=True)  # refused once, and from then on


def test_a_message_of_a_node_that_was_added_counts_from_the_first(directory: Path) -> None:
    for number in range(20):
        one = node(NEAR, f"ipc://{directory}/near-{number}", PrivateSockets())
        other = node(FAR, f"ipc://{directory}/far-{number}", PrivateSockets())
        box: Box = queue.SimpleQueue()
        other.transport.connect(LINK.target, receiver(box))
        other.transport.route(LINK.source, NEAR)
        one.transport.route(LINK.target, FAR)
        one.transport.add_peer(FAR, other.transport.address)
        other.transport.add_peer(NEAR, one.transport.address)
        one.transport.send(End(LINK))
        assert box.get(timeout=DEADLINE_S) == End(LINK)
        one.transport.close()
        other.transport.close()


def test_a_peer_is_added_once(ends: ZmqIpcEnds) -> None:
    with pytest.raises(InternalError, match="twice"):
        ends.one.transport.add_peer(FAR, ends.other.transport.address)


def test_another_node_than_the_one_wanted_is_refused(ends: ZmqIpcEnds) -> None:
    ends.one.transport.add_peer(NodeId("elsewhere"), ends.other.transport.address)
    lost = ends.one.wait_for(is_lost)
    assert isinstance(lost, PeerLost)
    assert "looks for node elsewhere" in lost.error.what


def test_an_address_that_cannot_be_listened_on_is_refused(directory: Path) -> None:
    class Taken(PrivateSockets):
        def listen(self, socket: "zmq.Socket[bytes]", address: str) -> str:
            raise ConfigInvalid(f"{address} is taken")

    with pytest.raises(ConfigInvalid, match="is taken"):
        node(NEAR, f"ipc://{directory}/near", Taken())


def test_a_peer_of_another_wire_version_is_refused_by_name(ends: ZmqIpcEnds, stranger: Stranger) -> None:
    stranger.say(msgspec.msgpack.encode(["hello", 99, 0, "old", FAR]))
    answer = stranger.hear()
    assert isinstance(answer, Refused)
    assert "wire version 99" in answer.why


def test_a_listener_of_another_wire_version_is_refused_by_name(ends: ZmqIpcEnds, directory: Path) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        socket.setsockopt(zmq.RCVTIMEO, int(DEADLINE_S * 1000))
        socket.bind(f"ipc://{directory}/old")
        ends.one.transport.add_peer(NodeId("old"), f"ipc://{directory}/old")
        identity, _ = socket.recv_multipart()
        socket.send_multipart([identity, msgspec.msgpack.encode(["welcome", 99, "old"])])
        lost = ends.one.wait_for(is_lost)
    assert isinstance(lost, PeerLost)
    assert isinstance(lost.error, WireMismatch)


@pytest.mark.parametrize(
    "frames",
    [
        [b"rubbish"],
        [end_frame(0)],
        [hello(NodeId("x"), NodeId("somebody"))],
        [hello(NodeId("x"), FAR), hello(NodeId("x"), FAR)],
        [hello(NodeId("x"), FAR), end_frame(2)],
        [hello(NodeId("x"), FAR), end_frame(1), end_frame(1)],
        [hello(NodeId("x"), FAR), b"\xc1"],
    ],
)
def test_who_breaks_the_protocol_is_told_and_not_heard_any_more(
    ends: ZmqIpcEnds, box: Box, stranger: Stranger, frames: list[bytes]
) -> None:
    for frame in frames:
        stranger.say(frame)
    while not isinstance(stranger.hear(), Refused):
        pass
    stranger.say(hello(NodeId("x"), FAR))
    ends.near.send(End(LINK))
    assert box.get(timeout=DEADLINE_S) == End(LINK)
    assert ends.other.transport.stats().num_refused == 1


def test_a_node_speaks_for_its_own_tasks_only(ends: ZmqIpcEnds, box: Box, stranger: Stranger, directory: Path) -> None:
    ends.other.transport.add_peer(NodeId("x"), f"ipc://{directory}/x")
    stranger.say(hello(NodeId("x"), FAR))
    assert stranger.hear() == Welcome(WIRE_VERSION, FAR)
    stranger.say(end_frame(1))
    answer = stranger.hear()
    assert getattr(answer, "task", None) == LINK.target
    assert box.empty()


def test_a_message_that_a_task_refuses_loudly_ends_its_sender(ends: ZmqIpcEnds) -> None:
    def receive(_: object) -> bool:
        raise InternalError("the data lane of a mailbox is full")

    ends.far.connect(LINK.target, receive)
    ends.near.send(End(LINK))
    lost = ends.one.wait_for(is_lost)
    assert isinstance(lost, PeerLost)
    assert "mailbox is full" in lost.error.what


def test_closing_leaves_no_thread_descriptor_or_file(directory: Path) -> None:
    def held() -> tuple[int, int]:
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    before = held()
    for _ in range(3):
        ends = ZmqIpcEnds(directory)
        ends.join(LINK)
        ends.near.send(Delivery(LINK, Batch([np.arange(1_000_000)])))
        ends.wait_gone(LINK.target)
        ends.close()
        ends.close()
    assert held() == before
    assert list(directory.iterdir()) == []


def test_links_to_three_nodes_do_not_mix(directory: Path) -> None:
    names = [NodeId("a"), NodeId("b"), NodeId("c")]
    nodes = [node(name, f"ipc://{directory}/{name}", PrivateSockets()) for name in names]
    box: Box = queue.SimpleQueue()
    for number, one in enumerate(nodes[:2]):
        meet(one, nodes[2], names=(names[number], names[2]))
        link = Link(number, TaskId(f"job/source/{number}"), LINK.target)
        one.transport.route(link.target, names[2])
        nodes[2].transport.route(link.source, names[number])
    nodes[2].transport.connect(LINK.target, receiver(box))
    for number, one in enumerate(nodes[:2]):
        one.transport.send(End(Link(number, TaskId(f"job/source/{number}"), LINK.target)))
    assert {box.get(timeout=DEADLINE_S).link.channel for _ in range(2)} == {0, 1}
    for one in nodes:
        one.transport.close()


def test_a_node_whose_key_is_not_listed_gets_no_word_in(directory: Path) -> None:
    listed, stranger = new_curve_keys(), new_curve_keys()
    clock = SystemClock()
    other = node(FAR, "tcp://127.0.0.1:*", CurveSockets(listed, AllowList, clock))
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        connect(socket, other.transport.address, ClientTrust(stranger, listed.public_key))
        socket.send(b"rubbish")
        assert monitor.poll(int(DEADLINE_S * 1000))
        socket.disable_monitor()
        monitor.close()
    assert other.transport.stats().num_refused == 0
    other.transport.close()


def test_a_listed_node_cannot_speak_for_another(directory: Path) -> None:
    """Its key is on the list, its name is another's: what it says in that name does not count, and changes nothing."""
    ends = ZmqCurveEnds(directory)
    box: Box = queue.SimpleQueue()
    ends.join(LINK)
    ends.far.connect(LINK.target, receiver(box))
    liar = ends.liar(NEAR)
    liar.transport.add_peer(FAR, ends.other.transport.address, ends.keys[1].public_key)
    liar.transport.route(LINK.target, FAR)
    liar.transport.send(End(LINK))
    liar.wait_for(is_lost)
    assert box.empty()
    ends.near.send(Delivery(LINK, Batch([1])))
    assert box.get(timeout=DEADLINE_S) == Delivery(LINK, Batch([1]))
    liar.transport.close()
    ends.close()
