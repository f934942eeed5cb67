"""`sage-benchmark wire`: records a second from one process to another, and how long a small message takes both ways.

Knows records only as lists. Measured between two transports, without actors: encode, send, receive, decode, credit.
"""

import os
import queue
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec

from benchmarks.document import Result
from benchmarks.measure import Prepare, in_turns, median_ratio
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.rivals.environment import Say
from benchmarks.wire_peer import BACK, DOWN, ECHO, FAR, NEAR, OUT, PING, SINK, SOURCE, Keys, Orders, open_end
from benchmarks.wire_records import TYPES, len_record_bytes, records_of
from benchmarks.wire_wanted import Way, WireRival, WireWanted, WireWorkload
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
    """`engine` is the way, or a rival. `ratio_to_zmq`: against bare sockets over ipc with msgspec, where they are asked
    for: the median of the rounds. `mb_per_s` counts records as plain MessagePack, of `record_bytes` each. `wire_bytes`
    is what one takes on our wire, as columns; a round trip is that of a batch of one record. Rivals have neither."""

    records_per_s: float
    ratio_to_zmq: float | None = None
    mb_per_s: float
    record_bytes: float
    wire_bytes: float | None = None
    round_trip_p50_us: float | None = None
    round_trip_p99_us: float | None = None
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


def measure_wire(wanted: WireWanted, clock: Clock, say: Say) -> list[WireResult]:
    """Return a result a way and rival, for each workload; `say` is told which rivals cannot. Raises InternalError where
    not every record came as it was sent."""
    return [result for workload in wanted.workloads for result in _measure(workload, wanted, clock, say)]


def _measure(workload: WireWorkload, wanted: WireWanted, clock: Clock, say: Say) -> list[WireResult]:
    """All ways and rivals in turns; the round trips of ours after them."""
    records = records_of(workload, wanted.batch_records)
    num_batches = max(1, wanted.num_records // wanted.batch_records)
    num_records = num_batches * len(records)
    rivals = RivalsBeside(wanted.rivals, num_records, 0, len(records), clock, say)

    def is_right(outcome: object) -> bool:
        return outcome == (num_records, True)

    def check(way: str, outcome: object) -> None:
        if not is_right(outcome):
            raise InternalError(f"{way}: {num_records} records were sent and something else came: {outcome}")

    with ExitStack() as stack:
        ends = {way: stack.enter_context(_two_processes(way, workload, wanted.batch_records)) for way in wanted.ways}
        others = stack.enter_context(rivals.ready(f"wire-{workload}", is_right))
        own: dict[str, Prepare] = {way: _sending(*ends[way], records, num_batches) for way in ends}
        seconds = in_turns({**own, **others}, num_rounds=wanted.num_rounds, clock=clock, check=check)
        trips_us: dict[str, list[float]] = {way: _round_trips_us(*ends[way], records[:1], clock) for way in ends}
    bare_s = seconds.get(WireRival.ZMQ)
    return [
        _result(name, workload, records, num_records, (taken_s, bare_s), trips_us) for name, taken_s in seconds.items()
    ]


def _sending(transport: ZmqTransport, near: _Near, records: Sequence[Any], num_batches: int) -> Prepare:
    _send_all(transport, near, records, _NUM_WARM_UP)
    return lambda: lambda: _send_all(transport, near, records, num_batches)


def _result(
    name: str,
    workload: WireWorkload,
    records: list[Any],
    num_records: int,
    seconds: tuple[Sequence[float], Sequence[float] | None],
    trips_us: Mapping[str, Sequence[float]],
) -> WireResult:
    taken_s, bare_s = seconds
    records_per_s = num_records / median(taken_s)
    record_bytes = len_record_bytes(records)
    centiles_us = quantiles(trips_us[name], n=100) if name in trips_us else None
    on_wire = encode_batch(Batch(records), TYPES, where="wire") if name in trips_us else None
    return WireResult(
        engine=name,
        workload=workload,
        n=num_records,
        checked=True,
        simulated=False,
        records_per_s=round(records_per_s),
        ratio_to_zmq=round(median_ratio(bare_s, taken_s), 4) if bare_s is not None else None,
        mb_per_s=round(records_per_s * record_bytes / 1e6, 1),
        record_bytes=round(record_bytes, 1),
        wire_bytes=round(sum(map(len, on_wire)) / len(records), 1) if on_wire is not None else None,
        round_trip_p50_us=round(centiles_us[49], 1) if centiles_us is not None else None,
        round_trip_p99_us=round(centiles_us[98], 1) if centiles_us is not None else None,
        batch_records=len(records),
        num_rounds=len(taken_s),
    )


def _send_all(transport: ZmqTransport, near: _Near, records: Sequence[Any], num_batches: int) -> object:
    """Send within credit, and return what the far end says: how many came, and whether as they were."""
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
    return tuple(message.batch.values) if isinstance(message, Delivery) else message


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
