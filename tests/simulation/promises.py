"""What must hold of a simulated cluster while it runs, and once nothing runs any more. Brings no fault about."""

from collections.abc import Sequence

from cluster.checkpoints.writer import PartWriter
from cluster.jobs.orders import NodesNow
from cluster.node.standing import Stand
from cluster.runtime.node import Node
from cluster.serving.manager import GetView
from sage.base.errors import NodeLost, SageError, TaskStuck
from sage.base.ids import NodeId
from tests.simulation.client import WantedJob
from tests.simulation.cluster import ClusterSettings, SimulatedCluster
from tests.simulation.connections import LONGEST_REPEAT_S
from tests.simulation.disk import Disk
from tests.simulation.head import HEAD
from tests.simulation.node import SimulatedNode
from tests.simulation.world import World

NOTICED_S = 3.0
"""A node that is lost is given up within so long (faults.md row 3)."""


class WatchedCluster:
    """A cluster whose promises are kept an eye on; `wrong` says which were broken."""

    def __init__(self, world: World, settings: ClusterSettings, disk: Disk | None = None) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.num_given_up = 0
        self._newest_epochs: dict[NodeId, int] = {}
        self._unheard_s: dict[str, float] = {}  # since when
        self._cut_s: dict[str, float] = {}  # since when the way to the head is
        self._deaf_head_s = 0.0  # until when the head did not run
        self._head_ran = False
        self.cluster = SimulatedCluster(world, settings, on_left=self._left, on_admitted=self._admitted, disk=disk)
        self.cluster.machines.watch(self._changed)

    # While it runs.

    def _admitted(self, node: SimulatedNode) -> None:
        member = node.actor
        assert member is not None
        newest = self._newest_epochs.get(node.node_id, 0)
        if member._line.epoch <= newest or member._line.epoch in self._newest_epochs.values():
            self.wrong.append(f"{node.node_id} is in epoch {member._line.epoch}, and there was {self._newest_epochs}")
        self._newest_epochs[node.node_id] = member._line.epoch

    def _left(self, node_id: NodeId) -> None:
        """The head gives a node up: by then it must have stopped by itself."""
        self.num_given_up += 1
        member = self.cluster.nodes[str(node_id)].actor
        if member is None or self.cluster.nodes[str(node_id)].has_ended:
            return
        lease_s = member._lease.left_s()
        if lease_s > 0.0 and tuple(member._standing.runs):
            self.wrong.append(f"{node_id} is given up at {self._now_s():.3f} s, and may work for {lease_s:.3f} s more")

    def _changed(self) -> None:
        """Note whom the head does not hear from now on, and see in time that it has noticed."""
        machines, now_s = self.cluster.machines, self._now_s()
        if not (machines.runs(HEAD) and self._head_ran):
            self._deaf_head_s = now_s
        self._head_ran = machines.runs(HEAD)
        for name in self.cluster.nodes:
            self._note_cut(name)
            if machines.hears(HEAD, name) and machines.runs(name):
                self._unheard_s.pop(name, None)
            elif name not in self._unheard_s:
                self._unheard_s[name] = now_s
            if name in self._unheard_s:
                self._check_soon(name, max(self._unheard_s[name], self._deaf_head_s))

    def _note_cut(self, name: str) -> None:
        """What was said during a cut comes once that is mended, be it that the node is stopped by then."""
        now_s = self._now_s()
        if not self.cluster.machines.hears(HEAD, name):
            self._cut_s.setdefault(name, now_s)
        elif (cut_s := self._cut_s.pop(name, None)) is not None and name in self._unheard_s:
            self._unheard_s[name] = now_s + min(now_s - cut_s, LONGEST_REPEAT_S)

    def _check_soon(self, name: str, since_s: float) -> None:
        member = self.cluster.members().get(name)
        if member is None:
            return

        def check() -> None:
            is_same = self._head_ran and max(self._unheard_s.get(name, self._now_s()), self._deaf_head_s) <= since_s
            if is_same and self.cluster.members().get(name) is member:
                self.wrong.append(f"{name} has not been heard since {since_s:.3f} s, and the head counts on it")

        slack_s = 20.0 * self.cluster.settings.latency_s + 200.0 * self.world.cost_s
        self.world.later(since_s + NOTICED_S + slack_s - self._now_s(), check)

    def _now_s(self) -> float:
        return self.world.clock.monotonic_s()

    # Once all is over.

    def broken(self, wanted: Sequence[WantedJob]) -> list[str]:
        """Return all that is wrong, once every job is over and everything was given time to settle."""
        cluster = self.cluster
        wrong = [*self.wrong, *cluster.vault.wrong]
        wrong += [what for head in cluster.heads for what in head.wrong]
        wrong += [what for flow in cluster.loaded for what in flow.violations]
        wrong += [what for node in cluster.nodes.values() for what in self._of_node(node)]
        for job in wanted:
            wrong += [f"{job.target}: {what}" for what in self._of_job(job)]
        return wrong + self._of_head()

    def _of_job(self, job: WantedJob) -> list[str]:
        if not job.is_done:
            return []
        if job.error is not None:
            return self._of_end(job, job.error)
        assert job.result is not None
        assert job.job is not None
        result, outside = job.result, self.cluster.stored(job.job.id)
        if job.letters is None:  # of a job that was over before its head ended
            return job.flow.wrong((), is_whole=False, outside=outside)
        wrong = job.flow.wrong(job.letters, is_whole=True, outside=outside)
        if len(job.letters) != result.dead_letters:
            wrong.append(f"{result.dead_letters} dead letters are counted and {len(job.letters)} kept")
        numbers = (result.records_in, result.records_out)
        num_outside = sum(len(outside(number)) for number in job.flow.outside)
        seen = (job.flow.num_source_records, job.flow.num_results() + num_outside)
        return wrong + ([f"it counts {numbers} records in and out, and there were {seen}"] if numbers != seen else [])

    def _of_end(self, job: WantedJob, error: SageError) -> list[str]:
        is_stuck = isinstance(error, NodeLost) and any("still runs" in note for note in getattr(error, "__notes__", ()))
        if type(error) in job.causes or (is_stuck and TaskStuck in job.causes):
            return []
        return [f"ended by {error!r}, for which there is no cause but {job.causes}"]

    def _of_node(self, node: SimulatedNode) -> list[str]:
        if node.has_ended:
            return [] if node.error is None else [f"{node.node_id} has ended by {node.error!r}"]
        member = node.actor
        if member is None or member._standing.stand is not Stand.MEMBER:
            return [f"{node.node_id} is no member: {member and member._standing.stand}"]
        (host,) = [actor for actor in node.process.actors() if isinstance(actor, Node)]
        writers = [actor for actor in node.process.actors() if isinstance(actor, PartWriter)]
        tasks = [actor.name for actor in node.process.actors() if actor not in (member, host, *writers)]
        transport = node.way.transport
        left = {
            "runs": list(member._standing.runs),
            "jobs": list(host._jobs),
            "actors": tasks,
            "receivers": list(transport._local._receivers),
            "routes": list(transport._routes._routes),
            "requests": list(member._asking._askers),
        }
        return [f"{node.node_id} has {what} left: {names}" for what, names in left.items() if names]

    def _of_head(self) -> list[str]:
        head, world = self.cluster.head, self.world
        if head.has_ended:
            return ["the head has ended"]
        wrong = [f"head: {what}" for what in head.requests.wrong()]
        nodes = world.ask(head.manager, NodesNow())
        held_on = [node.node_id for node in nodes if node.num_tasks or node.free != node.total]
        wrong += [f"something holds room on {node_id}" for node_id in held_on]
        view = world.ask(head.plane_ref, GetView())
        head.machine.check()
        held = sum(engine.num_running for engine in view.engines)
        if view.num_waiting or view.num_running or held:
            wrong.append(f"{view.num_waiting} requests wait, {view.num_running} run, engines hold {held}")
        door = self.cluster.door
        assert door is not None
        return wrong + [f"{entry.job_id} is not over" for entry in door._book.live()]
