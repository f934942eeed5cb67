"""A user's process in a simulated world: connects, submits flows, waits for them. Decides no fault."""

import atexit
import contextlib
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, cast

from cluster.client.cluster import RemoteCluster, Shipping
from cluster.client.line import HeadLine
from cluster.client.shipping import _unpack
from cluster.local.job import SubmittedJob
from cluster.runtime.travelling_code import FileCode
from sage.base.errors import ClusterUnreachable, JobInterrupted, JournalUnusable, NoRoom, SageError
from sage.base.ids import JobId
from sage.flow.checkpoint import Checkpoint
from sage.flow.graph import Graph
from sage.flow.runner import DeadLetterRecord, JobResult
from tests.simulation.clock import ProcessClock
from tests.simulation.flows import RandomFlow
from tests.simulation.head import ADDRESS
from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric, SimulatedContext

TRIES = 30


@dataclass(slots=True, eq=False)
class WantedJob:
    """A flow that a client has run. `target`: by what its code is known. `causes`: errors that it may end by."""

    target: str
    flow: RandomFlow
    begins_s: float
    cancels_s: float | None  # after it was submitted
    kept: Checkpoint | None = None
    causes: set[type[SageError]] = field(default_factory=set)
    job: SubmittedJob | None = None
    result: JobResult | None = None
    letters: list[DeadLetterRecord] | None = None
    error: SageError | None = None
    is_cancelled: bool = False
    num_tries: int = 0
    is_done: bool = False  # else its client is no more


class SimulatedClient:
    """One life of a client."""

    def __init__(self, machines: Machines, fabric: Fabric, name: str, wanted: list[WantedJob]) -> None:
        self.world = machines.world
        self.name = name
        self.process = self.world.process(name)
        self.clock = ProcessClock(self.world.clock)
        self.wanted = wanted
        self.has_ended = False
        self._fabric = fabric
        self._contexts: list[SimulatedContext] = []
        self._opened: list[RemoteCluster] = []
        self._rng = Random(self.world.rng.getrandbits(64))
        machines.add(self.process)
        self.process.begin(f"{name} main", self._run)

    def die(self) -> None:
        self.has_ended = True
        self.process.die()
        for context in self._contexts:
            context.vanish()
        self.let_go()

    def let_go(self) -> None:
        for cluster in self._opened:
            atexit.unregister(cluster.close)

    def _run(self) -> None:
        clusters = [self._connected()]
        for wanted in self.wanted:
            self._rest(wanted.begins_s)
            for _ in range(TRIES):
                self._submit(clusters[-1], wanted)
                if not isinstance(wanted.error, ClusterUnreachable | NoRoom | JournalUnusable):
                    break
                if isinstance(wanted.error, ClusterUnreachable):
                    clusters.append(self._connected())
                self._rest(1.0)
        for wanted in self.wanted:
            self._wait(wanted)
        for cluster in clusters:
            cluster.close()
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

    def _submit(self, cluster: RemoteCluster, wanted: WantedJob) -> None:
        try:
            kept = wanted.kept
            if kept is not None:  # what was submitted before may run though nobody heard
                wanted.num_tries += 1
                kept = replace(kept, folder=f"{kept.folder}/{wanted.num_tries}")
            wanted.job, wanted.error = cluster.submit(wanted.flow.flow, checkpoint=kept), None
        except SageError as error:
            wanted.error = error
            return
        if wanted.cancels_s is not None:
            self.process.later(wanted.cancels_s, lambda: self.process.begin("cancel", lambda: self._cancel(wanted)))

    def _cancel(self, wanted: WantedJob) -> None:
        assert wanted.job is not None
        if not wanted.job.is_over:
            wanted.is_cancelled = True
            with contextlib.suppress(SageError):  # it goes on to be cancelled, or is over; waiting for it says more
                wanted.job.cancel()

    def _wait(self, wanted: WantedJob) -> None:
        try:
            if wanted.job is not None:
                wanted.result = wanted.job.wait()
                wanted.letters = self._letters_of(wanted.job)
        except SageError as error:
            wanted.error = error
        wanted.is_done = True

    def _letters_of(self, job: SubmittedJob) -> list[DeadLetterRecord] | None:
        """Return them; None where the head that kept them has ended, or is not there."""
        try:
            return job.dead_letters()
        except (JobInterrupted, ClusterUnreachable):
            return None

    def _rest(self, for_s: float) -> None:
        self.world.wait(lambda: False, for_s, by=object())
