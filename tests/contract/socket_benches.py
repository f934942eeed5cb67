"""Where sockets of both kinds are tried: libzmq's in this process, the simulated ones in a world of their own."""

import select
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, Protocol

import zmq

from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric
from tests.simulation.world import World

DEADLINE_S = 10.0
_LOOK_EVERY_S = 0.005
_QUIET_S = 0.2


class Bench(Protocol):
    """`address` is where a socket may be bound."""

    address: str

    def socket(self, kind: int) -> Any:
        """Return a socket that ends with the bench."""
        ...

    def monitor(self, socket: Any, told: int) -> Any:
        """Return what tells of these events of `socket`."""
        ...

    def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait until it `is_so`; fails where that takes too long."""
        ...

    def settle(self) -> None:
        """Let happen what happens by itself."""
        ...

    def is_readable(self, fd: int) -> bool: ...

    def close(self) -> None: ...


class RealBench:
    """libzmq over `ipc://`."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sage-")
        self._context: Any = zmq.Context()
        self._sockets: list[Any] = []
        self._monitors: list[Any] = []
        self.address = f"ipc://{self._folder.name}/a"

    def socket(self, kind: int) -> Any:
        self._sockets.append(self._context.socket(kind))
        return self._sockets[-1]

    def monitor(self, socket: Any, told: int) -> Any:
        self._monitors.append(socket.get_monitor_socket(told))
        return self._monitors[-1]

    def wait(self, is_so: Callable[[], bool]) -> None:
        until_s = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < until_s, "it has not come about"
            select.select([], [], [], _LOOK_EVERY_S)

    def settle(self) -> None:
        select.select([], [], [], _QUIET_S)

    def is_readable(self, fd: int) -> bool:
        return bool(select.select([fd], [], [], 0.0)[0])

    def close(self) -> None:
        for socket in self._sockets:
            if not socket.closed:
                socket.disable_monitor()
        for socket in [*self._monitors, *self._sockets]:
            socket.close(linger=0)
        self._context.term()
        self._folder.cleanup()


class SimulatedBench:
    """Two sockets of one machine."""

    def __init__(self) -> None:
        self.world = World(1)
        machines = Machines(self.world)
        machines.add(self.world.here)
        self._context: Any = Fabric(machines).context("here")
        self.address = "ipc:///a"

    def socket(self, kind: int) -> Any:
        return self._context.socket(kind)

    def monitor(self, socket: Any, told: int) -> Any:
        return socket.get_monitor_socket(told)

    def wait(self, is_so: Callable[[], bool]) -> None:
        self.world.run_until(is_so, "it", within_s=DEADLINE_S)

    def settle(self) -> None:
        self.world.run_for(_QUIET_S)

    def is_readable(self, fd: int) -> bool:
        return self.world.is_readable(fd)

    def close(self) -> None:
        self.world.close()


def received(socket: Any) -> list[list[bytes]]:
    """Return every message that has come, without waiting."""
    messages = []
    while True:
        try:
            messages.append(socket.recv_multipart(zmq.NOBLOCK))
        except zmq.Again:
            return messages


def events(monitor: Any) -> list[int]:
    """Return what a monitor has told."""
    return [int.from_bytes(message[0][:2], sys.byteorder) for message in received(monitor)]
