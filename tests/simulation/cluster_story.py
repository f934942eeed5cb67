"""Jobs on a simulated cluster in which things break, all drawn from one seed. Knows nothing of what must hold.

Whatever breaks is mended in the end, and jobs may begin anew as often as they must: so each ends as if nothing had
been, unless it was cancelled or cannot end well.
"""

from cluster.node.standing import NAME_TAKEN_S
from sage.base.errors import CheckpointUnusable, JobCancelled, RecordFailed, SourceUnreadable
from sage.flow.checkpoint import Checkpoint
from tests.simulation.client import WantedJob
from tests.simulation.cluster import ClusterSettings, FlowKind
from tests.simulation.disk import Disk
from tests.simulation.flows import RandomFlow
from tests.simulation.kept_flows import KeptFlow
from tests.simulation.promises import WatchedCluster
from tests.simulation.troubles import LONG_S, Troubles
from tests.simulation.world import World

_FAULTS_END_S = (3.0, 6.0, 10.0)
_KEPT_FAULTS_END_S = (2.0, 4.0)
_WITHIN_S = 900.0
_SETTLE_S = (NAME_TAKEN_S, 16.0)  # by then a node that returned has its name; killed users are forgotten only later
_LOOK_EVERY = 10  # steps


class ClusterStory:
    """A cluster, what is asked of it, and what happens to it; all of it follows from one seed."""

    head_lost_share = 0.4
    """Of stories in which jobs are kept: the head dies once checkpoints are complete."""

    num_kept_before = (1, 1, 2, 3)
    """How many these are, at times."""

    def __init__(self, seed: int, *, fault: str | None = None, is_kept: bool = False) -> None:
        """`fault`: the name of the one that happens, several times; else any may, or none. `is_kept`: jobs are."""
        self.seed = seed
        self._is_kept = is_kept
        self.world = World(seed)
        rng = self._rng = self.world.rng
        self.world.yielding_share = rng.choice((0.0, 0.0, 0.05, 0.3))
        self._loses_head = is_kept and fault is None and rng.random() < self.head_lost_share
        self.watched = WatchedCluster(self.world, self._settings(), self._disk())
        self.cluster = self.watched.cluster
        self._faults_end_s = rng.choice(_KEPT_FAULTS_END_S if is_kept else _FAULTS_END_S)
        names = [f"node-{number}" for number in range(rng.randint(2, 3 if is_kept else 4))]
        for name in names:
            self.cluster.start_node(name)
        self.wanted = self._wanted()
        self.troubles = Troubles(self.cluster, names, self.wanted, end_s=self._faults_end_s)
        self.troubles.begin(fault)
        if self._loses_head:
            self.troubles.kill_head_once_kept(rng.choice(self.num_kept_before), then=self._head_lost)

    def run(self) -> None:
        """Let it all happen; raises AssertionError that says what is wrong."""
        try:
            self._run()
        except Exception as error:
            error.add_note("\n".join(["What happened:", *self.troubles.told]))
            raise
        finally:
            for user in self.cluster.users():
                user.let_go()
            self.world.close()

    def _run(self) -> None:
        troubles = self.troubles
        self.world.run_for(self._faults_end_s)
        troubles.mend_all()
        self._run_to_the_end()
        troubles.is_settling = True
        troubles.mend_all()
        self.world.run_for(_SETTLE_S[troubles.are_users_dead])
        if troubles.are_users_dead:  # what one had wished for may have begun only now
            self._run_to_the_end()
            self.world.run_for(_SETTLE_S[False])
        wrong = self._wrong()
        assert not wrong, "\n".join([*wrong, "The end of the schedule:", self.world.schedule.tail()])

    def _head_lost(self) -> None:
        """Let more go wrong, now that the head has died with a checkpoint complete."""

    def _wrong(self) -> list[str]:
        return self.watched.broken(self.wanted)

    def _run_to_the_end(self) -> None:
        self.world.run_until(
            lambda: self.world.num_steps % _LOOK_EVERY == 0 and self._is_over(),
            "the end of every job",
            within_s=_WITHIN_S,
        )

    def _is_over(self) -> bool:
        door = self.cluster.door
        users_are_done = all(user.has_ended for user in self.cluster.users())
        return users_are_done and door is not None and not door._book.live()

    def _disk(self) -> Disk:
        return Disk(self.world)

    def _settings(self) -> ClusterSettings:
        rng = self._rng
        return ClusterSettings(
            batch_records=rng.choice((1, 3, 1000)),
            inbox_batches=rng.choice((1, 2, 8)),
            latency_s=rng.choice((0.0001, 0.001, 0.02)),
            longest_s=rng.choice((0.5, 1.0) if self._loses_head else (0.0, 0.1, 0.5, 1.0)),
            load_s=rng.choice((0.0, 0.0, 0.01, 0.5)),
        )

    def _wanted(self) -> list[WantedJob]:
        """Let clients begin; return what they want."""
        wanted: list[WantedJob] = []
        for number in range(1 if self._is_kept else self._rng.choice((1, 1, 2, 3))):
            mine = [self._job(f"flow-{number}-{count}") for count in range(self._rng.choice((1, 1, 2)))]
            self.cluster.start_client(f"client-{number}", mine)
            wanted += mine
        return wanted

    def _kind(self) -> FlowKind:
        return KeptFlow if self._is_kept else RandomFlow

    def _job(self, target: str) -> WantedJob:
        rng = self._rng
        flow = self.cluster.flow(target, rng.getrandbits(32), self._kind())
        begins_s = rng.random() * (0.1 if self._loses_head else 0.5) * self._faults_end_s
        wanted = WantedJob(target, flow, begins_s, rng.random() * 5.0 if rng.random() < 0.15 else None)
        if self._is_kept:
            timeout_s = rng.choice((3.0, 60.0, 60.0, 60.0))
            wanted.kept = Checkpoint(f"/kept/{target}", every_s=rng.choice((0.05, 0.2, 0.5)), timeout_s=timeout_s)
            wanted.causes |= {CheckpointUnusable} if timeout_s < LONG_S[1] else set()
        if flow.must_fail() or (flow.has_deadline and flow.needs_models):
            wanted.causes.add(RecordFailed)
        if flow.source_breaks:
            wanted.causes.add(SourceUnreadable)
        if wanted.cancels_s is not None:
            wanted.causes.add(JobCancelled)
        return wanted
