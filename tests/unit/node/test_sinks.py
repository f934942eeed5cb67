"""Sinks on a node: what goes to the head is bounded, and nothing is done that others can see without a lease."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sage
from cluster.jobs.lease import Lease
from cluster.jobs.tasks import tasks_from_plan
from cluster.node.sinks import CollectingSink, LeasedSink, ResumableLeasedSink, SinkPorts, leased, with_sinks_here
from cluster.node.untaken import Untaken
from cluster.runtime.control import NUM_UNTAKEN, RunCollected, RunLogged
from cluster.runtime.packed import PIECE_BYTES, unpack_records
from cluster.runtime.record_types import RecordTypes
from sage.base.clock import ManualClock
from sage.base.errors import MembershipOver
from sage.base.ids import JobId, TaskId
from sage.flow.plan import plan_from_graph
from sage.flow.shares import share_of
from sage.flow.spec import ForEach, Write

DEADLINE_S = 10.0
WHOLE = b"x" * PIECE_BYTES  # a record that waits for no other


class RecordedSink:
    """A sink of a user's that keeps what is done with it."""

    def __init__(self) -> None:
        self.done: list[object] = []

    def open(self) -> "RecordedSink":
        return self

    def write(self, records: Sequence[Any]) -> None:
        self.done.append(list(records))

    def close(self, *, complete: bool) -> None:
        self.done.append("committed" if complete else "let go")


class Task:
    """The ports of one task, and what it sent."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.clock = ManualClock()
        self.lease = Lease(self.clock)
        self.lease.extend(2.0)
        self.sent: list[RunCollected | RunLogged] = []
        self.untaken = Untaken(threading.Condition())
        run_id, task_id = JobId("job"), TaskId("job/t/0")
        self.ports = SinkPorts(run_id, task_id, RecordTypes(), self.lease, self.untaken, self.sent.append, keeps)


@pytest.fixture
def task() -> Task:
    return Task()


def records_of(task: Task) -> list[list[object]]:
    """Return the records of each message that was sent."""
    return [
        list(unpack_records(message.records, RecordTypes()))
        for message in task.sent
        if isinstance(message, RunCollected)
    ]


def test_what_is_collected_goes_to_the_head_with_its_step(task: Task) -> None:
    CollectingSink("results", task.ports).open().write([1, "two"])
    (message,) = task.sent
    assert isinstance(message, RunCollected)
    assert (message.step, list(unpack_records(message.records, RecordTypes()))) == ("results", [1, "two"])


def test_a_sink_waits_while_the_head_has_not_taken_what_it_sent(task: Task) -> None:
    sink = CollectingSink("results", task.ports).open()
    for _ in range(NUM_UNTAKEN):
        sink.write([WHOLE])
    writer = threading.Thread(target=sink.write, args=([WHOLE],))
    writer.start()
    assert len(task.sent) == NUM_UNTAKEN
    task.untaken.give(1)
    writer.join(DEADLINE_S)
    assert len(task.sent) == NUM_UNTAKEN + 1


def test_what_comes_soon_after_a_message_leaves_with_the_next_one(task: Task) -> None:
    sink = CollectingSink("results", task.ports).open()
    for number in range(20):
        sink.write([number])
    assert records_of(task) == [[0]]
    assert task.untaken.has_rested()
    assert records_of(task) == [[0], list(range(1, 20))]
    assert not task.untaken.has_rested()
    sink.write([20])
    assert records_of(task)[2:] == [[20]]


def test_what_waits_stays_while_there_is_no_credit(task: Task) -> None:
    sink = CollectingSink("results", task.ports).open()
    for _ in range(NUM_UNTAKEN):
        sink.write([WHOLE])
    sink.write([1])
    assert task.untaken.has_rested()
    assert len(task.sent) == NUM_UNTAKEN
    task.untaken.give(1)
    assert task.untaken.has_rested()
    assert records_of(task)[NUM_UNTAKEN:] == [[1]]


def test_what_waits_leaves_before_the_end_and_as_soon_as_it_is_long(task: Task) -> None:
    sink = CollectingSink("results", task.ports).open()
    for record in (0, 1, WHOLE, 2):
        sink.write([record])
    sink.close(complete=True)
    assert records_of(task) == [[0], [1, WHOLE], [2]]


def test_what_waits_is_let_go_where_the_run_was_stopped_and_no_good_end_is_feigned(task: Task) -> None:
    sink = CollectingSink("results", task.ports).open()
    sink.write([1])
    sink.write([2])
    task.untaken.end()
    sink.close(complete=False)
    with pytest.raises(MembershipOver):
        sink.close(complete=True)
    assert records_of(task) == [[1]]


def test_sinks_of_one_task_wait_each_for_its_own_next_message(task: Task) -> None:
    first, second = (CollectingSink(step, task.ports).open() for step in ("first", "second"))
    for number in range(3):
        first.write([number])
        second.write([-number])
    assert task.untaken.has_rested()
    assert records_of(task) == [[0], [0, -1, -2], [1, 2]]


def test_a_sink_that_waits_is_let_go_when_its_run_is_stopped(task: Task) -> None:
    for _ in range(NUM_UNTAKEN):
        task.untaken.take()
    raised: list[BaseException] = []

    def write() -> None:
        try:
            CollectingSink("results", task.ports).open().write([WHOLE])
        except MembershipOver as error:
            raised.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    task.untaken.end()
    writer.join(DEADLINE_S)
    assert len(raised) == 1
    assert task.sent == []


def test_nothing_is_written_or_committed_once_the_lease_is_over(task: Task) -> None:
    sink = RecordedSink()
    writer = LeasedSink(sink, task.lease).open()
    writer.write([1])
    task.clock.advance(3.0)
    with pytest.raises(MembershipOver):
        writer.write([2])
    with pytest.raises(MembershipOver):
        writer.close(complete=True)
    assert sink.done == [[1], "let go"]


def test_a_sink_that_holds_its_lease_commits_and_one_that_failed_is_let_go(task: Task) -> None:
    first, second = RecordedSink(), RecordedSink()
    LeasedSink(first, task.lease).open().close(complete=True)
    LeasedSink(second, task.lease).open().close(complete=False)
    assert (first.done, second.done) == (["committed"], ["let go"])


def test_every_sink_of_a_flow_is_replaced_by_one_that_asks_the_lease(
    task: Task, capsys: pytest.CaptureFixture[str]
) -> None:
    flow, seen = sage.Flow("sinks"), list[int]()
    numbers = flow.from_collection([1])
    numbers.for_each(seen.append)
    numbers.write_jsonl("out.jsonl")
    numbers.print()
    numbers.collect()
    specs = [
        step.spec
        for spec in tasks_from_plan(JobId("job"), plan_from_graph(flow.graph()))
        for step in with_sinks_here(spec, task.ports).chain.steps
        if isinstance(step.spec, ForEach | Write)
    ]
    for_each, leased, logging, collecting = specs
    assert isinstance(for_each, ForEach)
    for_each.fn(1)
    task.clock.advance(3.0)
    with pytest.raises(MembershipOver):
        for_each.fn(2)
    assert seen == [1]
    assert isinstance(leased, Write)
    assert isinstance(leased.sink, ResumableLeasedSink)
    assert isinstance(collecting, Write)
    assert isinstance(collecting.sink, CollectingSink)
    assert isinstance(logging, Write)
    logging.sink.open().write(["line"])
    assert task.sent == [RunLogged(JobId("job"), TaskId("job/t/0"), "print", ("line",))]
    assert capsys.readouterr().out == "line\n"


def test_what_was_collected_is_sent_again_where_a_run_goes_on() -> None:
    task = Task(keeps=True)
    writer = CollectingSink("results", task.ports).open()
    writer.write([1, 2])
    kept = writer.written().contents
    again = Task(keeps=True)
    resumed = CollectingSink("results", again.ports).resume(None, kept)
    resumed.write([3])
    resumed.close(complete=True)
    assert records_of(again) == [[1, 2], [3]]
    assert list(resumed.written().contents) == [1, 2, 3]


def test_each_instance_has_its_share_under_the_lease(
    task: Task, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flow = sage.Flow("shares")
    flow.from_collection(range(3)).write_jsonl(f"{tmp_path}/{{instance}}.jsonl").with_parallelism(2)
    flow.from_collection(range(3)).collect().with_parallelism(2)
    flow.from_collection(range(3)).print().with_parallelism(2)
    flow.from_collection(range(3)).to(TwoShares(tmp_path)).with_parallelism(2)
    for spec in tasks_from_plan(JobId("job"), plan_from_graph(flow.graph())):
        for step in with_sinks_here(spec, task.ports).chain.steps:
            if isinstance(step.spec, Write):
                writer = share_of(step.spec.sink, spec.instance, 2).open()
                writer.write([spec.instance])
                writer.close(complete=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.jsonl", "1.jsonl", "own-0", "own-1"]
    assert [number for records in records_of(task) for number in records] == [0, 1]
    assert capsys.readouterr().out == "0\n1\n"
    share = share_of(leased(TwoShares(tmp_path), task.lease), 0, 2)
    task.clock.advance(3.0)
    with pytest.raises(MembershipOver):
        share.open()


@dataclass(frozen=True)
class TwoShares:
    """A sink of a user's that cannot be gone on with."""

    folder: Path
    number: int = 0

    def share(self, number: int, num_shares: int) -> "TwoShares":
        return TwoShares(self.folder, number)

    def open(self) -> "TwoShares":
        return self

    def write(self, records: Sequence[Any]) -> None:
        (self.folder / f"own-{self.number}").write_text(str(records))

    def close(self, *, complete: bool) -> None:
        """Nothing is open."""
