"""The machines of a simulated cluster and the ways between them: who runs, who hears whom. Knows no socket."""

from collections.abc import Callable
from typing import Literal

from tests.simulation.process import SimulatedProcess
from tests.simulation.world import World

Mangling = Literal["twice", "late"]
"""`late`: the next message overtakes it."""

_TAIL_SHARE = 0.02
_TAIL = 20.0


class Machines:
    """A machine has one process at a time, of the same name."""

    def __init__(self, world: World, *, longest_s: float = 0.001) -> None:
        """`longest_s`: how long a message is usually on its way, at most; seldom one takes much longer."""
        self.world = world
        self._longest_s = longest_s
        self._processes: dict[str, SimulatedProcess] = {}
        self._deaf: set[tuple[str, str]] = set()
        self._dead: set[str] = set()  # without power
        self._watchers: list[Callable[[], None]] = []
        self.mangled_share = 0.0  # of messages that come twice or late, as no TCP would have it

    def add(self, process: SimulatedProcess) -> None:
        """Let a process run on the machine of its name."""
        self._processes[process.name] = process
        self._dead.discard(process.name)
        self.changed()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Have `watcher` called when it is another who runs or hears."""
        self._watchers.append(watcher)

    def changed(self) -> None:
        for watcher in self._watchers:
            watcher()

    # Processes.

    def runs(self, name: str) -> bool:
        """Say whether the process of a machine goes on."""
        process = self._processes.get(name)
        return process is not None and process.is_alive and not process.is_paused and name not in self._dead

    def is_up(self, name: str) -> bool:
        """Say whether a machine answers at all, be it that nobody listens there."""
        return name not in self._dead

    def pause(self, name: str) -> None:
        self._processes[name].pause()
        self.changed()

    def resume(self, name: str) -> None:
        self._processes[name].resume()
        self.changed()

    def power_off(self, name: str) -> None:
        """Let a machine be silent from now on; its process is ended by whoever calls this."""
        self._dead.add(name)
        self.changed()

    # Ways.

    def hears(self, name: str, other: str) -> bool:
        """Say whether what `other` sends comes to `name`."""
        return (name, other) not in self._deaf and name not in self._dead and other not in self._dead

    def cut(self, one: str, other: str, *, one_way: bool = False) -> None:
        """Let `one` not hear `other`; and, unless `one_way`, `other` not `one`."""
        self._deaf.add((one, other))
        if not one_way:
            self._deaf.add((other, one))
        self.changed()

    def mend(self, one: str, other: str) -> None:
        self._deaf -= {(one, other), (other, one)}
        self.changed()

    def mend_all(self) -> None:
        self._deaf.clear()
        self.changed()

    def latency_s(self) -> float:
        """Return how long the next message is on its way."""
        rng = self.world.rng
        tail = _TAIL if rng.random() < _TAIL_SHARE else 1.0
        return rng.random() * self._longest_s * tail

    def mangling(self) -> Mangling | None:
        """Return what becomes of the next message against all rules; None: nothing, as nearly always."""
        if not self.mangled_share or self.world.rng.random() >= self.mangled_share:
            return None
        return self.world.rng.choice(("twice", "late"))
