"""Flows of any shape give what plain lists give: on threads, and step by step in every order of events."""

from collections import deque
from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.jobs.tasks import tasks_from_plan
from cluster.local import LocalCluster
from cluster.runtime.drive import Drive
from cluster.runtime.gauge import Gauge
from cluster.runtime.links import Delivery, Link, TaskMessage, recipient_of
from cluster.runtime.messages import TaskFact, TaskFinished, TaskSpec
from cluster.runtime.workshop import OperatorWorkshop
from operators.index import IndexStore
from operators.machine import Call, DeadLetter
from operators.partition import Partitioner
from sage.base.clock import ManualClock
from sage.base.ids import JobId, RequestId, TaskId
from sage.base.inference import Request
from sage.base.settings import RuntimeSettings, Settings
from sage.flow.plan import plan_from_graph
from sage.flow.runner import DeadLetterRecord
from tests.cluster.random_flows import Move, RandomFlow, moves, sources

DEADLINE_S = 30.0


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[LocalCluster]:
    """One cluster for all examples, with the smallest of everything."""
    with LocalCluster(settings=Settings(runtime=RuntimeSettings(batch_records=3, inbox_batches=1))) as cluster:
        yield cluster


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sources=sources, moves=moves)
def test_on_threads(shared_cluster: LocalCluster, sources: list[list[int]], moves: list[Move]) -> None:
    random_flow = RandomFlow(sources, moves)
    shared_cluster.submit(random_flow.flow).wait(DEADLINE_S)
    random_flow.check()


class Schedule:
    """Runs the drives of one job on this thread; a random number says who is next. No thread, no clock."""

    def __init__(self, tasks: Sequence[TaskSpec], runtime: RuntimeSettings, rng: Random) -> None:
        self._rng = rng
        self._on_the_way: dict[Link, deque[TaskMessage]] = {}
        self._runtime = runtime
        self.finished: list[TaskId] = []
        workshop = OperatorWorkshop(IndexStore(), batch_records=runtime.batch_records)
        self._drives = {
            task.id: Drive(task, Hands(self), Gauge(), split=Partitioner().split, settings=runtime, clock=ManualClock())
            for task in tasks
        }
        for drive in self._drives.values():
            drive.open(workshop)
            drive.begin()

    def send(self, message: TaskMessage) -> None:
        self._on_the_way.setdefault(message.link, deque()).append(message)
        num_batches = sum(isinstance(waiting, Delivery) for waiting in self._on_the_way[message.link])
        assert num_batches <= self._runtime.inbox_batches, "more under way than there was credit for"

    def run(self) -> None:
        """Go on until nothing happens any more."""
        while self._step():
            pass

    def _step(self) -> bool:
        choices: list[Drive | deque[TaskMessage]] = [*self._drives.values()]
        choices += [way for way in self._on_the_way.values() if way]
        self._rng.shuffle(choices)
        for choice in choices:
            if isinstance(choice, Drive):
                if choice.step():
                    return True
            else:
                message = choice.popleft()
                self._drives[recipient_of(message)].arrive(message)
                return True
        return False


class Hands:
    """The hands of a drive in a schedule: steps that wait have no place in it."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def send(self, message: TaskMessage) -> None:
        self._schedule.send(message)

    def wake(self) -> None:
        raise AssertionError("no source of these flows is woken")

    def report(self, fact: TaskFact) -> None:
        if isinstance(fact, TaskFinished):
            self._schedule.finished.append(fact.task_id)

    def ask(self, requests: Sequence[Request]) -> None:
        raise AssertionError(requests)

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        raise AssertionError(request_ids)

    def call(self, calls: Sequence[Call]) -> None:
        raise AssertionError(calls)

    def free(self, num_permits: int) -> None:
        raise AssertionError(num_permits)

    def set_timer(self, timer_id: int, after_s: float) -> None:
        raise AssertionError(timer_id)

    def keep_letter(self, record: DeadLetterRecord, letter: DeadLetter) -> None:
        raise AssertionError(record)


@settings(deadline=None)
@given(
    sources=sources, moves=moves, batch_records=st.integers(1, 5), inbox_batches=st.integers(1, 3), seed=st.integers()
)
def test_step_by_step_in_any_order(
    sources: list[list[int]], moves: list[Move], batch_records: int, inbox_batches: int, seed: int
) -> None:
    random_flow = RandomFlow(sources, moves)
    tasks = tasks_from_plan(JobId("job"), plan_from_graph(random_flow.flow.graph()))
    runtime = RuntimeSettings(batch_records=batch_records, inbox_batches=inbox_batches)
    schedule = Schedule(tasks, runtime, Random(seed))
    schedule.run()
    assert sorted(schedule.finished) == sorted(task.id for task in tasks), "the flow stands still"
    random_flow.check()
