"""What goes wrong in a simulated cluster, drawn from the world's random numbers. Knows nothing of what must follow.

Whatever breaks is mended in the end, and jobs may begin anew as often as they must: so each ends as if nothing had
been, unless it was cancelled or cannot end well.
"""

from collections.abc import Callable
from functools import partial

from cluster.node.standing import NAME_TAKEN_S, Stand
from cluster.runtime.task import Task
from sage.base.errors import CheckpointUnusable, JobCancelled, JobInterrupted, RecordFailed, SourceUnreadable, TaskStuck
from sage.base.ids import NodeId
from sage.flow.checkpoint import Checkpoint
from tests.simulation.client import WantedJob
from tests.simulation.cluster import ClusterSettings
from tests.simulation.flows import CHAT, EMBED
from tests.simulation.head import HEAD
from tests.simulation.promises import WatchedCluster
from tests.simulation.world import World

_FAULTS_END_S = (3.0, 6.0, 10.0)
_KEPT_FAULTS_END_S = (2.0, 4.0)
_WITHIN_S = 900.0
_SETTLE_S = (NAME_TAKEN_S, 16.0)  # by then a node that returned has its name; killed clients are forgotten only later
_LOOK_EVERY = 10  # steps
_SHORT_S = (0.3, 1.5, 2.2, 2.6)
_LONG_S = (4.0, 10.0)


class ClusterStory:
    """A cluster, what is asked of it, and what happens to it; all of it follows from one seed."""

    def __init__(self, seed: int, *, fault: str | None = None, is_kept: bool = False) -> None:
        """`fault`: the name of the one that happens, several times; else any may, or none. `is_kept`: jobs are."""
        self.seed = seed
        self._is_kept = is_kept
        self._only = fault
        self._are_clients_dead = False
        self._is_settling = False
        self.world = World(seed)
        self.told: list[str] = []
        rng = self._rng = self.world.rng
        self.world.yielding_share = rng.choice((0.0, 0.0, 0.05, 0.3))
        self.watched = WatchedCluster(self.world, self._settings())
        self.cluster = self.watched.cluster
        self._faults_end_s = rng.choice(_KEPT_FAULTS_END_S if is_kept else _FAULTS_END_S)
        self.names = [f"node-{number}" for number in range(rng.randint(2, 3 if is_kept else 4))]
        for name in self.names:
            self.cluster.start_node(name)
        self.wanted: list[WantedJob] = []
        for number in range(1 if is_kept else rng.choice((1, 1, 2, 3))):
            mine = [self._job(f"flow-{number}-{count}") for count in range(rng.choice((1, 1, 2)))]
            self.cluster.start_client(f"client-{number}", mine)
            self.wanted += mine
        self.machines = self.cluster.machines
        self._asks_models = any(job.flow.asks_models for job in self.wanted)
        if self._asks_models:
            self._attach()
        for happening in self._faults():
            self.world.later(rng.random() * self._faults_end_s, happening)

    def run(self) -> None:
        """Let it all happen; raises AssertionError that says what is wrong."""
        try:
            self._run()
        except Exception as error:
            error.add_note("\n".join(["What happened:", *self.told]))
            raise
        finally:
            for client in self.cluster.clients:
                client.let_go()
            self.world.close()

    def _run(self) -> None:
        self.world.run_for(self._faults_end_s)
        self._mend_all()
        self._run_to_the_end()
        self._is_settling = True
        self._mend_all()
        self.world.run_for(_SETTLE_S[self._are_clients_dead])
        if self._are_clients_dead:  # what one had wished for may have begun only now
            self._run_to_the_end()
            self.world.run_for(_SETTLE_S[False])
        wrong = self.watched.broken(self.wanted)
        assert not wrong, "\n".join([*wrong, "The end of the schedule:", self.world.schedule.tail()])

    def _run_to_the_end(self) -> None:
        self.world.run_until(
            lambda: self.world.num_steps % _LOOK_EVERY == 0 and self._is_over(),
            "the end of every job",
            within_s=_WITHIN_S,
        )

    def _is_over(self) -> bool:
        door = self.cluster.door
        clients_are_done = all(client.has_ended for client in self.cluster.clients)
        return clients_are_done and door is not None and not door._book.live()

    def _settings(self) -> ClusterSettings:
        rng = self._rng
        return ClusterSettings(
            batch_records=rng.choice((1, 3, 1000)),
            inbox_batches=rng.choice((1, 2, 8)),
            latency_s=rng.choice((0.0001, 0.001, 0.02)),
            longest_s=rng.choice((0.0, 0.1, 0.5, 1.0)),
            load_s=rng.choice((0.0, 0.0, 0.01, 0.5)),
        )

    def _job(self, target: str) -> WantedJob:
        rng = self._rng
        flow = self.cluster.flow(target, rng.getrandbits(32), is_kept=self._is_kept)
        wanted = WantedJob(
            target, flow, rng.random() * 0.5 * self._faults_end_s, rng.random() * 5.0 if rng.random() < 0.15 else None
        )
        if self._is_kept:
            timeout_s = rng.choice((3.0, 60.0, 60.0, 60.0))
            wanted.kept = Checkpoint(f"/kept/{target}", every_s=rng.choice((0.05, 0.2, 0.5)), timeout_s=timeout_s)
            wanted.causes |= {CheckpointUnusable} if timeout_s < _LONG_S[1] else set()
        if flow.must_fail() or (flow.has_deadline and flow.needs_models):
            wanted.causes.add(RecordFailed)
        if flow.source_breaks:
            wanted.causes.add(SourceUnreadable)
        if wanted.cancels_s is not None:
            wanted.causes.add(JobCancelled)
        return wanted

    def _attach(self) -> None:
        for model in (CHAT, EMBED):
            for _ in range(self._rng.choice((1, 2))):
                self.cluster.head.attach(model)

    # Faults.

    def _faults(self) -> list[Callable[[], None]]:
        kinds: tuple[Callable[[], None], ...] = (
            self._kill_node,
            self._kill_node,
            self._pause_node,
            self._pause_node,
            self._cut_from_head,
            self._cut_from_head,
            self._cut_nodes,
            self._cut_nodes,
            self._flap,
            self._kill_head,
            self._kill_head,
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
        if self._only is not None:
            kinds = tuple(kind for kind in kinds if kind.__name__ == f"_{self._only}")
            return [kinds[0]] * 6
        return [self._rng.choice(kinds) for _ in range(self._rng.choice((0, 1, 3, 6, 10)))]

    def _some_s(self) -> float:
        return self._rng.choice(_SHORT_S if self._rng.random() < 0.5 else _LONG_S) * (0.9 + 0.2 * self._rng.random())

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
        self._pause(self._rng.choice(self.cluster.clients).name)

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
        self._cut(HEAD, self._rng.choice(self.cluster.clients).name)

    def _cut_nodes(self) -> None:
        one, other = self._rng.sample(self.names, 2)
        self._cut(one, other)

    def _cut(self, one: str, other: str, for_s: float | None = None) -> None:
        if self._is_settling:
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

    def _kill_head(self) -> None:
        if self.cluster.head.has_ended:
            return
        silently = self._rng.random() < 0.3
        self._tell(f"the head {'loses power' if silently else 'is killed'}")
        self._engines_trouble()
        for job in self.wanted:
            job.causes.add(JobInterrupted)  # what it has kept for a client is gone with it
        self.cluster.head.die(silently=silently)
        if silently:
            self.machines.power_off(HEAD)
        else:
            self.machines.changed()
        self.world.later(self._some_s(), self._return_head)

    def _return_head(self) -> None:
        if self.cluster.head.has_ended:
            self._tell("the head returns")
            self.cluster.start_head()
            if self._asks_models:
                self._attach()

    def _kill_client(self) -> None:
        client = self._rng.choice(self.cluster.clients)
        if not client.has_ended:
            self._tell(f"{client.name} is killed")
            self._are_clients_dead = True
            client.die()
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
            self.world.later(self._faults_end_s, partial(self._return_node, name))

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
        for job in self.wanted:
            job.causes |= {CheckpointUnusable} if job.kept is not None else set()

    def _hold_task(self) -> None:
        tasks = self.world.refs(Task)
        if tasks:
            name, ref = self._rng.choice([*tasks.items()])
            for_s = self._some_s()
            self._tell(f"{name} is held for {for_s:.2f} s")
            for job in self.wanted:
                job.causes.add(TaskStuck)
            self.world.hold(ref, for_s)

    def _mangle(self) -> None:
        self._tell("messages come twice or late")
        self.machines.mangled_share = 0.01

    def _engines_trouble(self) -> None:
        for job in self.wanted:
            if job.flow.needs_models:
                job.causes.add(RecordFailed)

    def _mend_all(self) -> None:
        self._tell("everything is mended")
        self.cluster.disk.is_full = self.cluster.files.is_full = False
        self.machines.mangled_share = 0.0
        self.machines.mend_all()
        for name in [HEAD, *self.names, *(client.name for client in self.cluster.clients)]:
            self.machines.resume(name)
        self._return_head()
        for name in self.names:
            self._return_node(name)

    def _tell(self, what: str) -> None:
        self.told.append(f"{self.world.num_steps:>6} {self.world.clock.monotonic_s():>10.4f} s  {what}")
