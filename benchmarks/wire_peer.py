"""The far process of `sage-benchmark wire`: takes batches, gives credit and counts; sends small messages back.

It gets its orders on standard input, a line, says where it listens on standard output, and ends with its input.
"""

import sys
from collections.abc import Callable

import msgspec

from benchmarks.wire_records import TYPES, records_of
from benchmarks.wire_wanted import WireWorkload
from cluster.runtime.allow_list import AllowedKey, AllowList, Role
from cluster.runtime.credit import ReceiverCredit
from cluster.runtime.data_sockets import CurveSockets, DataSockets, PrivateSockets
from cluster.runtime.data_thread import DataFact
from cluster.runtime.keys import CurveKeys
from cluster.runtime.links import Barrier, Delivery, End, Grant, Idle, Link, TaskMessage
from cluster.runtime.zmq_transport import ZmqTransport
from sage.base.batch import Batch
from sage.base.clock import SystemClock
from sage.base.ids import NodeId, TaskId
from sage.base.log import set_up_log
from sage.base.settings import LogSettings

NEAR, FAR = NodeId("near"), NodeId("far")
SOURCE, SINK, PING, ECHO = TaskId("wire/source/0"), TaskId("wire/sink/0"), TaskId("wire/ping/0"), TaskId("wire/echo/0")
DOWN, RESULT = Link(0, SOURCE, SINK), Link(1, SINK, SOURCE)
OUT, BACK = Link(2, PING, ECHO), Link(3, ECHO, PING)


class Keys(msgspec.Struct, frozen=True):
    """Both ends' keys as one end knows them: its own pair and the other's public half."""

    public_key: str
    secret_key: str
    other_public_key: str


class Orders(msgspec.Struct, frozen=True):
    """Where to listen and whom to meet, and what will come. `keys`: for `tcp://` with CURVE."""

    address: str
    near_address: str
    keys: Keys | None
    workload: WireWorkload
    batch_records: int
    num_batches: int


def open_end(node: NodeId, address: str, keys: Keys | None, report: Callable[[DataFact], object]) -> ZmqTransport:
    """Return the transport of one end, listening; with keys both are on its list."""
    clock = SystemClock()
    sockets: DataSockets = PrivateSockets()
    if keys is not None:
        listed = (keys.public_key, keys.other_public_key)
        allowed = AllowList(tuple(AllowedKey(key, Role.NODE, "wire", 0.0) for key in listed))
        sockets = CurveSockets(CurveKeys(keys.public_key, keys.secret_key), lambda: allowed, clock)
    return ZmqTransport(node, address, sockets, report=report, clock=clock)


class WireSink:
    """Takes what comes down, on the data thread. Each batch is looked at, the last one record by record."""

    def __init__(self, orders: Orders, transport: ZmqTransport) -> None:
        self._transport = transport
        self._expected = records_of(orders.workload, orders.batch_records)
        self._credit = ReceiverCredit(orders.num_batches)
        self._num_records = 0
        self._is_right = True
        self._last: Batch | None = None

    def take(self, message: TaskMessage) -> bool:
        match message:
            case Delivery(_, batch):
                self._num_records += len(batch)
                self._is_right &= batch.values[-1] == self._expected[-1]
                self._last = batch
                if num_batches := self._credit.processed():
                    self._transport.send(Grant(DOWN, num_batches))
            case End():
                is_right = self._is_right and self._last is not None and self._last.values == self._expected
                self._transport.send(Delivery(RESULT, Batch([self._num_records, is_right])))
                self._num_records, self._is_right, self._last = 0, True, None
            case Grant() | Barrier() | Idle():
                pass
        return True


def main() -> int:
    """Serve one near end until standard input ends."""
    set_up_log(LogSettings(level="error"))
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    transport = open_end(FAR, orders.address, orders.keys, lambda _: None)
    for task_id in (SOURCE, PING):
        transport.route(task_id, NEAR, types=TYPES)
    transport.connect(SINK, WireSink(orders, transport).take)
    transport.connect(ECHO, lambda message: _echo(transport, message))
    near_key = orders.keys.other_public_key if orders.keys is not None else None
    transport.add_peer(NEAR, orders.near_address, near_key)
    print(transport.address, flush=True)
    sys.stdin.buffer.read()
    transport.close()
    return 0


def _echo(transport: ZmqTransport, message: TaskMessage) -> bool:
    assert isinstance(message, Delivery)
    return transport.send(Delivery(BACK, message.batch))


if __name__ == "__main__":
    sys.exit(main())
