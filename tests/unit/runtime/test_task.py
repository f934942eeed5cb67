"""The actor around a drive: one last word, everything let go, nothing waits for ever."""

import queue
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Never

import pytest
from pykka import ActorRef

from cluster.runtime.actor import ActorEnded, stop, tell, watch
from cluster.runtime.coroutines import ThreadCoroutines
from cluster.runtime.gauge import Gauge
from cluster.runtime.hands import TaskPorts
from cluster.runtime.inproc import InprocTransport
from cluster.runtime.inputs import InputSpec
from cluster.runtime.links import Delivery, End, Link
from cluster.runtime.messages import (
    Begin,
    SomethingCame,
    StopTask,
    TaskFact,
    TaskFailed,
    TaskFinished,
    TaskOpened,
    TaskSetAside,
    TaskSpec,
    TaskStopped,
)
from cluster.runtime.outputs import OutputSpec
from cluster.runtime.task import Task
from operators.machine import Ask, CallResult, Command, Counts, DeadLetter, Emit, SetTimer, Withdraw
from operators.state import State
from operators.tables import Tables
from sage.base.batch import Batch
from sage.base.clock import SystemClock
from sage.base.errors import InternalError, RecordFailed
from sage.base.ids import JobId, RequestId, TaskId
from sage.base.inference import EmbedRequest, Failed, Failure, ModelCard, Reply, ReplyTo, Request
from sage.base.settings import RuntimeSettings
from sage.flow.graph import Step, Where
from sage.flow.plan import Chain, Routing
from sage.flow.spec import Union
from tests.unit.runtime.test_actor import Collector

DEADLINE_S = 10.0
OWN = TaskId("job/own/0")
BEFORE = Link(0, TaskId("job/before/0"), OWN)
AFTER = Link(1, OWN, TaskId("job/after/0"))


@dataclass
class ScriptedMachine:
    """Does what its fields say, and remembers what was done to it."""

    on_records: Callable[[list[int]], list[Command]] = lambda records: [Emit(Batch(records))]
    num_in_flight: int = 0
    closed: list[bool] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def open(self) -> None:
        pass

    def restore(self, state: State) -> list[Command]:
        raise AssertionError(state)

    def snapshot(self) -> State:
        return {}

    def room(self) -> int:
        return 1_000_000

    def on_batch(self, batch: Batch) -> list[Command]:
        return self.on_records(list(batch.values))

    def on_replies(self, replies: Sequence[Reply]) -> list[Command]:
        self.replies.extend(replies)
        self.num_in_flight -= len(replies)
        return []

    def on_results(self, results: Sequence[CallResult]) -> list[Command]:
        raise AssertionError(results)

    def on_timer(self, timer_id: int) -> list[Command]:
        self.num_in_flight = 0
        return [Emit(Batch([timer_id]))]

    def on_end(self) -> list[Command]:
        return []

    def is_done(self) -> bool:
        return self.num_in_flight == 0

    def close(self, *, complete: bool) -> list[Command]:
        self.closed.append(complete)
        return [] if complete else [Emit(Batch([99])), Withdraw((RequestId("r"),))]


class FixedWorkshop:
    def __init__(self, machine: ScriptedMachine) -> None:
        self._machine = machine

    def machine(self, spec: TaskSpec, tables: Tables | None = None) -> ScriptedMachine:
        return self._machine

    def reader(self, spec: TaskSpec) -> None:
        return None

    def reader_at(self, spec: TaskSpec, position: Any) -> Never:
        raise AssertionError(position)


class PatientInference:
    """Keeps requests until it is told to answer."""

    def __init__(self) -> None:
        self.cancelled: list[RequestId] = []
        self.asked: queue.SimpleQueue[tuple[Sequence[Request], ReplyTo]] = queue.SimpleQueue()

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self.asked.put((requests, reply_to))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self.cancelled.extend(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return ()


class Bench:
    """One task between two ends of links, with what it says and sends."""

    def __init__(self, machine: ScriptedMachine) -> None:
        self.inference = PatientInference()
        self.at_end: Callable[[], None] = lambda: None
        self.transport = InprocTransport()
        self.facts: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for other in (BEFORE.source, AFTER.target):
            self.transport.connect(other, self._receive)
        step = Step("own", Union(), (), Where("flow.py", 1))
        chain = Chain("own", (step,), 1, step.demand)
        output = OutputSpec(Routing.FORWARD, (AFTER,))
        spec = TaskSpec(OWN, JobId("job"), chain, 0, (InputSpec(BEFORE),), (output,))
        ports = TaskPorts(
            transport=self.transport,
            coroutines=ThreadCoroutines("coroutines"),
            inference=self.inference,
            workshop=FixedWorkshop(machine),
            report=self.facts.put,
            settings=RuntimeSettings(inbox_batches=2),
            clock=SystemClock(),
        )
        self.task: ActorRef[Task] = Task.start(spec, ports, Gauge())
        self._collector = Collector.start(self.ended)
        watch(self.task, self._collector)
        assert self.fact() == TaskOpened(OWN)
        tell(self.task, Begin())

    def _receive(self, message: object) -> bool:
        if isinstance(message, End):
            self.at_end()
        self.sent.put(message)
        return True

    def fact(self) -> TaskFact:
        fact: TaskFact = self.facts.get(timeout=DEADLINE_S)
        return fact

    def feed(self, *values: int) -> None:
        self.transport.send(Delivery(BEFORE, Batch(list(values))))

    def finish(self) -> None:
        """Wait until the task's thread has ended, and end the bench."""
        assert isinstance(self.ended.get(timeout=DEADLINE_S), ActorEnded)
        stop([self.task, self._collector], timeout_s=DEADLINE_S)


@pytest.fixture
def machine() -> ScriptedMachine:
    return ScriptedMachine()


@pytest.fixture
def bench(machine: ScriptedMachine) -> Iterator[Bench]:
    bench = Bench(machine)
    yield bench
    bench.finish()


def test_batches_pass_and_the_end_follows_them(bench: Bench, machine: ScriptedMachine) -> None:
    bench.feed(1, 2)
    bench.transport.send(End(BEFORE))
    assert bench.fact() == TaskFinished(OWN)
    sent = [bench.sent.get(timeout=DEADLINE_S) for _ in range(3)]
    assert Delivery(AFTER, Batch([1, 2])) in sent
    assert sent[-1] == End(AFTER)
    assert machine.closed == [True]


def test_a_task_ends_though_a_message_comes_at_its_very_end(bench: Bench) -> None:
    bench.at_end = lambda: bench.task.tell(SomethingCame())
    bench.transport.send(End(BEFORE))
    assert bench.fact() == TaskFinished(OWN)


def test_a_stopped_task_withdraws_what_it_asked_and_emits_nothing_more(bench: Bench, machine: ScriptedMachine) -> None:
    tell(bench.task, StopTask())
    assert bench.fact() == TaskStopped(OWN)
    assert bench.inference.cancelled == ["r"]
    assert machine.closed == [False]
    assert bench.sent.empty()


def test_a_record_that_fails_is_the_last_word_and_closes_the_machine_once(
    bench: Bench, machine: ScriptedMachine
) -> None:
    error = RecordFailed("broken")

    def fail(records: list[int]) -> list[Command]:
        raise error

    machine.on_records = fail
    bench.feed(1)
    bench.feed(2)
    assert bench.fact() == TaskFailed(OWN, error)
    assert machine.closed == [False]


def test_a_fault_of_ours_is_told_with_its_cause(bench: Bench, machine: ScriptedMachine) -> None:
    cause = ZeroDivisionError("oh")

    def fail(records: list[int]) -> list[Command]:
        raise cause

    machine.on_records = fail
    bench.feed(1)
    fact = bench.fact()
    assert isinstance(fact, TaskFailed)
    assert isinstance(fact.error, InternalError)
    assert fact.error.__cause__ is cause


def test_a_function_that_would_end_the_process_fails_the_job_by_its_line(
    bench: Bench, machine: ScriptedMachine
) -> None:
    def leave(records: list[int]) -> list[Command]:
        raise SystemExit(3)

    machine.on_records = leave
    bench.feed(1)
    fact = bench.fact()
    assert isinstance(fact, TaskFailed)
    assert isinstance(fact.error, RecordFailed)
    assert "own would end the process: SystemExit: 3" in fact.error.what
    assert "in leave" in fact.error.user_traceback


def test_replies_wake_the_task_and_the_end_waits_for_them(bench: Bench, machine: ScriptedMachine) -> None:
    request = EmbedRequest(RequestId("r"), "m", ("text",))

    def ask(records: list[int]) -> list[Command]:
        machine.num_in_flight += 1
        return [Ask((request,))]

    machine.on_records = ask
    bench.feed(1)
    bench.transport.send(End(BEFORE))
    requests, reply_to = bench.inference.asked.get(timeout=DEADLINE_S)
    reply = Failed(requests[0].id, Failure("SAGE-2207", "no"))
    assert bench.facts.empty()
    reply_to([reply])
    assert bench.fact() == TaskFinished(OWN)
    assert machine.replies == [reply]


def test_a_timer_wakes_the_task(bench: Bench, machine: ScriptedMachine) -> None:
    def set_timer(records: list[int]) -> list[Command]:
        machine.num_in_flight = 1
        return [SetTimer(7, 0.001)]

    machine.on_records = set_timer
    bench.feed(1)
    bench.transport.send(End(BEFORE))
    assert bench.fact() == TaskFinished(OWN)
    sent = [bench.sent.get(timeout=DEADLINE_S) for _ in range(2)]
    assert Delivery(AFTER, Batch([7])) in sent


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("never")


def test_dead_letters_are_numbered_and_cut_and_survive_a_bad_repr(bench: Bench, machine: ScriptedMachine) -> None:
    machine.on_records = lambda records: [
        DeadLetter("own", value, "ValueError: no", "Traceback") for value in ("x" * 20_000, Unprintable())
    ]
    bench.feed(1)
    fact = bench.fact()
    bench.transport.send(End(BEFORE))
    assert isinstance(fact, TaskSetAside)
    assert [letter.id for letter in fact.letters] == [f"{OWN}/1", f"{OWN}/2"]
    assert len(fact.letters[0].value) == 10_000
    assert "Unprintable" in fact.letters[1].value
    assert bench.fact() == TaskFinished(OWN)
