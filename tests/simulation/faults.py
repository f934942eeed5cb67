"""What goes wrong in a simulated house, drawn from the world's random numbers. Knows nothing of what must follow.

Each fault tells the jobs that it may reach which error they may end with from then on.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from cluster.jobs.node_news import CloseNode
from cluster.jobs.orders import CancelJob
from cluster.runtime.actor import Actor, tell
from cluster.runtime.drive_ports import Workshop
from cluster.runtime.messages import TaskSpec
from cluster.runtime.source import Reader
from cluster.runtime.task import Task
from cluster.serving.manager import SetPolicy
from operators.machine import Command, Machine
from operators.tables import Tables
from sage.base.batch import Batch
from sage.base.errors import (
    InternalError,
    JobCancelled,
    NodeLost,
    NoRoom,
    RecordFailed,
    SageError,
    SourceUnreadable,
    TaskStuck,
)
from tests.simulation.engine import Death, SimulatedLink
from tests.simulation.flows import CHAT, EMBED, RandomFlow
from tests.simulation.house import House, HouseSettings, SimulatedJob
from tests.simulation.world import World

_LAST_STEP = 600
_HELD_S = (0.1, 1.0, 3.0)
_LATE_S = 0.1
_LATE_STEPS = 200  # that others may take before the plane has its turn


class Broken(Exception):
    """What a machine raises that has a fault of its own."""


class BreakingWorkshop:
    """Makes machines of which one, after so many batches have been taken in all, raises what it must never raise."""

    def __init__(self, workshop: Workshop, breaks: Callable[[], bool]) -> None:
        self._workshop = workshop
        self._breaks = breaks

    def machine(self, spec: TaskSpec, tables: Tables | None = None) -> Machine:
        machine = self._workshop.machine(spec, tables)
        take = machine.on_batch

        def on_batch(batch: Batch) -> list[Command]:
            if self._breaks():
                raise Broken("the simulation broke a machine")
            return take(batch)

        machine.on_batch = on_batch  # type: ignore[method-assign] # every machine is a plain object
        return machine

    def reader(self, spec: TaskSpec) -> Reader | None:
        return self._workshop.reader(spec)

    def reader_at(self, spec: TaskSpec, position: Any) -> Reader:
        return self._workshop.reader_at(spec, position)


class Story:
    """A house, what is submitted to it, and what happens to it; all of it follows from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        self.told: list[str] = []
        self._rng = self.world.rng
        self._num_batches_left: int | None = None
        self._causes: set[type[SageError]] = set()
        self.house = House(self.world, self._settings(), workshop=lambda made: BreakingWorkshop(made, self._breaks))
        flows = [RandomFlow(f"flow-{number}", self._rng) for number in range(self._rng.choice((1, 1, 2, 3)))]
        self._start_engines(flows)
        for flow in flows:
            self.world.at_step(self._step(), partial(self._submit, flow))
        self._num_flows = len(flows)
        for fault in self._faults():
            self.world.at_step(self._step(), fault)

    def run(self) -> None:
        """Let it all happen; raises AssertionError that says what is wrong."""
        try:
            self._run()
        finally:
            self.world.close()

    def _run(self) -> None:
        house = self.house
        self.world.run_until(lambda: len(house.jobs) == self._num_flows, "the last submit")
        house.run()
        wrong = house.wrong()
        wrong += house.end()
        if house.requests.latest_s > _LATE_S + self.world.held_s + _LATE_STEPS * self.world.cost_s:
            wrong.append(f"a request was answered {house.requests.latest_s:.3f} s after its deadline")
        assert not wrong, "\n".join(
            [*wrong, "What happened:", *self.told, "The end of the schedule:", self.world.schedule.tail()]
        )

    def _settings(self) -> HouseSettings:
        rng = self._rng
        return HouseSettings(
            num_nodes=rng.choice((1, 1, 2, 3)),
            batch_records=rng.choice((1, 3, 1000)),
            inbox_batches=rng.choice((1, 2, 8)),
            max_waiting=rng.choice((1, 4, 1000)),
            latency_s=rng.choice((0.0, 0.0005, 0.05)),
        )

    def _step(self) -> int:
        return self.world.num_steps + int(_LAST_STEP ** self._rng.random())

    def _submit(self, flow: RandomFlow) -> None:
        job = self.house.submit(flow, num_restarts=self._rng.choice((0, 0, 1, 3)))
        job.causes |= self._causes
        if flow.must_fail():
            job.causes.add(RecordFailed)
        if flow.source_breaks:
            job.causes.add(SourceUnreadable)
        if flow.has_deadline and flow.needs_models:
            job.causes.add(RecordFailed)
        self._tell(f"{flow.flow.name} is submitted")

    def _start_engines(self, flows: list[RandomFlow]) -> None:
        if not any(flow.asks_models for flow in flows):
            return
        for model in (CHAT, EMBED):
            for _ in range(self._rng.choice((1, 1, 2))):
                self.house.attach(model)

    # Faults.

    def _faults(self) -> list[Callable[[], None]]:
        """Return what goes wrong: often nothing, seldom much."""
        rng = self._rng
        kinds = (
            self._cancel,
            self._lose_node,
            self._stop_node,
            self._break_machine,
            self._hold,
            self._join_node,
            self._break_plane,
            self._kill_engine,
            self._fail_start,
            self._change_policy,
            self._drain,
        )
        return [rng.choice(kinds) for _ in range(rng.choice((0, 1, 1, 2, 4)))]

    def _cancel(self) -> None:
        running = [job for job in self.house.jobs if not job.is_over() and job.views]
        if running:
            job = self._rng.choice(running)
            self._may_end(job, JobCancelled)
            if job.answer is not None:
                tell(self.house.manager, CancelJob(job.job_id()))

    def _lose_node(self) -> None:
        node_id = self._rng.choice(list(self.house.nodes))
        self._all_may_end(NodeLost, NoRoom)
        self._tell(f"{node_id} is lost")
        self.house.lose(node_id, noticed_after_s=self._rng.choice((0.0, 3.0)))

    def _stop_node(self) -> None:
        """End or break the only node: where there are more, a node's process ends with its tasks, and is lost."""
        ((_, node), *others) = self.house.nodes.items()
        if others:
            return
        self._all_may_end(InternalError, NoRoom)
        is_broken = self._rng.random() < 0.5
        self._tell(f"the node is {'broken' if is_broken else 'ended'}")
        if is_broken:
            tell(node, "no message of the protocol")
        else:
            self.world.stop([node])

    def _break_machine(self) -> None:
        self._num_batches_left = self._rng.randint(0, 20)
        self._all_may_end(InternalError)
        self._tell(f"a machine breaks at batch {self._num_batches_left}")

    def _breaks(self) -> bool:
        if self._num_batches_left is None:
            return False
        self._num_batches_left -= 1
        if self._num_batches_left >= 0:
            return False
        self._num_batches_left = None
        return True

    def _hold(self) -> None:
        """Let a task's function, or anybody's thread, not go on for a while."""
        found = self.world.refs(Task if self._rng.random() < 0.5 else Actor)
        if found:
            name, ref = self._rng.choice([*found.items()])
            for_s = self._rng.choice(_HELD_S)
            self._all_may_end(TaskStuck)
            self._tell(f"{name} is held for {for_s} s")
            self.world.hold(ref, for_s)

    def _join_node(self) -> None:
        self._tell("a node joins")
        self.house.join()

    def _drain(self) -> None:
        node_id = self._rng.choice(list(self.house.nodes))
        self._all_may_end(NoRoom)
        self._tell(f"nothing new is placed on {node_id}")
        tell(self.house.manager, CloseNode(node_id))

    def _break_plane(self) -> None:
        self._engines_trouble()
        self._tell("the plane breaks")
        self.house.break_plane()

    def _kill_engine(self) -> None:
        links = [link for link in self.house.links if not link.is_closed]
        if links:
            link = self._rng.choice(links)
            how: Death = self._rng.choice(("lost", "full"))
            self._engines_trouble()
            self._tell(f"engine {link.engine_id} is {how}")
            link.die(how)
            self._replace(link)

    def _replace(self, link: SimulatedLink) -> None:
        if self._rng.random() < 0.7:
            self.world.later(self._rng.random() * 10.0, lambda: self.house.attach(link.models[0]))

    def _fail_start(self) -> None:
        if self.house.links:
            self._engines_trouble()
            self.house.attach(self._rng.choice((CHAT, EMBED)), starts_well=False)

    def _change_policy(self) -> None:
        tell(self.house.plane, SetPolicy(self._rng.choice(("fifo", "priority")), None))

    def _engines_trouble(self) -> None:
        for job in self.house.jobs:
            if job.flow.needs_models:
                self._may_end(job, RecordFailed)
        self._causes.add(RecordFailed)

    def _all_may_end(self, *causes: type[SageError]) -> None:
        self._causes |= {*causes}
        for job in self.house.jobs:
            for cause in causes:
                self._may_end(job, cause)

    def _may_end(self, job: SimulatedJob, cause: type[SageError]) -> None:
        self._tell(f"{job.flow.flow.name} may end by {cause.__name__}")
        job.causes.add(cause)

    def _tell(self, what: str) -> None:
        self.told.append(f"{self.world.num_steps:>6} {self.world.clock.monotonic_s():>10.4f} s  {what}")
