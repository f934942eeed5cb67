"""A user's process that submits flows to a simulated cluster and waits for them. Decides no fault."""

import contextlib
from dataclasses import dataclass, field, replace

from cluster.client.cluster import RemoteCluster
from cluster.local.job import SubmittedJob
from sage.base.errors import ClusterUnreachable, JobInterrupted, JournalUnusable, NoRoom, SageError
from sage.flow.checkpoint import Checkpoint
from sage.flow.runner import DeadLetterRecord, JobResult
from tests.simulation.flows import RandomFlow
from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric
from tests.simulation.user import TRIES, SimulatedUser


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


class SimulatedClient(SimulatedUser):
    """One life of a client."""

    def __init__(self, machines: Machines, fabric: Fabric, name: str, wanted: list[WantedJob]) -> None:
        self.wanted = wanted
        super().__init__(machines, fabric, name)

    def run(self) -> None:
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
