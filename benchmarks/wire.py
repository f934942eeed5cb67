"""`sage-benchmark wire`: records a second from one process to another, and how long a small message takes both ways.

Knows records only as lists. Measured between two transports, without actors: encode, send, receive, decode, credit.
"""

import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec

from benchmarks.document import Result
from benchmarks.wire_peer import BACK, DOWN, ECHO, FAR, NEAR, OUT, PING, SINK, SOURCE, Keys, Orders, open_end
from benchmarks.wire_records import TYPES, len_record_bytes, records_of
from benchmarks.wire_wanted import Way, WireWanted, WireWorkload
from cluster.runtime.credit import SenderCredit
from cluster.runtime.data_thread import DataFact, PeerJoined
from cluster.runtime.keys import new_curve_keys
from cluster.runtime.links import Delivery, End, Grant, TaskMessage
from cluster.runtime.records import encode_batch
from cluster.runtime.transport import Receive
from cluster.runtime.zmq_transport import ZmqTransport
from sage.base.batch import Batch
from sage.base.clock import Clock
from sage.base.errors import InternalError
from sage.base.settings import RuntimeSettings

NUM_ROUND_TRIPS = 3000
_NUM_WARM_UP = 50
_WAIT_S = 60.0
_ROOT = Path(__file__).resolve().parents[1]


class WireResult(Result, frozen=True, kw_only=True):
    """`engine` is the way. `mb_per_s` counts records as plain MessagePack, of `record_bytes` each; `wire_bytes` is what
    one takes on the wire, as columns. A round trip is that of a batch of one record."""

    records_per_s: float
    mb_per_s: float
    record_bytes: float
    wire_bytes: float
    round_trip_p50_us: float
    round_trip_p99_us: float
    batch_records: int
    num_rounds: int


@dataclass(slots=True)
class _Near:
    """This process's end: what came for the source and for whoever waits for an echo."""

    credit: SenderCredit = field(default_factory=lambda: SenderCredit(RuntimeSettings().inbox_batches))
    facts: "queue.SimpleQueue[DataFact]" = field(default_factory=queue.SimpleQueue)
    for_source: "queue.SimpleQueue[TaskMessage]" = field(default_factory=queue.SimpleQueue)
    for_ping: "queue.SimpleQueue[TaskMessage]" = field(default_factory=queue.SimpleQueue)

    def open(self, address: str, keys: Keys | None) -> ZmqTransport:
        transport = open_end(NEAR, address, keys, self.facts.put)
        for task_id in (SINK, ECHO):
            transport.route(task_id, FAR, types=TYPES)
        transport.connect(SOURCE, _into(self.for_source))
        transport.connect(PING, _into(self.for_ping))
        return transport


def measure_wire(wanted: WireWanted, clock: Clock) -> list[WireResult]:
    """Return a result a way and workload; raises InternalError where not every record came as it was sent."""
    return [_measure(way, workload, wanted, clock) for way in wanted.ways for workload in wanted.workloads]


def _measure(way: Way, workload: WireWorkload, wanted: WireWanted, clock: Clock) -> WireResult:
    records = records_of(workload, wanted.batch_records)
    num_batches = max(1, wanted.num_records // wanted.batch_records)
    with _two_processes(way, workload, wanted.batch_records) as (transport, near):
        _send_all(transport, near, records, _NUM_WARM_UP)
        seconds = []
        for _ in range(wanted.num_rounds):
            began_s = clock.monotonic_s()
            _send_all(transport, near, records, num_batches)
            seconds.append(clock.monotonic_s() - began_s)
        trips_us = _round_trips_us(transport, near, records[:1], clock)
    records_per_s = num_batches * len(records) / median(seconds)
    record_bytes = len_record_bytes(records)
    centiles_us = quantiles(trips_us, n=100)
    return WireResult(
        engine=way,
        workload=workload,
        n=num_batches * len(records),
        checked=True,
        simulated=False,
        records_per_s=round(records_per_s),
        mb_per_s=round(records_per_s * record_bytes / 1e6, 1),
        record_bytes=round(record_bytes, 1),
        wire_bytes=round(sum(map(len, encode_batch(Batch(records), TYPES, where="wire"))) / len(records), 1),
        round_trip_p50_us=round(centiles_us[49], 1),
        round_trip_p99_us=round(centiles_us[98], 1),
        batch_records=len(records),
        num_rounds=wanted.num_rounds,
    )


def _send_all(transport: ZmqTransport, near: _Near, records: Sequence[Any], num_batches: int) -> None:
    """Send within credit, and wait until the far end says that all came, and as it was."""
    for _ in range(num_batches):
        while near.credit.is_stalled() or not near.for_source.empty():
            grant = near.for_source.get(timeout=_WAIT_S)
            assert isinstance(grant, Grant), grant
            near.credit.grant(grant.num_batches)
        near.credit.spend()
        transport.send(Delivery(DOWN, Batch(records)))
    transport.send(End(DOWN))
    while isinstance(message := near.for_source.get(timeout=_WAIT_S), Grant):
        near.credit.grant(message.num_batches)
    if not isinstance(message, Delivery) or message.batch.values != [num_batches * len(records), True]:
        raise InternalError(f"{num_batches * len(records)} records were sent and something else came: {message}")


def _round_trips_us(transport: ZmqTransport, near: _Near, records: Sequence[Any], clock: Clock) -> list[float]:
    trips_us = []
    for _ in range(NUM_ROUND_TRIPS):
        began_s = clock.monotonic_s()
        transport.send(Delivery(OUT, Batch(records)))
        came = near.for_ping.get(timeout=_WAIT_S)
        trips_us.append((clock.monotonic_s() - began_s) * 1e6)
        if came != Delivery(BACK, Batch(list(records))):
            raise InternalError(f"another message came back than was sent: {came}")
    return trips_us


@contextmanager
def _two_processes(way: Way, workload: WireWorkload, batch_records: int) -> Iterator[tuple[ZmqTransport, _Near]]:
    with tempfile.TemporaryDirectory(prefix="sage-") as directory:
        near = _Near()
        own, other = _keys() if way is Way.CURVE else (None, None)
        transport = near.open(_address(way, directory, "near"), own)
        orders = Orders(
            address=_address(way, directory, "far"),
            near_address=transport.address,
            keys=other,
            workload=workload,
            batch_records=batch_records,
            num_batches=RuntimeSettings().inbox_batches,
        )
        try:
            with _far_process(orders) as address:
                transport.add_peer(FAR, address, own.other_public_key if own is not None else None)
                if not isinstance(fact := near.facts.get(timeout=_WAIT_S), PeerJoined):
                    raise InternalError(f"the far process did not answer: {fact}")
                yield transport, near
                transport.close()  # before the far process, which would be missed
        finally:
            transport.close()


@contextmanager
def _far_process(orders: Orders) -> Iterator[str]:
    """Run the far process; yield where it listens. It ends with its standard input."""
    command = [sys.executable, "-P", "-m", "benchmarks.wire_peer"]
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(orders) + b"\n")
        process.stdin.flush()
        yield process.stdout.readline().decode().strip()


def _keys() -> tuple[Keys, Keys]:
    near, far = new_curve_keys(), new_curve_keys()
    return (
        Keys(near.public_key, near.secret_key, far.public_key),
        Keys(far.public_key, far.secret_key, near.public_key),
    )


def _address(way: Way, directory: str, name: str) -> str:
    return f"ipc://{directory}/{name}" if way is Way.IPC else "tcp://127.0.0.1:*"


def _into(box: "queue.SimpleQueue[TaskMessage]") -> Receive:
    def receive(message: TaskMessage) -> bool:
        box.put(message)
        return True

    return receive
