"""A message there and back between two bare sockets of ZeroMQ in two processes: the limit of every other round trip.

Run as a module it is the far end. Knows nothing of ours.
"""

import subprocess
import sys
import tempfile
from statistics import median
from time import perf_counter

import zmq

_WAIT_MS = 30_000


def bare_trip_us(num_trips: int) -> float:
    """Return the median of `num_trips`, in microseconds; raises zmq.Again where no answer comes."""
    with tempfile.TemporaryDirectory(prefix="sage-") as directory, zmq.Context() as context:
        address = f"ipc://{directory}/bare"
        with context.socket(zmq.DEALER) as socket:
            socket.setsockopt(zmq.RCVTIMEO, _WAIT_MS)
            socket.bind(address)
            with subprocess.Popen([sys.executable, __file__, address]):
                socket.send(b"first")
                socket.recv()
                seconds = [_trip_s(socket) for _ in range(num_trips)]
                socket.send(b"")
    return median(seconds) * 1e6


def _trip_s(socket: "zmq.Socket[bytes]") -> float:
    began_s = perf_counter()
    socket.send(b"there and back")
    socket.recv()
    return perf_counter() - began_s


def main(address: str) -> None:
    """Send back what comes, until that is nothing."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.RCVTIMEO, _WAIT_MS)
        socket.connect(address)
        while message := socket.recv():
            socket.send(message)


if __name__ == "__main__":
    main(sys.argv[1])
