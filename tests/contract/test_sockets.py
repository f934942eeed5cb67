"""What we rely on in ZeroMQ's sockets, tried on libzmq and on the simulated ones: the fake is as the real is."""

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import zmq

from tests.contract.socket_benches import Bench, RealBench, SimulatedBench, events, received

_MANY = 20_000


@pytest.fixture(params=[RealBench, SimulatedBench])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made: Bench = request.param()
    yield made
    made.close()


def listener(bench: Bench, *options: tuple[int, int]) -> Any:
    socket = bench.socket(zmq.ROUTER)
    for option, value in ((zmq.LINGER, 0), (zmq.ROUTER_MANDATORY, 1), *options):
        socket.setsockopt(option, value)
    socket.bind(bench.address)
    return socket


def connector(bench: Bench, *options: tuple[int, int]) -> Any:
    socket = bench.socket(zmq.DEALER)
    for option, value in ((zmq.LINGER, 0), *options):
        socket.setsockopt(option, value)
    return socket


def joined(bench: Bench, *options: tuple[int, int]) -> tuple[Any, Any, bytes]:
    """Return both ends, and by what the listening one knows the other."""
    near, far = connector(bench, *options), listener(bench)
    near.connect(bench.address)
    near.send_multipart([b"join", b"now"], zmq.NOBLOCK)
    return near, far, first(bench, far)[0]


def first(bench: Bench, socket: Any) -> list[bytes]:
    """Wait for a message."""
    return messages(bench, socket, 1)[0]


def messages(bench: Bench, socket: Any, num: int) -> list[list[bytes]]:
    """Wait for so many messages; fails where there are more."""
    came: list[list[bytes]] = []

    def have_come() -> bool:
        came.extend(received(socket))
        return len(came) >= num

    bench.wait(have_come)
    assert len(came) == num
    return came


def taken(send: Callable[[], object]) -> bool:
    try:
        send()
    except zmq.Again:
        return False
    return True


def test_messages_come_whole_and_in_order_both_ways(bench: Bench) -> None:
    near, far, peer = joined(bench)
    sent = [[b"%d" % number, b"x" * number] for number in range(200)]
    for socket, other, begin in ((near, far, []), (far, near, [peer])):
        for message in sent:
            socket.send_multipart([*begin, *message], zmq.NOBLOCK)
        assert [message[-2:] for message in messages(bench, other, len(sent))] == sent


def test_what_was_sent_before_anybody_listened_comes(bench: Bench) -> None:
    near = connector(bench)
    near.connect(bench.address)
    near.send(b"early", zmq.NOBLOCK)
    bench.settle()
    far = listener(bench)
    assert first(bench, far)[1:] == [b"early"]


def test_each_connection_is_another_peer(bench: Bench) -> None:
    far = listener(bench)
    for number in range(3):
        near = connector(bench)
        near.connect(bench.address)
        near.send(b"%d" % number, zmq.NOBLOCK)
    assert len({message[0] for message in messages(bench, far, 3)}) == 3


def test_whoever_is_not_there_cannot_be_sent_to(bench: Bench) -> None:
    near, far, peer = joined(bench)
    with pytest.raises(zmq.ZMQError) as unknown:
        far.send_multipart([b"nobody", b"text"], zmq.NOBLOCK)
    assert unknown.value.errno == errno.EHOSTUNREACH
    near.close(linger=0)
    bench.settle()
    received(far)
    with pytest.raises(zmq.ZMQError) as gone:
        far.send_multipart([peer, b"text"], zmq.NOBLOCK)
    assert gone.value.errno == errno.EHOSTUNREACH


def test_a_peer_that_does_not_read_is_sent_to_within_bounds_and_nothing_is_lost(bench: Bench) -> None:
    near, far, _ = joined(bench, (zmq.SNDHWM, 10))
    num = next(number for number in range(_MANY) if not taken(lambda: near.send(bytes(100_000), zmq.NOBLOCK)))
    assert num >= 5  # libzmq counts those that wait, and learns in lumps of those that do not
    assert len(messages(bench, far, num)) == num
    bench.wait(lambda: taken(lambda: near.send(b"on", zmq.NOBLOCK)))
    assert first(bench, far)[1:] == [b"on"]


def test_a_descriptor_tells_of_what_comes_after_a_look_that_found_nothing(bench: Bench) -> None:
    near, far, peer = joined(bench)
    bench.settle()
    assert received(near) == []
    assert not bench.is_readable(near.fileno())
    far.send_multipart([peer, b"one"], zmq.NOBLOCK)
    bench.wait(lambda: bench.is_readable(near.fileno()))
    assert near.recv(zmq.NOBLOCK) == b"one"
    far.send_multipart([peer, b"two"], zmq.NOBLOCK)
    bench.settle()
    assert not bench.is_readable(near.fileno())
    assert near.get(zmq.EVENTS) & zmq.POLLIN


def test_a_monitor_tells_of_a_connection_and_of_its_end(bench: Bench) -> None:
    near = connector(bench)
    monitor = bench.monitor(near, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
    near.connect(bench.address)
    far = listener(bench)
    bench.wait(lambda: bool(monitor.poll(0)))
    assert events(monitor) == [zmq.EVENT_HANDSHAKE_SUCCEEDED]
    far.close(linger=0)
    bench.wait(lambda: bool(monitor.poll(0)))
    assert events(monitor) == [zmq.EVENT_DISCONNECTED]


def test_a_connection_that_is_not_made_anew_takes_unread_messages_with_it(bench: Bench) -> None:
    near, far, peer = joined(bench, (zmq.RECONNECT_IVL, -1))
    bench.settle()
    assert received(near) == []
    far.send_multipart([peer, b"last"], zmq.NOBLOCK)
    far.close(linger=1000)
    bench.settle()
    assert received(near) == []
    assert not taken(lambda: near.send(b"text", zmq.NOBLOCK))


def test_a_connection_that_is_made_anew_keeps_unread_messages_and_is_another_peer(bench: Bench) -> None:
    near, far, peer = joined(bench, (zmq.RECONNECT_IVL, 100))
    bench.settle()
    assert received(near) == []
    far.send_multipart([peer, b"last"], zmq.NOBLOCK)
    far.close(linger=1000)
    bench.settle()
    assert received(near) == [[b"last"]]
    near.send(b"again", zmq.NOBLOCK)
    again, text = first(bench, listener(bench))
    assert text == b"again"
    assert again != peer


def test_what_a_peer_said_before_it_ended_is_read(bench: Bench) -> None:
    near, far, _ = joined(bench)
    near.send(b"last", zmq.NOBLOCK)
    near.close(linger=1000)
    bench.settle()
    assert [message[1:] for message in received(far)] == [[b"last"]]


def test_too_long_a_message_ends_the_connection(bench: Bench) -> None:
    near = connector(bench, (zmq.RECONNECT_IVL, -1))
    monitor = bench.monitor(near, zmq.EVENT_DISCONNECTED)
    far = listener(bench, (zmq.MAXMSGSIZE, 1000))
    near.connect(bench.address)
    near.send(bytes(1001), zmq.NOBLOCK)
    bench.wait(lambda: bool(monitor.poll(0)))
    assert received(far) == []
