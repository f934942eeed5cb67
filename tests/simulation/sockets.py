"""ZeroMQ without ZeroMQ: the part of pyzmq that head, nodes and clients use, over simulated connections.

tests/contract/test_sockets.py checks it and libzmq side by side. Knows nothing of what is said.
"""

import errno
from collections import deque
from collections.abc import Sequence
from typing import Any

import zmq

from tests.simulation.connections import Connection
from tests.simulation.machines import Machines
from tests.simulation.pipes import NothingThere, Pipe, SimulatedFrame

_RETRY_S = 0.1  # RECONNECT_IVL of libzmq
_DIAL_S = 1.0  # after which a kernel asks again where nothing answers
_HANDSHAKE_S = 2.0  # HANDSHAKE_IVL, as we set it
_DEFAULTS = {int(zmq.SNDHWM): 1000, int(zmq.RCVHWM): 1000, int(zmq.RECONNECT_IVL): 100, int(zmq.MAXMSGSIZE): -1}


class Fabric:
    """Who listens where, and all connections."""

    def __init__(self, machines: Machines) -> None:
        self.machines = machines
        self.world = machines.world
        self.listening: dict[str, SimulatedSocket] = {}
        self.num_peers = 0
        self._connections: list[Connection] = []
        machines.watch(self._changed)

    def context(self, machine: str) -> "SimulatedContext":
        """Return what the sockets of one process are made by."""
        return SimulatedContext(self, machine)

    def connect(self, connecting: "Pipe", accepting: "Pipe") -> Connection:
        connection = Connection(self.machines, connecting, accepting)
        self._connections.append(connection)
        return connection

    def _changed(self) -> None:
        self._connections = [connection for connection in self._connections if not connection.is_over]
        for connection in self._connections:
            connection.changed()


class SimulatedContext:
    """As `zmq.Context`."""

    def __init__(self, fabric: Fabric, machine: str) -> None:
        self.closed = False
        self.monitored: dict[str, SimulatedSocket] = {}
        self._fabric = fabric
        self._machine = machine
        self._sockets: list[SimulatedSocket] = []

    def socket(self, kind: int) -> "SimulatedSocket":
        made = SimulatedSocket(self._fabric, self._machine, kind, self)
        self._sockets.append(made)
        return made

    def term(self) -> None:
        self.closed = True

    def destroy(self, linger: int | None = None) -> None:
        for socket in self._sockets:
            socket.close(linger=linger)
        self.closed = True

    def vanish(self, *, silently: bool = False) -> None:
        """End with the process; `silently`, with its machine."""
        for socket in self._sockets:
            socket.vanish(silently=silently)


class SimulatedSocket:
    """A ROUTER or DEALER as pyzmq has it, or the PAIR that a monitor is read by. Never waits."""

    def __init__(self, fabric: Fabric, machine: str, kind: int, context: SimulatedContext) -> None:
        self.machine = machine
        self.context = context
        self.options = dict(_DEFAULTS)
        self.closed = False
        self.ipv6 = False
        self._fabric = fabric
        self._world = fabric.world
        self._kind = kind
        self._fd = self._world.new_fd()
        self._address = ""
        self._pipes: dict[bytes, Pipe] = {}
        self._awake: deque[Pipe] = deque()
        self._sending: list[bytes] = []
        self._to: Pipe | None = None
        self._rest: deque[bytes] = deque()
        self._monitor: SimulatedSocket | None = None
        self._monitored = 0

    # As pyzmq.

    def setsockopt(self, option: int, value: int) -> None:
        self.options[int(option)] = value

    def getsockopt_string(self, option: int) -> str:
        assert option == zmq.LAST_ENDPOINT, option
        return self._address

    def get(self, option: int) -> int:
        assert option == zmq.EVENTS, option
        self._quieten()
        self._look()
        can_send = self._kind == zmq.ROUTER or any(pipe.has_room for pipe in self._pipes.values())
        return (int(zmq.POLLIN) if self._awake or self._rest else 0) | (int(zmq.POLLOUT) if can_send else 0)

    def fileno(self) -> int:
        return self._fd

    def poll(self, timeout: int = 0) -> int:
        assert timeout == 0, "nobody waits in a simulated socket"
        return self.get(zmq.EVENTS) & int(zmq.POLLIN)

    def bind(self, address: str) -> None:
        if address.endswith((":*", ":0")):
            address = f"{address.rpartition(':')[0]}:{self._fd % 60_000}"
        if address in self._fabric.listening:
            raise zmq.ZMQError(errno.EADDRINUSE)
        self._address = address
        self._fabric.listening[address] = self

    def connect(self, address: str) -> None:
        self._address = address
        pipe = self._open_pipe()
        if self._kind == zmq.PAIR:
            self.context.monitored[address]._monitor = self
        else:
            self._dial(pipe, _DIAL_S)

    def disconnect(self, address: str) -> None:
        pipe = self._pipes.pop(b"", None)
        if pipe is None or address != self._address:
            raise zmq.ZMQError(errno.ENOENT)
        self._hang_up(pipe)

    def send(self, data: Any, flags: int = 0) -> None:
        assert flags & zmq.NOBLOCK or self._sending, "nobody waits in a simulated socket"
        if not self._sending:
            self._begin(bytes(data))
        self._sending.append(bytes(data))
        if flags & zmq.SNDMORE:
            return
        frames, self._sending = self._sending, []
        if self._to is not None:
            self._to.put(frames[1:] if self._kind == zmq.ROUTER else frames)

    def send_multipart(self, frames: Sequence[Any], flags: int = 0) -> None:
        for frame in frames[:-1]:
            self.send(frame, flags | zmq.SNDMORE)
        self.send(frames[-1], flags)

    def recv(self, flags: int = 0, *, copy: bool = True) -> Any:
        if not self._rest:
            self._rest.extend(self._next())
        data = self._rest.popleft()
        return data if copy else SimulatedFrame(data, more=bool(self._rest))

    def recv_multipart(self, flags: int = 0, *, copy: bool = True) -> list[Any]:
        parts = [self.recv(flags, copy=copy)]
        while self._rest:
            parts.append(self.recv(flags, copy=copy))
        return parts

    def get_monitor_socket(self, events: int) -> "SimulatedSocket":
        self.monitor(f"inproc://monitor-{self._fd}", events)
        pair = self.context.socket(zmq.PAIR)
        pair.connect(f"inproc://monitor-{self._fd}")
        return pair

    def monitor(self, address: str, events: int) -> None:
        self._monitored = int(events)
        self.context.monitored[address] = self

    def disable_monitor(self) -> None:
        self._monitored = 0

    def close(self, linger: int | None = None) -> None:
        """Close; what `linger` lets leave has left at once, for nothing here takes long."""
        if self.closed:
            return
        for pipe in self._pipes.values():
            if linger and pipe.connection is not None:
                pipe.connection.pump(pipe)
        self.vanish()

    def vanish(self, *, silently: bool = False) -> None:
        self.closed = True
        self._world.set_readable(self._fd, is_readable=False)
        if self._fabric.listening.get(self._address) is self:
            del self._fabric.listening[self._address]
        for pipe in list(self._pipes.values()):
            self._hang_up(pipe, silently=silently)
        self._pipes.clear()

    # What pipes say.

    def arrived(self, pipe: Pipe) -> None:
        if pipe.is_asleep:
            pipe.is_asleep = False
            self._awake.append(pipe)
            self.signal()

    def signal(self) -> None:
        if not self.closed:
            self._world.set_readable(self._fd)

    def disconnected(self, pipe: Pipe) -> None:
        """Its connection is no more: dial again, or end the pipe."""
        if self.closed:
            return
        self._tell(zmq.EVENT_DISCONNECTED)
        if self._kind == zmq.ROUTER:
            pipe.is_over = True
            if not pipe.inbox:
                self._forget(pipe)
            self.signal()
        elif self.options[int(zmq.RECONNECT_IVL)] > 0:
            self._world.later(_RETRY_S, lambda: self._dial(pipe, _DIAL_S))
        else:
            self._end(pipe)

    # Connections.

    def _dial(self, pipe: Pipe, after_s: float) -> None:
        """Try to connect, until it works."""
        if self.closed or pipe.is_over or pipe.connection is not None:
            return
        machines, there = self._fabric.machines, self._fabric.listening.get(self._address)
        host = there.machine if there is not None else self.machine
        if not machines.runs(self.machine):
            self._world.later(_RETRY_S, lambda: self._dial(pipe, after_s))
        elif not (machines.hears(self.machine, host) and machines.hears(host, self.machine)):
            self._world.later(after_s, lambda: self._dial(pipe, 2 * after_s))
        elif there is None:
            self._refused(pipe)
        else:
            self._world.later(3 * machines.latency_s(), lambda: self._shake_hands(pipe, there, _HANDSHAKE_S))

    def _refused(self, pipe: Pipe) -> None:
        """Nobody listens there."""
        if self.options[int(zmq.RECONNECT_IVL)] > 0:
            self._world.later(_RETRY_S, lambda: self._dial(pipe, _DIAL_S))
        else:
            self._end(pipe)

    def _shake_hands(self, pipe: Pipe, there: "SimulatedSocket", left_s: float) -> None:
        """The kernels are connected; both processes must speak, within the time."""
        machines = self._fabric.machines
        if self.closed or pipe.is_over or pipe.connection is not None:
            return
        if there.closed:
            return self._refused(pipe)
        is_heard = machines.hears(self.machine, there.machine) and machines.hears(there.machine, self.machine)
        if is_heard and machines.runs(there.machine) and machines.runs(self.machine):
            return self._connected(pipe, there)
        if left_s > 0.0:
            self._world.later(_RETRY_S, lambda: self._shake_hands(pipe, there, left_s - _RETRY_S))
            return
        self._tell(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        self._refused(pipe)

    def _connected(self, pipe: Pipe, there: "SimulatedSocket") -> None:
        self._fabric.num_peers += 1
        accepted = Pipe(there, b"\x00" + self._fabric.num_peers.to_bytes(4, "big"))
        there._pipes[accepted.routing] = accepted
        pipe.connection = accepted.connection = connection = self._fabric.connect(pipe, accepted)
        self._tell(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        there._tell(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        there.signal()
        connection.pump(pipe)

    def _open_pipe(self) -> Pipe:
        """Return a pipe that speaks to nobody who has not looked for a message first."""
        pipe = self._pipes[b""] = Pipe(self, b"")
        pipe.is_asleep = False
        self._awake.append(pipe)
        return pipe

    def _hang_up(self, pipe: Pipe, *, silently: bool = False) -> None:
        pipe.is_over = True
        connection, pipe.connection = pipe.connection, None
        if connection is not None:
            connection.close(pipe, silently=silently)

    def _end(self, pipe: Pipe) -> None:
        """Nothing goes through it any more, and what came and was not read is lost."""
        pipe.is_over = True
        pipe.inbox.clear()
        self._pipes.pop(pipe.routing, None)

    def _forget(self, pipe: Pipe) -> None:
        if self._pipes.get(pipe.routing) is pipe:
            del self._pipes[pipe.routing]

    # Messages.

    def _begin(self, first: bytes) -> None:
        """Find whom the message is for; raises Again and EHOSTUNREACH as libzmq does."""
        if self.closed:
            raise zmq.ZMQError(errno.ENOTSOCK)
        self._quieten()
        pipe = self._pipes.get(first if self._kind == zmq.ROUTER else b"")
        self._to = pipe if pipe is not None and pipe.has_room else None
        if self._kind == zmq.DEALER and self._to is None:
            raise NothingThere
        if self._to is None and self.options.get(int(zmq.ROUTER_MANDATORY), 0):
            raise zmq.ZMQError(errno.EHOSTUNREACH) if pipe is None or pipe.is_over else NothingThere()

    def _next(self) -> list[bytes]:
        """Return the next message, one of each peer in turn; raises Again where there is none."""
        if self.closed:
            raise zmq.ZMQError(errno.ENOTSOCK)
        self._quieten()
        self._look()
        if not self._awake:
            raise NothingThere
        pipe = self._awake.popleft()
        frames = pipe.got()
        self._awake.append(pipe)
        if pipe.is_over and not pipe.inbox:
            self._forget(pipe)
        return [pipe.routing, *frames] if self._kind == zmq.ROUTER else list(frames)

    def _look(self) -> None:
        """Let pipes sleep in which nothing is."""
        while self._awake and not self._awake[0].inbox:
            self._awake.popleft().is_asleep = True

    def _quieten(self) -> None:
        """Whatever is called looks at what is new: the descriptor speaks of what comes later."""
        self._world.set_readable(self._fd, is_readable=False)

    def _tell(self, event: int) -> None:
        if self._monitor is not None and self._monitored & int(event):
            what = int(event).to_bytes(2, "little") + bytes(4)
            self._monitor._pipes[b""].arrive([what, self._address.encode()])
