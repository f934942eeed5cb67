"""Processes that start: their results are counted, and one that cannot start is left out."""

import pytest

from benchmarks.rivals.environment import LeftOut
from benchmarks.start import NUM_RECORDS, measure_start
from sage.base.clock import SystemClock


def test_a_new_process_says_when_it_had_its_first_result_and_what_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.start.python_of", lambda *_: LeftOut("no disk"))
    said: list[str] = []
    sage, python = measure_start(
        ("sage", "python", "bytewax", "ray"), num_rounds=1, clock=SystemClock(), say=said.append
    )
    assert (sage.engine, sage.workload, sage.n, sage.checked) == ("sage", "start", NUM_RECORDS, True)
    assert 0.0 < python.seconds_to_first_result < sage.seconds_to_first_result
    assert 0 < python.memory_bytes < sage.memory_bytes
    assert said == ["bytewax is left out of start: no disk", "ray is left out of start: it is not written for it here"]
