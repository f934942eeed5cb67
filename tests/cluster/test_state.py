"""The state of a running job, asked for by step and key: of threads here, and of tasks in other processes."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid, RecordFailed, StateUnreachable, UnknownState
from sage.testing import Pause, Scripted
from tests.cluster.waiting import eventually

pytestmark = pytest.mark.cluster
DEADLINE_S = 60.0


class Kept(sage.KeyedProcess[int, int, int]):
    num = sage.ValueState(0)
    seen = sage.ListState[int]()

    def on_record(self, record: int, context: sage.ProcessContext[int]) -> Iterator[int]:
        self.num += 1
        self.seen.append(record)
        yield self.num


def kept() -> sage.Flow:
    """The keys 0 to 6 have come four or five times; then nothing comes, and the flow goes on."""
    flow = sage.Flow("kept")
    keyed = flow.from_source(Scripted(list(range(30)), Pause(600))).key_by(lambda number: number % 7)
    keyed.count().named("count").with_parallelism(3).for_each(lambda pair: None)
    keyed.process(Kept).named("kept").with_parallelism(2).for_each(lambda num: None)
    keyed.sum(final=True).named("sum").for_each(lambda pair: None)
    return flow


def keeps(job: sage.Job, step: str, key: int, expected: object) -> bool:
    try:
        return bool(job.state(step, key, timeout_s=DEADLINE_S) == expected)
    except StateUnreachable:  # it has not begun
        return False


@pytest.mark.parametrize("address", ["local", "local:2"])
def test_a_running_step_says_what_it_keeps_of_a_key(address: str) -> None:
    with sage.connect(address) as cluster:
        job = cluster.submit(kept())
        assert job.states() == ("count", "kept", "sum")
        for key in range(7):
            num = 5 if key < 2 else 4
            seen = list(range(key, 30, 7))
            for step, expected in {"count": num, "kept": {"num": num, "seen": seen}, "sum": sum(seen)}.items():
                eventually(partial(keeps, job, step, key, expected), DEADLINE_S)
        assert job.state("count", 77) is None
        assert job.state("kept", True) == job.state("kept", 1)
        job.state("kept", 1)["seen"].clear()
        assert len(job.state("kept", 1)["seen"]) == 5, "what is given is a copy"
        with pytest.raises(UnknownState, match="the flow 'kept' has no step 'nope'"):
            job.state("nope", 1)
        with pytest.raises(UnknownState, match="step 'key_by' keeps nothing by key"):
            job.state("key_by", 1)
        with pytest.raises(FlowInvalid, match="cannot be a key"):
            job.state("count", [1])  # type: ignore[arg-type]  # that is the point
        with pytest.raises(RecordFailed, match="cannot be the key of a record"):
            job.state("count", object())
        job.cancel()
        with pytest.raises(StateUnreachable):
            job.state("count", 1)


def test_what_does_not_answer_in_time_says_so() -> None:
    with sage.connect() as cluster:
        job = cluster.submit(kept())
        eventually(partial(keeps, job, "count", 1, 5), DEADLINE_S)
        with pytest.raises(StateUnreachable, match="did not answer within 0 s"):
            job.state("count", 1, timeout_s=0.0)
        job.cancel()


@pytest.mark.parametrize("address", ["local", "local:2"])
def test_windows_and_joins_say_what_they_keep_of_a_key(address: str) -> None:
    flow = sage.Flow("windows")
    left, right = (
        flow.from_source(Scripted(list(range(30)), Pause(600)), timestamp=float, max_out_of_order_s=5).key_by(bool)
        for _ in range(2)
    )
    left.window(sage.Tumbling(10)).sum().named("sums").with_parallelism(2).for_each(lambda result: None)
    left.join(right).within(before_s=0, after_s=1).named("pairs").for_each(lambda pair: None)
    with sage.connect(address) as cluster:
        job = cluster.submit(flow)
        assert job.states() == ("sums", "pairs")
        sums = [sage.WindowResult(True, 20, 30, sum(range(20, 30)))]
        eventually(lambda: found(job, "sums") == sums, DEADLINE_S)
        eventually(
            lambda: [n for _, n in (found(job, "pairs") or {}).get("right", [])][-3:] == [27, 28, 29], DEADLINE_S
        )
        assert job.state("sums", "other") is None
        job.cancel()


def found(job: sage.Job, step: str) -> Any:
    try:
        return job.state(step, True, timeout_s=DEADLINE_S)
    except StateUnreachable:  # it has not begun
        return None
