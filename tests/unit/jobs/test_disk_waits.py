"""A job whose tasks have no room: it waits once for all of them, and is shown so only while it reads nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from pykka import ActorRef

from cluster.checkpoints.clerk import ClerkOrder
from cluster.jobs.job import DiskRefused, RunFailed
from cluster.jobs.job_checkpoints import CheckpointPlan, CheckpointPorts, JobCheckpoints
from cluster.jobs.nodes import Nodes
from cluster.jobs.placement import Strategy
from cluster.jobs.run import unplaced_run
from cluster.runtime.actor import Actor, stop
from cluster.runtime.messages import JobTaskSaved
from sage.base.clock import ManualClock, SystemClock
from sage.base.errors import DiskFull
from sage.base.ids import JobId, NodeId, TaskId

FULL = DiskFull("disk full at /lines.txt: No space left on device")
TASK = TaskId("task")
DEADLINE_S = 10.0


class SilentClerk(Actor[ClerkOrder]):
    def receive(self, message: ClerkOrder) -> None:
        pass


@dataclass(frozen=True)
class Kept:
    """The checkpoints of a job that may wait for 3 s, in virtual time. `told`: what it waits for, as it was said."""

    checkpoints: JobCheckpoints
    clock: ManualClock
    told: list[DiskFull | None]

    def begins(self, run: str) -> None:
        begun = unplaced_run(JobId("job"), JobId(run))
        begun.deployment = replace(begun.deployment, nodes={TASK: NodeId("elsewhere")})
        self.checkpoints.begin(begun)

    def has_no_room_for_checkpoint(self, number: int) -> None:
        self.checkpoints.due()
        self.checkpoints.saved(JobTaskSaved(JobId("run"), TASK, number, None, error=FULL))


@pytest.fixture
def kept() -> Iterator[Kept]:
    clerk: ActorRef[SilentClerk] = SilentClerk.start("clerk", clock=SystemClock())
    clock, told = ManualClock(), list[DiskFull | None]()
    ports = CheckpointPorts(
        nodes=Nodes(Strategy.SPREAD),
        wake_in=lambda _: None,
        fail=lambda *_: None,
        written=lambda _: None,
        left=lambda: None,
        paused=lambda: told.append(checkpoints.waits_for),
        clock=clock,
    )
    plan = CheckpointPlan("kept", 1.0, 5.0, 2, None, "kept", 1, clerk, full_disk_s=3.0)
    checkpoints = JobCheckpoints(plan, "flow", ports)
    yield Kept(checkpoints, clock, told)
    assert stop([clerk], timeout_s=DEADLINE_S) == []


def test_a_job_is_paused_until_its_next_run_reads(kept: Kept) -> None:
    kept.begins("run")
    assert isinstance(kept.checkpoints.refused(FULL), DiskRefused)
    assert kept.checkpoints.waits_for == FULL
    kept.checkpoints.end_run()
    assert kept.checkpoints.put_off_s() == 0.5
    kept.begins("next run")
    waits: object = kept.checkpoints.waits_for
    assert waits is None
    assert kept.told == [FULL, None]


def test_tasks_of_one_run_that_have_no_room_wait_together(kept: Kept) -> None:
    for run, wait_s in (("a", 0.5), ("b", 1.0)):
        kept.begins(run)
        for _ in range(4):
            assert isinstance(kept.checkpoints.refused(FULL), DiskRefused)
        kept.checkpoints.end_run()
        assert kept.checkpoints.put_off_s() == wait_s


def test_a_wait_for_checkpoints_that_took_too_long_is_not_begun_again_for_the_run(kept: Kept) -> None:
    kept.begins("run")
    kept.has_no_room_for_checkpoint(1)
    kept.clock.advance(3.0)
    kept.has_no_room_for_checkpoint(2)
    refused = kept.checkpoints.refused(FULL)
    assert isinstance(refused, RunFailed)
    assert "no room came within 3 s" in str(refused.error)


def test_a_job_whose_runs_have_no_room_for_too_long_fails(kept: Kept) -> None:
    for run in ("a", "b"):
        kept.begins(run)
        assert isinstance(kept.checkpoints.refused(FULL), DiskRefused)
        kept.checkpoints.end_run()
        kept.clock.advance(kept.checkpoints.put_off_s())
    kept.clock.advance(1.5)
    kept.begins("c")
    assert isinstance(kept.checkpoints.refused(FULL), RunFailed)
