"""Two ends of a transport, for the suite that every transport passes: sources on one, sinks on the other."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import zmq

from cluster.runtime.data_sockets import Context, Keeper
from cluster.runtime.data_thread import DataFact, PeerJoined, TaskGone
from cluster.runtime.inproc import InprocTransport
from cluster.runtime.links import Link, TaskMessage
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.transport import Transport
from cluster.runtime.zmq_transport import ZmqTransport
from sage.base.clock import SystemClock
from sage.base.ids import NodeId, TaskId

DEADLINE_S = 10.0

Box = queue.SimpleQueue[TaskMessage]
NEAR, FAR = NodeId("near"), NodeId("far")


class Ends(Protocol):
    """`near` holds sources, `far` sinks."""

    near: Transport
    far: Transport

    def join(self, link: Link) -> None:
        """Let both ends know where the link's tasks are."""
        ...

    def wait_gone(self, task_id: TaskId) -> None:
        """Wait until the near end was told that a task is not there."""
        ...

    def close(self) -> None: ...


class InprocEnds:
    """Both ends are one; a call needs no waiting."""

    def __init__(self, _: Path) -> None:
        self.near: Transport = InprocTransport()
        self.far = self.near

    def join(self, link: Link) -> None:
        pass

    def wait_gone(self, task_id: TaskId) -> None:
        pass

    def close(self) -> None:
        pass


class IpcSockets:
    """Sockets in a folder that its user alone may enter: no keys."""

    def keeper(self, context: Context) -> Keeper | None:
        return None

    def listen(self, socket: "zmq.Socket[bytes]", address: str) -> str:
        socket.bind(address)
        return address

    def connect(self, socket: "zmq.Socket[bytes]", address: str, public_key: str | None) -> None:
        socket.connect(address)

    def key_of(self, frame: zmq.Frame) -> str | None:
        return None


@dataclass
class Node:
    """A transport and what it reported."""

    transport: ZmqTransport
    facts: "queue.SimpleQueue[DataFact]"
    seen: list[DataFact] = field(default_factory=list)

    def wait_for(self, is_it: Callable[[DataFact], bool]) -> DataFact:
        """Return the first fact that `is_it`, waiting for it; what came before is kept for others."""
        for fact in self.seen:
            if is_it(fact):
                self.seen.remove(fact)
                return fact
        while not is_it(fact := self.facts.get(timeout=DEADLINE_S)):
            self.seen.append(fact)
        return fact


def node(name: NodeId, address: str, sockets: IpcSockets) -> Node:
    facts: queue.SimpleQueue[DataFact] = queue.SimpleQueue()
    return Node(ZmqTransport(name, address, sockets, report=facts.put, clock=SystemClock()), facts)


def meet(one: Node, other: Node, *, names: tuple[NodeId, NodeId] = (NEAR, FAR)) -> None:
    """Let two nodes know each other, and wait until both answer."""
    one.transport.add_peer(names[1], other.transport.address)
    other.transport.add_peer(names[0], one.transport.address)
    for its in (one, other):
        its.wait_for(lambda fact: isinstance(fact, PeerJoined))


class ZmqIpcEnds:
    """Two nodes of one process over `ipc://`."""

    def __init__(self, directory: Path, types: RecordTypes | None = None) -> None:
        self._types = types or RecordTypes()
        self.one = node(NEAR, f"ipc://{directory}/near", IpcSockets())
        self.other = node(FAR, f"ipc://{directory}/far", IpcSockets())
        self.near: Transport = self.one.transport
        self.far: Transport = self.other.transport
        meet(self.one, self.other)

    def join(self, link: Link) -> None:
        self.one.transport.route(link.target, FAR, types=self._types)
        self.other.transport.route(link.source, NEAR, types=self._types)

    def wait_gone(self, task_id: TaskId) -> None:
        self.one.wait_for(lambda fact: isinstance(fact, TaskGone) and fact.task_id == task_id)

    def close(self) -> None:
        self.one.transport.close()
        self.other.transport.close()
