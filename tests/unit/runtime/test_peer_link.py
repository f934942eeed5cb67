"""The connection to a peer, of which any thread sends: what the peer answers meanwhile is heard."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from cluster.runtime.data_sockets import PrivateSockets
from cluster.runtime.links import End, Link
from cluster.runtime.outgoing import Outgoing, Peer
from cluster.runtime.peer_link import PeerLink
from cluster.runtime.wire import WIRE_VERSION, Outbound, Refused, Welcome, reply
from sage.base.ids import NodeId, TaskId

DEADLINE_MS = 10_000
OWN, PEER = NodeId("near"), NodeId("far")
END = Outbound(End(Link(0, TaskId("source"), TaskId("sink"))), 1)


@pytest.fixture
def context() -> Iterator["zmq.Context[zmq.Socket[bytes]]"]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield context
    context.destroy(linger=0)


def test_an_answer_that_a_sender_came_upon_is_heard_though_nothing_else_comes(
    context: "zmq.Context[zmq.Socket[bytes]]",
) -> None:
    """Else a node went on sending to a peer that had refused it, for ever (a simulated cluster found it)."""
    with tempfile.TemporaryDirectory(prefix="sage-") as folder:
        address = f"ipc://{Path(folder) / 'far'}"
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.RCVTIMEO, DEADLINE_MS)
        router.bind(address)
        outgoing = Outgoing(Peer(PEER, address))
        link = PeerLink(context, PrivateSockets(), outgoing, OWN, now_s=0.0)
        assert link.monitor.poll(DEADLINE_MS)
        link.watch(0.0)
        identity, _ = router.recv_multipart()
        welcome, refused = Welcome(WIRE_VERSION, PEER), Refused(WIRE_VERSION, PEER, "it says nonsense")
        router.send_multipart([identity, reply(welcome)])
        assert link.socket.poll(DEADLINE_MS)
        assert link.pump() == [welcome]
        link.welcomed(welcome)
        assert not link.has_work()
        router.send_multipart([identity, reply(refused)])
        assert link.socket.poll(DEADLINE_MS)
        outgoing.put(END)
        assert link.send_here()
        assert len(outgoing) == 0
        assert link.has_work()
        assert link.pump() == [refused]
        assert not link.has_work()
        link.close()
        router.close(linger=0)
