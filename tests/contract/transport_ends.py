"""Two ends of a transport, for the suite that every transport passes: sources on one, sinks on the other."""

import queue
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cluster.runtime.allow_list import AllowedKey, AllowList, Role
from cluster.runtime.data_sockets import CurveSockets, DataSockets, PrivateSockets
from cluster.runtime.data_thread import DataFact, PeerJoined, TaskGone
from cluster.runtime.inproc import InprocTransport
from cluster.runtime.keys import new_curve_keys
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


def node(name: NodeId, address: str, sockets: DataSockets) -> Node:
    facts: queue.SimpleQueue[DataFact] = queue.SimpleQueue()
    return Node(ZmqTransport(name, address, sockets, report=facts.put, clock=SystemClock()), facts)


def meet(
    one: Node,
    other: Node,
    *,
    names: tuple[NodeId, NodeId] = (NEAR, FAR),
    keys: tuple[str | None, str | None] = (None, None),
) -> None:
    """Let two nodes know each other, and wait until both answer."""
    one.transport.add_peer(names[1], other.transport.address, keys[1])
    other.transport.add_peer(names[0], one.transport.address, keys[0])
    for its in (one, other):
        its.wait_for(lambda fact: isinstance(fact, PeerJoined))


class ZmqEnds:
    """Two nodes of one process."""

    def __init__(self, one: Node, other: Node, types: RecordTypes | None = None) -> None:
        self._types = types or RecordTypes()
        self.one, self.other = one, other
        self.near: Transport = one.transport
        self.far: Transport = other.transport

    def join(self, link: Link) -> None:
        self.one.transport.route(link.target, FAR, types=self._types)
        self.other.transport.route(link.source, NEAR, types=self._types)

    def wait_gone(self, task_id: TaskId) -> None:
        self.one.wait_for(lambda fact: isinstance(fact, TaskGone) and fact.task_id == task_id)

    def close(self) -> None:
        self.one.transport.close()
        self.other.transport.close()


class ZmqIpcEnds(ZmqEnds):
    """Over `ipc://`."""

    def __init__(self, directory: Path, types: RecordTypes | None = None) -> None:
        one = node(NEAR, f"ipc://{directory}/near", PrivateSockets())
        other = node(FAR, f"ipc://{directory}/far", PrivateSockets())
        super().__init__(one, other, types)
        meet(one, other)


class ZmqCurveEnds(ZmqEnds):
    """Over `tcp://` with CURVE, each on the other's list."""

    def __init__(self, _: Path) -> None:
        keys = self.keys = [new_curve_keys() for _ in range(3)]
        allowed = AllowList(tuple(AllowedKey(own.public_key, Role.NODE, "node", 0.0) for own in keys))
        clock = SystemClock()
        self._third = CurveSockets(keys[2], lambda: allowed, clock)
        one = node(NEAR, "tcp://127.0.0.1:*", CurveSockets(keys[0], lambda: allowed, clock))
        other = node(FAR, "tcp://127.0.0.1:*", CurveSockets(keys[1], lambda: allowed, clock))
        super().__init__(one, other)
        meet(one, other, keys=(keys[0].public_key, keys[1].public_key))

    def liar(self, name: NodeId) -> Node:
        """Return a third node, on the list, that takes another's name."""
        return node(name, "tcp://127.0.0.1:*", self._third)
