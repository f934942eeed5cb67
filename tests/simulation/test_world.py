"""The simulated world: who is next, what time it is, and what is said where nothing can happen any more."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.runtime.actor import Actor, ActorEnded, ActorFailed, Query, tell, watch
from tests.simulation.world import StandsStill, World


@dataclass(frozen=True, slots=True)
class Double(Query[int]):
    number: int


@dataclass(frozen=True, slots=True)
class RemindIn:
    after_s: float


class Worker(Actor[Any]):
    """Doubles, keeps what else it gets in `came`, and says when its timers came."""

    def __init__(self, world: World, came: list[Any]) -> None:
        super().__init__("worker", clock=world.clock, scheduler=world.here)
        self._came = came
        self._world = world

    def receive(self, message: Any) -> object:
        match message:
            case Double(number):
                return 2 * number
            case RemindIn(after_s):
                self.set_timer("reminder", after_s)
            case ValueError():
                raise message
            case _:
                self._came.append(message)
        return None

    def on_timer(self, timer_id: Hashable) -> None:
        self._came.append(self.clock.monotonic_s())

    def on_readable(self, fd: int) -> None:
        self._world.set_readable(fd, is_readable=False)
        self._came.append(fd)


def test_an_ask_lets_the_world_go_on_until_it_is_answered() -> None:
    world = World(1)
    assert world.ask(Worker.start(world, []), Double(21)) == 42


def test_time_passes_when_nothing_else_can_happen() -> None:
    world, came = World(1), []  # type: World, list[Any]
    tell(Worker.start(world, came), RemindIn(3_600.0))
    world.run_out()
    assert came == [pytest.approx(3_600.0, abs=0.1)]


def test_messages_of_one_sender_keep_their_order_and_actors_do_not() -> None:
    orders = set()
    for seed in range(20):
        world, came = World(seed), []  # type: World, list[Any]
        workers = [Worker.start(world, came) for _ in range(2)]
        for number in range(3):
            for name, worker in zip("ab", workers, strict=True):
                tell(worker, (name, number))
        world.run_out()
        for name in "ab":
            assert [number for of, number in came if of == name] == [0, 1, 2]
        orders.add(tuple(came))
    assert len(orders) > 5


def test_what_can_never_come_is_said_with_the_end_of_the_schedule() -> None:
    world = World(1)
    tell(Worker.start(world, []), "the last message")
    with pytest.raises(StandsStill, match="worker: the last message"):
        world.run_until(lambda: False, "rain")


def test_timers_alone_are_no_progress() -> None:
    world = World(1)

    def tick() -> None:
        world.later(1.0, tick)

    tick()
    with pytest.raises(StandsStill, match="only timers; waited for rain"):
        world.run_until(lambda: False, "rain")


def test_an_actor_that_is_held_handles_nothing_until_it_is_let_go() -> None:
    world, came = World(1), []  # type: World, list[Any]
    worker = Worker.start(world, came)
    world.run_out()
    world.hold(worker, 5.0)
    tell(worker, "a message")
    assert world.here.doing(worker.actor_urn) == "worker (held by the simulation)"
    world.later(4.0, lambda: came.append("four seconds"))
    world.run_out()
    assert came == ["four seconds", "a message"]


def test_a_killed_actor_says_nothing_and_one_that_breaks_tells_its_watchers() -> None:
    world, came = World(1), []  # type: World, list[Any]
    watcher, killed, broken, stopped = (Worker.start(world, came) for _ in range(4))
    for ref in (killed, broken, stopped):
        watch(ref, watcher)
    world.run_out()
    world.kill([killed])
    error = ValueError("broken")
    tell(broken, error)
    world.stop([stopped])
    world.run_out()
    assert not tell(killed, "a message")
    assert sorted(came, key=repr) == [
        ActorEnded(stopped.actor_urn, "worker"),
        ActorFailed(broken.actor_urn, "worker", error),
    ]
    assert world.living() == ["worker"]


def test_a_descriptor_that_nobody_watches_any_more_wakes_nobody() -> None:
    world, came = World(1), []  # type: World, list[Any]
    worker = Worker.start(world, came)
    fd = world.new_fd()
    mailbox = worker.actor_inbox
    mailbox.watch_fd(fd)  # type: ignore[attr-defined] # Pykka knows only put, get and empty
    world.set_readable(fd)
    world.run_out()
    mailbox.unwatch_fd(fd)  # type: ignore[attr-defined] # as above
    world.set_readable(fd)
    world.run_out()
    assert came == [fd]
