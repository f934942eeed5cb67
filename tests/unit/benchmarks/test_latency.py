"""Latency is measured on records that all came, in order, of ours and of rivals."""

import sys
from pathlib import Path

import pytest

from benchmarks.latency import ACROSS, BY_KEY, INSIDE, Arrivals, ages_of, exchanged, fused, plain, result_of
from benchmarks.measure import Timed
from benchmarks.rivals.beside import RivalsBeside
from cluster.local import LocalCluster
from sage.base.clock import SystemClock
from sage.base.errors import InternalError, SageError
from sage.base.settings import Settings


def test_every_stamp_arrives_in_order_within_a_task_and_across_two() -> None:
    with LocalCluster(settings=Settings()) as cluster:
        for flow, ended in (fused(100, 0.0001), exchanged(100, 0.0001)):
            cluster.submit(flow).wait(30.0)
            (found,) = ended.items
            assert found is not None
            ages_s, source, end = found
            assert len(ages_s) == 101
            assert source == end
            assert min(ages_s) > 0.0


def test_a_record_that_is_missing_is_found() -> None:
    arrivals = Arrivals(5)
    arrivals((1, 0.0, 1))
    with pytest.raises(SageError, match="record 3 came as number 2"):
        arrivals((3, 0.0, 1))


def test_the_plain_loop_comes_to_what_the_flow_does() -> None:
    ages_s = ages_of(f"python {INSIDE}", plain(100, 0.0001), 100)
    assert len(ages_s) == 101
    assert min(ages_s) > 0.0


@pytest.mark.cluster
def test_rivals_tell_the_age_of_every_record_across_two_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.rivals.beside.python_of", lambda *_: Path(sys.executable))
    said: list[str] = []
    rivals = RivalsBeside(("zmq", "multiprocessing"), 50, 0, 1, SystemClock(), said.append, every_s=0.0001)
    with rivals.ready("latency-across", lambda ages: isinstance(ages, list) and len(ages) == 51) as ways:
        assert said == ["zmq: latency-across", "multiprocessing: latency-across"]
        for way in ways.values():
            found = way()()
            assert isinstance(found, Timed)
            assert min(ages_of(f"zmq {ACROSS}", found.outcome, 50)) > 0.0


@pytest.mark.parametrize(
    ("place", "ages"),
    [(INSIDE, ([0.1] * 3, 1, 1)), (INSIDE, ([0.1] * 2, 1, 2)), (ACROSS, ([0.1] * 2, 1, 1)), (INSIDE, [0.1])],
)
def test_no_figure_is_given_where_records_are_missing_or_the_ends_are_elsewhere(place: str, ages: object) -> None:
    with pytest.raises(InternalError):
        ages_of(f"sage {place}", ages, 1)


def test_each_place_has_a_limit_of_its_own() -> None:
    limits = {INSIDE: [0.001, 0.001], ACROSS: None}
    inside = result_of(f"sage {INSIDE}", [0.002, 0.002], limits, 1000.0)
    assert (inside.engine, inside.workload, inside.limit_p50_us, inside.ratio_to_limit) == ("sage", INSIDE, 1000.0, 0.5)
    for place in (BY_KEY, ACROSS):
        assert result_of(f"sage {place}", [0.002, 0.002], limits, 1000.0).ratio_to_limit is None
