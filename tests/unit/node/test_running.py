"""Runs on a node as its member sees them: what their tasks collect leaves in time, whatever else they send."""

from dataclasses import replace

import pytest

import sage
from cluster.jobs.lease import Lease
from cluster.jobs.outline import outline_from_plan
from cluster.jobs.tasks import tasks_from_plan
from cluster.node.loading import RunLoaded
from cluster.node.running import Rest, Running
from cluster.node.sinks import CollectingSink
from cluster.node.untaken import REST_S
from cluster.runtime.control import DeployRun, RunCollected, RunLogged
from cluster.runtime.messages import TaskSpec
from cluster.runtime.packed import PIECE_BYTES, unpack_records
from cluster.runtime.record_types import RecordTypes
from cluster.runtime.scheduler import Threads
from cluster.runtime.travelling_code import FileCode
from sage.base.clock import ManualClock
from sage.base.ids import JobId
from sage.flow.plan import plan_from_graph
from sage.flow.ports import SinkWriter
from sage.flow.spec import Write

RUN = JobId("run")
WHOLE = b"x" * PIECE_BYTES  # a record that waits for no other


def with_second_sink(task: TaskSpec) -> TaskSpec:
    *steps, collect = task.chain.steps
    return replace(task, chain=replace(task.chain, steps=(*steps, collect, replace(collect, name="second"))))


class Member:
    """Has one task run whose two collecting sinks are `writers`, and keeps what was sent and which timers were set."""

    def __init__(self) -> None:
        flow = sage.Flow("sinks")
        flow.from_collection([1]).collect()
        plan = plan_from_graph(flow.graph())
        self.sent: list[RunCollected | RunLogged] = []
        self.timers: list[tuple[Rest, float]] = []
        self.running = Running(self.sent.append, lambda rest, after_s: self.timers.append((rest, after_s)), Threads())
        order = DeployRun(RUN, RUN, FileCode("flow.py", ""), 0.0, (), outline_from_plan(plan), {}, {})
        (one_sink,) = tasks_from_plan(RUN, plan)
        loaded = RunLoaded(order, (with_second_sink(one_sink),), RecordTypes())
        (task,) = self.running.tasks(loaded, Lease(ManualClock()))
        self.task_id = task.id
        sinks = [step.spec.sink for step in task.chain.steps if isinstance(step.spec, Write)]
        self.writers: list[SinkWriter[object]] = [sink.open() for sink in sinks if isinstance(sink, CollectingSink)]
        self._num_heard = 0

    def hear(self) -> None:
        """Do what a member does about each message of its tasks."""
        for _ in self.sent[self._num_heard :]:
            self.running.has_left(RUN, self.task_id)
        self._num_heard = len(self.sent)

    def fire(self) -> None:
        """Let the oldest timer be due."""
        rest, after_s = self.timers.pop(0)
        assert after_s == REST_S
        self.running.has_rested(rest)
        self.hear()

    def records(self) -> list[object]:
        collected = [message for message in self.sent if isinstance(message, RunCollected)]
        return [record for message in collected for record in unpack_records(message.records, RecordTypes())]


@pytest.fixture
def member() -> Member:
    return Member()


def test_a_sink_that_sends_all_the_time_does_not_put_off_what_another_has_gathered(member: Member) -> None:
    large, small = member.writers
    large.write([WHOLE])
    member.hear()
    small.write([1])
    for _ in range(3):
        large.write([WHOLE])
        member.hear()
    assert len(member.timers) == 1
    member.fire()
    assert member.records()[4:] == [1]


def test_a_task_rests_as_long_as_something_waits_and_after_its_next_message_again(member: Member) -> None:
    sink, _ = member.writers
    sink.write([1])
    member.hear()
    sink.write([2])
    member.fire()
    member.fire()
    assert member.timers == []
    sink.write([3])
    member.hear()
    assert member.records() == [1, 2, 3]
    assert len(member.timers) == 1


def test_a_run_that_has_ended_rests_no_more(member: Member) -> None:
    sink, _ = member.writers
    sink.write([1])
    member.hear()
    sink.write([2])
    member.running.end(RUN)
    member.fire()
    assert member.timers == []
    assert member.records() == [1]
