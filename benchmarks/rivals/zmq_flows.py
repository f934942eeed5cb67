"""Records from one process to another by bare sockets of ZeroMQ and msgspec: the limit of what we do above both.

Imports nothing of SAGE.
"""

import multiprocessing
import tempfile
from collections.abc import Callable
from time import perf_counter
from typing import Any

import msgspec
import zmq

from benchmarks.pace import SteadyPace
from benchmarks.rivals.across_processes import form_across
from benchmarks.rivals.rival_wanted import NUM_AHEAD, NUM_WARM_UP, Form, RivalWanted
from benchmarks.wire_fields import Tally, records_with
from benchmarks.wire_wanted import WireWorkload

_WAIT_MS = 120_000
_END, _STOP = b"", b"\xc0"
_fork = multiprocessing.get_context("fork")


class BareEvent(msgspec.Struct):
    """A record of the workload `struct`."""

    id: int
    key: str
    ts: int
    value: float
    text: str


def prepare(asked: RivalWanted) -> Callable[[], Form] | None:
    """Return what makes a run ready; None where the workload is not known here."""
    return form_across(asked, _wire, _latency)


def _wire(asked: RivalWanted, workload: WireWorkload) -> Form:
    """A socket with room for NUM_AHEAD batches. An empty frame ends a run, `nil` the far process."""
    records = records_with(BareEvent, workload, asked.batch_records)
    folder = tempfile.TemporaryDirectory(prefix="rival-")
    address = f"ipc://{folder.name}/wire"
    far = _fork.Process(target=_take_all, args=(address, workload, records), daemon=True)
    far.start()
    context = zmq.Context()
    socket = _socket(context)
    socket.bind(address)
    encode = msgspec.msgpack.Encoder().encode
    found: list[Any] = []

    def send(num_batches: int) -> Any:
        for _ in range(num_batches):
            socket.send(encode(records))
        socket.send(_END)
        return tuple(msgspec.msgpack.decode(socket.recv()))

    def outcome() -> Any:
        socket.send(_STOP)
        far.join(_WAIT_MS / 1000)
        socket.close()
        context.term()
        folder.cleanup()
        return found[-1]

    send(NUM_WARM_UP)
    return lambda: found.append(send((asked.num_records or 0) // asked.batch_records)), outcome


def _take_all(address: str, workload: WireWorkload, expected: list[Any]) -> None:
    types: dict[WireWorkload, Any] = {WireWorkload.STRUCT: list[BareEvent], WireWorkload.ROW: list[tuple[Any, ...]]}
    decode = msgspec.msgpack.Decoder(types.get(workload, list[Any])).decode
    tally = Tally(expected)
    with zmq.Context() as context, _socket(context) as socket:
        socket.connect(address)
        while (frame := socket.recv(copy=False).buffer) != _STOP:
            if len(frame):
                tally.take(decode(frame))
            else:
                socket.send(msgspec.msgpack.encode(tally.end()))


def _latency(asked: RivalWanted) -> Form:
    """A message a record, numbered; all ages come back after the last."""
    num_records = (asked.num_records or 0) + 1  # the first of a run is left out
    folder = tempfile.TemporaryDirectory(prefix="rival-")
    address = f"ipc://{folder.name}/latency"
    far = _fork.Process(target=_age_all, args=(address, num_records), daemon=True)
    far.start()
    context = zmq.Context()
    socket = _socket(context)
    socket.bind(address)
    socket.send(b"first")
    socket.recv()
    encode = msgspec.msgpack.Encoder().encode
    ages_s: list[float] = []

    def run() -> None:
        pace = SteadyPace(asked.every_s)
        for number in range(num_records):
            socket.send(encode((number, pace.wait())))
        ages_s.extend(msgspec.msgpack.decode(socket.recv()))

    def outcome() -> list[float]:
        far.join(_WAIT_MS / 1000)
        socket.close()
        context.term()
        folder.cleanup()
        return ages_s

    return run, outcome


def _age_all(address: str, num_records: int) -> None:
    decode = msgspec.msgpack.Decoder(tuple[int, float]).decode
    ages_s: list[float] = []
    with zmq.Context() as context, _socket(context) as socket:
        socket.connect(address)
        socket.send(socket.recv())
        for expected in range(num_records):
            number, given_s = decode(socket.recv())
            age_s = perf_counter() - given_s
            assert number == expected
            ages_s.append(age_s)
        socket.send(msgspec.msgpack.encode(ages_s))


def _socket(context: "zmq.Context[zmq.Socket[bytes]]") -> "zmq.Socket[bytes]":
    socket = context.socket(zmq.PAIR)
    socket.set_hwm(NUM_AHEAD)
    socket.setsockopt(zmq.RCVTIMEO, _WAIT_MS)
    socket.setsockopt(zmq.SNDTIMEO, _WAIT_MS)
    return socket
