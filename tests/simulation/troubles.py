"""What goes wrong in a simulated cluster, drawn from the world's random numbers. Knows nothing of what must follow."""

from collections.abc import Callable, Sequence
from functools import partial

from cluster.node.standing import Stand
from cluster.runtime.task import Task
from sage.base.errors import CheckpointUnusable, JobInterrupted, JournalDamaged, RecordFailed, TaskStuck, UnknownJob
from sage.base.ids import NodeId
from tests.simulation.client import WantedJob
from tests.simulation.cluster import SimulatedCluster
from tests.simulation.flows import CHAT, EMBED
from tests.simulation.head import HEAD
from tests.simulation.journal_files import JournalFiles

_SHORT_S = (0.3, 1.5, 2.2, 2.6)
LONG_S = (4.0, 10.0)
_LOOK_S = 0.02
_ROTS_SHARE = 0.7
_MENDED = "everything is mended"


class Troubles:
    """Breaks things and lets them return; `told` is what happened, a line each.

    `names`: the nodes there are. Whoever a fault may end a job for is given it as a cause. `is_settling`: nothing is
    to break any more. `is_line_dead`: users may have lines to a head that is silent. `journal_files`: those that may
    rot whenever the head dies; None: none do.
    """

    def __init__(
        self, cluster: SimulatedCluster, names: Sequence[str], wanted: Sequence[WantedJob], *, end_s: float
    ) -> None:
        """`end_s`: when the last one begins, at the latest."""
        self.told: list[str] = []
        self.names = list(names)
        self.have_struck = False
        self.are_users_dead = False
        self.is_line_dead = False
        self.is_settling = False
        self.journal_files: JournalFiles | None = None
        self.cluster = cluster
        self.machines = cluster.machines
        self.world = cluster.world
        self._rng = cluster.world.rng
        self._wanted = wanted
        self._end_s = end_s
        self._asks_models = any(job.flow.asks_models for job in wanted)

    def begin(self, only: str | None = None) -> None:
        """Have some happen; `only`: the name of the one that does, several times."""
        if self._asks_models:
            self._attach()
        for happening in self._drawn(only):
            self.world.later(self._rng.random() * self._end_s, happening)

    def kill_head_once_kept(self, num_complete: int, *, then: Callable[[], object]) -> None:
        """Kill the head once so many checkpoints are complete, and call `then`; unless it has become too late."""
        if self.world.clock.monotonic_s() > self._end_s:
            return
        if self.cluster.files.num_complete() >= num_complete:
            self.kill_head()
            then()
        else:
            self.world.later(_LOOK_S, partial(self.kill_head_once_kept, num_complete, then=then))

    def rot(self) -> None:
        """Let the disk spoil a file of checkpoints, if there is one."""
        found = self.cluster.files.rot()
        if found is not None:
            folder, what = found
            self._tell(f"in {folder} {what}")
            for job in self._wanted:
                if job.kept is not None and folder.startswith(str(job.kept.folder)):
                    job.causes.add(CheckpointUnusable)

    def _attach(self) -> None:
        for model in (CHAT, EMBED):
            for _ in range(self._rng.choice((1, 2))):
                self.cluster.head.attach(model)

    def have_more(self, num: int) -> None:
        """Have so many happen besides, checkpoints that rot among them."""
        for _ in range(num):
            self.world.later(self._rng.random() * self._end_s, self._rng.choice((*self._kinds(), self.rot)))

    def _kinds(self) -> tuple[Callable[[], None], ...]:
        return (
            self._kill_node,
            self._kill_node,
            self._pause_node,
            self._pause_node,
            self._cut_from_head,
            self._cut_from_head,
            self._cut_nodes,
            self._cut_nodes,
            self._flap,
            self.kill_head,
            self.kill_head,
            self._pause_head,
            self._kill_client,
            self._pause_client,
            self._cut_client,
            self._jump,
            self._leave,
            self._drain,
            self._join_node,
            self._kill_engine,
            self._fill_disk,
            self._hold_task,
            self._mangle,
        )

    def _drawn(self, only: str | None) -> list[Callable[[], None]]:
        kinds = self._kinds()
        if only is not None:
            kinds = tuple(kind for kind in kinds if kind.__name__.removeprefix("_") == only)
            return [kinds[0]] * 6
        return [self._rng.choice(kinds) for _ in range(self._rng.choice((0, 1, 3, 6, 10)))]

    def _some_s(self) -> float:
        return self._rng.choice(_SHORT_S if self._rng.random() < 0.5 else LONG_S) * (0.9 + 0.2 * self._rng.random())

    def _some_node(self) -> str:
        return self._rng.choice(self.names)

    def _kill_node(self) -> None:
        name, silently = self._some_node(), self._rng.random() < 0.4
        node = self.cluster.nodes[name]
        if node.has_ended:
            return
        self._tell(f"{name} {'loses power' if silently else 'is killed'}")
        node.die(silently=silently)
        if silently:
            self.machines.power_off(name)
        else:
            self.machines.changed()
        self.world.later(self._some_s(), partial(self._return_node, name))

    def _return_node(self, name: str) -> None:
        if self.cluster.nodes[name].has_ended:
            self._tell(f"{name} returns")
            self.cluster.start_node(name)

    def _pause_node(self) -> None:
        self._pause(self._some_node())

    def _pause_head(self) -> None:
        self._pause(HEAD)

    def _pause_client(self) -> None:
        self._pause(self._rng.choice(self.cluster.users()).name)

    def _pause(self, name: str) -> None:
        for_s = self._some_s()
        self._tell(f"{name} is stopped for {for_s:.2f} s")
        self.machines.pause(name)
        self.world.later(for_s, partial(self._resume, name))

    def _resume(self, name: str) -> None:
        self._tell(f"{name} goes on")
        self.machines.resume(name)

    def _cut_from_head(self) -> None:
        self._cut(HEAD, self._some_node())

    def _cut_client(self) -> None:
        self._cut(HEAD, self._rng.choice(self.cluster.users()).name)

    def _cut_nodes(self) -> None:
        one, other = self._rng.sample(self.names, 2)
        self._cut(one, other)

    def _cut(self, one: str, other: str, for_s: float | None = None) -> None:
        if self.is_settling:
            return
        for_s = self._some_s() if for_s is None else for_s
        if self._rng.random() < 0.5:
            one, other = other, one
        is_one_way = self._rng.random() < 0.4
        self._tell(f"{one} does not hear {other}{'' if is_one_way else ', nor the other way,'} for {for_s:.2f} s")
        self.machines.cut(one, other, one_way=is_one_way)
        self.world.later(for_s, partial(self._mend, one, other))

    def _mend(self, one: str, other: str) -> None:
        self._tell(f"{one} and {other} hear each other")
        self.machines.mend(one, other)

    def _flap(self) -> None:
        one, other = self._rng.sample([HEAD, *self.names], 2)
        for number in range(self._rng.randint(2, 6)):
            self.world.later(number * 1.5 + self._rng.random(), partial(self._cut, one, other, self._rng.random()))

    def kill_head(self) -> None:
        if self.cluster.head.has_ended:
            return
        silently = self._rng.random() < 0.3
        self._tell(f"the head {'loses power' if silently else 'is killed'}")
        self._engines_trouble()
        for job in self._wanted:
            job.causes.add(JobInterrupted)  # what it has kept for a client is gone with it
        self.cluster.head.die(silently=silently)
        if silently:
            self.is_line_dead = True
            self.machines.power_off(HEAD)
        else:
            self.machines.changed()
        if self.journal_files is not None and self._rng.random() < _ROTS_SHARE:
            self._tell(self.journal_files.rot())
        self.world.later(self._some_s(), self._return_head)

    def _return_head(self) -> None:
        if self.cluster.head.has_ended:
            self._tell("the head returns")
            try:
                self.cluster.start_head()
            except JournalDamaged as refusal:
                self._tell(f"it ends: {refusal.what}")
                self._mend_journal()
                self.cluster.start_head()
            if self._asks_models:
                self._attach()

    def _mend_journal(self) -> None:
        """Do what the refusal says; whoever submitted a job that is lost is told that there is none."""
        assert self.journal_files is not None
        gone = self.journal_files.mend(self.world.clock.unix_s())
        self._tell(f"{self.journal_files.mendings[-1:]}")
        for job in self._wanted:
            if gone and (job.job is None or job.job.id in gone):
                job.causes.add(UnknownJob)

    def _kill_client(self) -> None:
        user = self._rng.choice(self.cluster.users())
        if not user.has_ended:
            self._tell(f"{user.name} is killed")
            self.are_users_dead = True
            user.die()
            self.machines.changed()

    def _jump(self) -> None:
        clocks = {HEAD: self.cluster.head.clock, **{name: node.clock for name, node in self.cluster.nodes.items()}}
        name = self._rng.choice(list(clocks))
        self._tell(f"the wall clock of {name} jumps")
        clocks[name].wall_s += self._rng.choice((-3600.0, 3600.0))

    def _leave(self) -> None:
        """Have a node leave in good order; it comes back later."""
        name = self._some_node()
        member = self.cluster.nodes[name].actor
        if member is not None and member._standing.stand is Stand.MEMBER:
            self._tell(f"{name} leaves")
            self.cluster.nodes[name].end()
            self.world.later(self._some_s(), partial(self._return_node, name))

    def _join_node(self) -> None:
        name = f"node-{len(self.names)}"
        self._tell(f"{name} joins")
        self.names.append(name)
        self.cluster.start_node(name)

    def _drain(self) -> None:
        """Have the head place nothing on a node any more, which then ends by itself; it comes back later."""
        name, door = self._some_node(), self.cluster.door
        if door is not None and name in self.cluster.members() and self.machines.runs(HEAD):
            self._tell(f"{name} is drained")
            door._nodes.drain(NodeId(name))
            self.world.later(self._end_s, partial(self._return_node, name))

    def _kill_engine(self) -> None:
        links = [link for link in self.cluster.head.links if not link.is_closed]
        if links and not self.cluster.head.has_ended:
            link = self._rng.choice(links)
            self._tell(f"engine {link.engine_id} is lost")
            self._engines_trouble()
            link.die("lost")
            self.world.later(self._some_s(), partial(self._replace, link.models[0]))

    def _replace(self, model: str) -> None:
        if not self.cluster.head.has_ended:
            self.cluster.head.attach(model)

    def _fill_disk(self) -> None:
        self._tell("the disk of the head is full")
        self.cluster.disk.is_full = self.cluster.files.is_full = True

    def _hold_task(self) -> None:
        tasks = self.world.refs(Task)
        if tasks:
            name, ref = self._rng.choice([*tasks.items()])
            for_s = self._some_s()
            self._tell(f"{name} is held for {for_s:.2f} s")
            for job in self._wanted:
                job.causes.add(TaskStuck)
            self.world.hold(ref, for_s)

    def _mangle(self) -> None:
        self._tell("messages come twice or late")
        self.machines.mangled_share = 0.01

    def _engines_trouble(self) -> None:
        for job in self._wanted:
            if job.flow.needs_models:
                job.causes.add(RecordFailed)

    def mend_all(self) -> None:
        """Let all be well again."""
        self._tell(_MENDED)
        self.cluster.disk.is_full = self.cluster.files.is_full = False
        self.machines.mangled_share = 0.0
        self.machines.mend_all()
        for name in [HEAD, *self.names, *(user.name for user in self.cluster.users())]:
            self.machines.resume(name)
        self._return_head()
        for name in self.names:
            self._return_node(name)

    def _tell(self, what: str) -> None:
        self.have_struck = self.have_struck or what != _MENDED
        self.told.append(f"{self.world.num_steps:>6} {self.world.clock.monotonic_s():>10.4f} s  {what}")
