"""Connections between simulated machines, as TCP makes them: messages come in order, late, or not any more.

While the way is cut nothing is lost: what is on its way comes when it is mended, unless an end has given up by then.
Knows nothing of what sockets do with what comes.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from tests.simulation.machines import Machines

Frames = Sequence[bytes]

NUM_ON_WIRE = 16  # messages that the kernels of both ends hold, beyond what waits in sockets
DEAF_S = 2.0  # data_sockets.HEARTBEAT_TIMEOUT_MS
DEAF_LATEST_S = 2.5  # and one more interval
LONGEST_REPEAT_S = 2.0  # the kernel repeats what was not received after as long as it has tried, up to so long


class End(Protocol):
    """An end of a connection, as its socket has it."""

    machine: str
    beats: bool  # it notices that the other end is silent

    def next_out(self) -> Frames | None:
        """Return what is to be sent next, and forget it."""
        ...

    def takes(self) -> bool:
        """Say whether there is room for one more message."""
        ...

    def arrive(self, frames: Frames) -> bool:
        """Take a message; False where it breaks the connection."""
        ...

    def lost(self) -> None:
        """The connection is no more."""
        ...


class _Way:
    """One direction. `None` on the wire: the end that sends has closed."""

    def __init__(self) -> None:
        self.wire: deque[tuple[float, Frames | None]] = deque()
        self.last_s = 0.0
        self.due_s: float | None = None
        self.held: Frames | None = None  # overtaken by the next one


class Connection:
    """`ends`: that which connected, and that which was connected to."""

    def __init__(self, machines: Machines, connecting: End, accepting: End) -> None:
        self._machines = machines
        self._world = machines.world
        self.ends = (connecting, accepting)
        self._ways = (_Way(), _Way())
        self._is_open = [True, True]
        self._deaf_since_s: list[float | None] = [None, None]

    @property
    def is_over(self) -> bool:
        return not any(self._is_open)

    def pump(self, end: End) -> None:
        """Send what waits at `end`, as far as the kernel takes it, and let arrive what is due at the other."""
        side = self._side(end)
        if self._is_open[side] and self._machines.runs(end.machine):
            way = self._ways[side]
            while len(way.wire) < NUM_ON_WIRE and (frames := end.next_out()) is not None:
                self._send(way, frames)
        self._arrive(side)

    def drain(self, end: End) -> None:
        """There is room at `end`: let what has come enter."""
        self._arrive(1 - self._side(end))

    def close(self, end: End, *, silently: bool = False) -> None:
        """Have no part in it any more. `silently`: as a machine without power does, which nobody is told of."""
        side = self._side(end)
        if not self._is_open[side]:
            return
        self._is_open[side] = False
        if silently:
            self._ways[side].wire.clear()
        elif self._is_open[1 - side]:
            self._put(self._ways[side], None)
            self._arrive(side)

    def changed(self) -> None:
        """Machines went on, or a way was cut or mended: look at everything anew."""
        for side in (0, 1):
            self._notice_silence(side)
        for side in (0, 1):
            if not self._machines.mangled_share:
                self._release(self._ways[side])
            self._repeat(self._ways[side], side)
            if self._is_open[side]:
                self.pump(self.ends[side])
            else:
                self._arrive(side)

    def _side(self, end: End) -> int:
        return 0 if end is self.ends[0] else 1

    def _send(self, way: _Way, frames: Frames) -> None:
        """Put a message on the wire: once and after those before it, but for what no TCP would do."""
        mangling = self._machines.mangling()
        if mangling == "twice":
            self._put(way, frames)
        elif mangling == "late" and way.held is None:
            way.held = frames
            return
        self._put(way, frames)
        self._release(way)

    def _release(self, way: _Way) -> None:
        """Let come what was held; where nothing follows it, once messages come as they should."""
        if way.held is not None:
            self._put(way, way.held)
            way.held = None

    def _put(self, way: _Way, frames: Frames | None) -> None:
        way.last_s = max(way.last_s + 1e-9, self._world.clock.monotonic_s() + self._machines.latency_s())
        way.wire.append((way.last_s, frames))

    def _repeat(self, way: _Way, side: int) -> None:
        """What should have come already and could not comes when the kernel tries again."""
        now_s = self._world.clock.monotonic_s()
        if not way.wire or way.wire[0][0] >= now_s or not self._can_arrive(side):
            return
        tried_s = min(now_s - way.wire[0][0], LONGEST_REPEAT_S)
        at_s = now_s + tried_s * self._world.rng.random()
        way.wire = deque((max(arrival_s, at_s), frames) for arrival_s, frames in way.wire)
        way.last_s = max(way.last_s, at_s)

    def _can_arrive(self, side: int) -> bool:
        source, target = self.ends[side].machine, self.ends[1 - side].machine
        return self._is_open[1 - side] and self._machines.hears(target, source) and self._machines.runs(target)

    def _arrive(self, side: int) -> None:
        """Let arrive what `side` has sent and is due."""
        way, end = self._ways[side], self.ends[1 - side]
        while way.wire and self._can_arrive(side):
            at_s, frames = way.wire[0]
            if at_s > self._world.clock.monotonic_s():
                return self._arrive_at(way, side, at_s)
            if frames is not None and not end.takes():
                return
            way.wire.popleft()
            if frames is None or not end.arrive(frames):
                return self._lose(1 - side)
        if self._is_open[side] and not way.wire:
            self._refill(side)

    def _refill(self, side: int) -> None:
        """The wire is empty: the kernel takes what waits."""
        if self._machines.runs(self.ends[side].machine):
            frames = self.ends[side].next_out()
            if frames is not None:
                self._send(self._ways[side], frames)
                self.pump(self.ends[side])

    def _arrive_at(self, way: _Way, side: int, at_s: float) -> None:
        if way.due_s is not None and way.due_s <= at_s and way.due_s >= self._world.clock.monotonic_s():
            return
        way.due_s = at_s

        def arrive() -> None:
            if way.due_s == at_s:
                way.due_s = None
            self._arrive(side)

        self._world.later(at_s - self._world.clock.monotonic_s(), arrive)

    def _lose(self, side: int) -> None:
        """An end gives the connection up, or has learned that the other has."""
        if self._is_open[side]:
            self.close(self.ends[side])
            self.ends[side].lost()

    # Silence.

    def _notice_silence(self, side: int) -> None:
        end, other = self.ends[side], self.ends[1 - side]
        if not (end.beats and self._is_open[side]):
            return
        now_s = self._world.clock.monotonic_s()
        is_deaf = not (self._machines.hears(end.machine, other.machine) and self._machines.runs(other.machine))
        since_s = self._deaf_since_s[side]
        if is_deaf and since_s is None:
            self._deaf_since_s[side] = now_s
            after_s = DEAF_S + self._world.rng.random() * (DEAF_LATEST_S - DEAF_S)
            self._world.later(after_s, lambda: self._still_silent(side, now_s))
        elif not is_deaf and since_s is not None:
            self._deaf_since_s[side] = None
            if now_s - since_s > DEAF_S and self._machines.runs(end.machine):
                self._lose(side)  # it was stopped itself: its timers are looked at before its sockets

    def _still_silent(self, side: int, since_s: float) -> None:
        if self._deaf_since_s[side] == since_s and self._machines.runs(self.ends[side].machine):
            self._lose(side)
