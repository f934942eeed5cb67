"""The actor every other derives from: failures are told, asks end, threads stop."""

import os
import queue
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from cluster.runtime.actor import Actor, ActorEnded, ActorFailed, ActorSilent, Query, ask, stop, tell, watch
from cluster.runtime.scheduler import thread_of
from cluster.runtime.supervision import RestartBudget

DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Double(Query[int]):
    number: int


@dataclass(frozen=True, slots=True)
class Raise:
    error: BaseException


@dataclass(frozen=True, slots=True)
class WaitFor:
    event: threading.Event


class Worker(Actor[Double | Raise | WaitFor]):
    def receive(self, message: Double | Raise | WaitFor) -> object:
        match message:
            case Double(number):
                return 2 * number
            case Raise(error):
                raise error
            case WaitFor(event):
                return event.wait(DEADLINE_S)


class StubbornWorker(Worker):
    restartable = True


class Collector(Actor[object]):
    def __init__(self, box: "queue.SimpleQueue[Any]") -> None:
        super().__init__("collector")
        self._box = box

    def receive(self, message: object) -> None:
        self._box.put(message)


def test_an_ask_is_answered_with_its_type() -> None:
    ref = Worker.start("worker")
    answer: int = ask(ref, Double(21), timeout_s=DEADLINE_S)
    assert answer == 42
    assert stop([ref], timeout_s=DEADLINE_S) == []
    assert thread_of(ref.actor_urn) is None


def test_an_ask_of_an_actor_that_ended_raises_and_a_tell_says_so() -> None:
    ref = Worker.start("worker")
    stop([ref], timeout_s=DEADLINE_S)
    with pytest.raises(ActorSilent):
        ask(ref, Double(1), timeout_s=DEADLINE_S)
    assert not tell(ref, Double(1))


def test_an_ask_has_a_deadline() -> None:
    ref = Worker.start("worker")
    event = threading.Event()
    tell(ref, WaitFor(event))
    with pytest.raises(ActorSilent, match="did not answer"):
        ask(ref, Double(1), timeout_s=0.01)
    event.set()
    assert stop([ref], timeout_s=DEADLINE_S) == []


@pytest.mark.parametrize("error", [ValueError("broken"), SystemExit(3)])
def test_an_exception_in_a_tell_is_told_to_watchers(error: BaseException) -> None:
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    collector = Collector.start(box)
    ref = Worker.start("worker")
    watch(ref, collector)
    tell(ref, Raise(error))
    assert box.get(timeout=DEADLINE_S) == ActorFailed(ref.actor_urn, "worker", error)
    assert not ref.is_alive()
    stop([collector], timeout_s=DEADLINE_S)


def test_watching_an_actor_that_has_ended_is_answered_at_once() -> None:
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    collector = Collector.start(box)
    ref = Worker.start("worker")
    stop([ref], timeout_s=DEADLINE_S)
    watch(ref, collector)
    assert isinstance(box.get(timeout=DEADLINE_S), ActorEnded)
    stop([collector], timeout_s=DEADLINE_S)


def test_a_restartable_actor_goes_on_five_times_and_then_fails() -> None:
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    collector = Collector.start(box)
    ref = StubbornWorker.start("worker")
    watch(ref, collector)
    for _ in range(5):
        tell(ref, Raise(ValueError("broken")))
    assert ask(ref, Double(1), timeout_s=DEADLINE_S) == 2
    tell(ref, Raise(ValueError("broken")))
    assert isinstance(box.get(timeout=DEADLINE_S), ActorFailed)
    stop([collector], timeout_s=DEADLINE_S)


class HopelessWorker(StubbornWorker):
    """Can neither be put right nor cleaned up."""

    def on_restart(self, error: BaseException) -> None:
        raise RuntimeError("no restart")

    def on_failure(self, *failure: object) -> None:
        raise RuntimeError("no clean-up")


def test_watchers_are_told_though_restart_and_clean_up_fail_too() -> None:
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    collector = Collector.start(box)
    ref = HopelessWorker.start("worker")
    watch(ref, collector)
    tell(ref, Raise(ValueError("broken")))
    failed = box.get(timeout=DEADLINE_S)
    assert isinstance(failed, ActorFailed)
    assert str(failed.error) == "no restart"
    stop([ref, collector], timeout_s=DEADLINE_S)


def test_a_restart_budget_fills_again_with_time() -> None:
    budget = RestartBudget(num_restarts=2, within_s=60.0)
    assert [budget.allows(at_s) for at_s in (0.0, 1.0, 2.0, 60.0, 60.5)] == [True, True, False, True, False]


def test_stop_names_those_that_did_not_stop_in_time() -> None:
    ref = Worker.start("the stuck one")
    event = threading.Event()
    tell(ref, WaitFor(event))
    assert stop([ref], timeout_s=0.01) == ["the stuck one"]
    event.set()
    assert stop([ref], timeout_s=DEADLINE_S) == []


class Reader(Actor[int]):
    """Watches the descriptor that it is told and puts what it reads into a queue."""

    def __init__(self, box: "queue.SimpleQueue[Any]") -> None:
        super().__init__("reader")
        self._box = box

    def receive(self, message: int) -> None:
        self.watch_fd(message)
        self.set_timer("ready", 0.0)

    def on_timer(self, timer_id: object) -> None:
        self._box.put(timer_id)

    def on_readable(self, fd: int) -> None:
        self._box.put(os.read(fd, 100))


def test_an_actor_reads_descriptors_on_its_own_thread() -> None:
    box: queue.SimpleQueue[Any] = queue.SimpleQueue()
    read, write = os.pipe()
    ref = Reader.start(box)
    tell(ref, read)
    assert box.get(timeout=DEADLINE_S) == "ready"
    os.write(write, b"abc")
    assert box.get(timeout=DEADLINE_S) == b"abc"
    assert stop([ref], timeout_s=DEADLINE_S) == []
    os.close(read)
    os.close(write)
