"""How much a task does for a batch apart from its records: counted in calls, which are the same on every machine."""

import sys
from random import Random
from types import FrameType
from typing import Any

from sage.flow.flow import Flow
from tests.unit.runtime.driven_flow import DrivenFlow

NUM_BATCHES = 100
MAX_CALLS = 32
"""31 on 2026-11-23, and 4.5 us a batch; before 37 and 5.8 us, and 54 and 10 us."""


def _grow(number: int) -> int:
    return 3 * number + 1


def _is_even(number: int) -> bool:
    return number % 2 == 0


def _none(numbers: list[int]) -> list[int]:
    return []


def test_a_batch_costs_a_task_few_calls_beside_those_of_its_functions() -> None:
    flow = Flow("f")
    flow.from_collection(range(100_000)).map(_grow).filter(_is_even).map_batches(_none).collect()
    run = DrivenFlow(flow.graph(), Random(1), batch_records=10)
    (drive,) = run.tasks.drives.values()
    for _ in range(10):
        assert drive.step(), "it reads larger batches until they are whole"
    calls: dict[str, int] = {}

    def count(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_filename != __file__:
            calls[frame.f_code.co_qualname] = calls.get(frame.f_code.co_qualname, 0) + 1

    sys.setprofile(count)
    try:
        for _ in range(NUM_BATCHES):
            drive.step()
    finally:
        sys.setprofile(None)
    assert sum(calls.values()) <= MAX_CALLS * NUM_BATCHES, calls
