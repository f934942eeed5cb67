"""A user's process in a simulated world, and how it comes to a cluster. Decides no fault, and wants nothing yet."""

import atexit
from abc import ABC, abstractmethod
from random import Random
from typing import Any, cast

from cluster.client.cluster import RemoteCluster, Shipping
from cluster.client.line import HeadLine
from cluster.client.shipping import _unpack
from cluster.runtime.travelling_code import FileCode
from sage.base.errors import SageError
from sage.base.ids import JobId
from sage.flow.graph import Graph
from tests.simulation.clock import ProcessClock
from tests.simulation.head import ADDRESS
from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric, SimulatedContext

TRIES = 30


class SimulatedUser(ABC):
    """One life of a process that is a client of the head; `run` is what it does."""

    def __init__(self, machines: Machines, fabric: Fabric, name: str) -> None:
        self.world = machines.world
        self.name = name
        self.process = self.world.process(name)
        self.clock = ProcessClock(self.world.clock)
        self.has_ended = False
        self.is_dead = False
        self._fabric = fabric
        self._contexts: list[SimulatedContext] = []
        self._opened: list[RemoteCluster] = []
        self._rng = Random(self.world.rng.getrandbits(64))
        machines.add(self.process)
        self.process.begin(f"{name} main", self._run)

    @abstractmethod
    def run(self) -> None:
        """Do what it is there for."""

    def die(self) -> None:
        self.has_ended = self.is_dead = True
        self.process.die()
        for context in self._contexts:
            context.vanish()
        self.let_go()

    def let_go(self) -> None:
        for cluster in self._opened:
            atexit.unregister(cluster.close)

    def _run(self) -> None:
        self.run()
        self.has_ended = True

    def _connected(self) -> RemoteCluster:
        for _ in range(TRIES):
            self._contexts.append(self._fabric.context(self.name))
            line = HeadLine(
                lambda socket: socket.connect(ADDRESS),
                where=ADDRESS,
                reconnect_s=300.0,
                clock=self.clock,
                scheduler=self.process,
                context=cast(Any, self._contexts[-1]),
            )
            try:
                greeting = line.greet(self.name)
            except SageError:
                self._rest(1.0)
            else:
                shipping = Shipping(self._code_of, None, _unpack)
                cluster = RemoteCluster(line, greeting, shipping, where=ADDRESS, show=lambda lines: None, rng=self._rng)
                self._opened.append(cluster)
                return cluster
        raise AssertionError(f"{self.name} could not connect")

    def _code_of(self, graph: Graph, job_id: JobId) -> FileCode:
        return FileCode(graph.name, "0" * 64)

    def _rest(self, for_s: float) -> None:
        self.world.wait(lambda: False, for_s, by=object())
