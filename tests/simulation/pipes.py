"""What stands between a simulated socket and one peer: what waits to go out, what has come. Knows no network."""

import errno
from collections import deque
from typing import Protocol

import zmq

from tests.simulation.connections import Connection, Frames


class NothingThere(zmq.Again):
    """As zmq.Again; libzmq is not asked for its text, ten thousand times a story."""

    def __init__(self) -> None:
        Exception.__init__(self, "nothing is there")
        self.errno = errno.EAGAIN


class Owner(Protocol):
    """The socket of a pipe."""

    machine: str
    options: dict[int, int]

    def arrived(self, pipe: "Pipe") -> None:
        """Something is in the inbox."""
        ...

    def signal(self) -> None:
        """There is something new about it."""
        ...

    def disconnected(self, pipe: "Pipe") -> None: ...


class SimulatedFrame:
    """A part of a message as it was received."""

    def __init__(self, data: bytes, *, more: bool) -> None:
        self.bytes = data
        self.more = more

    @property
    def buffer(self) -> memoryview:
        return memoryview(self.bytes)

    def get(self, name: str) -> str:
        raise zmq.ZMQError(errno.EINVAL)  # nobody's key: there are none here


class Pipe:
    """What goes between a socket and one peer; an End of a connection, where it has one."""

    def __init__(self, socket: "Owner", routing: bytes) -> None:
        self.socket = socket
        self.routing = routing
        self.machine = socket.machine
        self.beats = socket.options.get(int(zmq.HEARTBEAT_IVL), 0) > 0
        self.connection: Connection | None = None
        self.inbox: deque[Frames] = deque()
        self.is_over = False  # once the inbox is empty it is forgotten
        self.is_asleep = True  # its reader has found nothing, and is to be told
        self._outbox: deque[Frames] = deque()
        self._num_counted = 0  # against the bound: it learns of what has left in lumps of half of it
        self._num_left = 0

    @property
    def has_room(self) -> bool:
        return not self.is_over and self._num_counted < self.socket.options[int(zmq.SNDHWM)]

    def put(self, frames: Frames) -> None:
        self._num_counted += 1
        self._outbox.append(frames)
        if self.connection is not None:
            self.connection.pump(self)

    def got(self) -> Frames:
        frames = self.inbox.popleft()
        if self.connection is not None:
            self.connection.drain(self)
        return frames

    # The end of a connection.

    def next_out(self) -> Frames | None:
        if not self._outbox:
            return None
        self._num_left += 1
        if self._num_left >= (self.socket.options[int(zmq.SNDHWM)] + 1) // 2:
            was_full = not self.has_room
            self._num_counted -= self._num_left
            self._num_left = 0
            if was_full:
                self.socket.signal()
        return self._outbox.popleft()

    def takes(self) -> bool:
        return len(self.inbox) < self.socket.options[int(zmq.RCVHWM)]

    def arrive(self, frames: Frames) -> bool:
        longest = self.socket.options[int(zmq.MAXMSGSIZE)]
        if longest >= 0 and max(map(len, frames)) > longest:
            return False
        self.inbox.append(frames)
        self.socket.arrived(self)
        return True

    def lost(self) -> None:
        self.connection = None
        self.socket.disconnected(self)
