"""What is learned of a flow's steps: how long each takes, and what comes after it."""

from random import Random

import pytest

from cluster.serving.downstream import Downstream, RobustMean
from sage.base.inference import Origin


def call(step: str, record: object) -> Origin:
    return Origin("flow", step, str(record))


def chain(seen: Downstream, record: object, **took_s: float) -> None:
    """Make one record go through steps, one after the other."""
    for step, seconds in took_s.items():
        seen.arrived(call(step, record))
        seen.ended(call(step, record), seconds)


def test_nothing_is_left_of_what_was_never_seen() -> None:
    assert Downstream().left_s(call("plan", 1)) == 0.0


def test_what_is_left_of_a_chain_is_the_step_and_all_after_it() -> None:
    seen = Downstream()
    for record in range(60):
        chain(seen, record, plan=1.0, search=2.0, write=4.0)
    assert seen.left_s(call("write", "new")) == pytest.approx(4.0, abs=0.05)
    assert seen.left_s(call("search", "new")) == pytest.approx(6.0, abs=0.2)
    assert seen.left_s(call("plan", "new")) == pytest.approx(7.0, abs=0.3)


def test_of_branches_that_go_on_side_by_side_the_longest_is_left() -> None:
    seen = Downstream()
    for record in range(100):
        chain(seen, record, plan=1.0)
        for step in ("short", "long"):
            seen.arrived(call(step, record))
        seen.ended(call("short", record), 1.0)
        seen.ended(call("long", record), 9.0)
        chain(seen, record, join=2.0)
    assert seen.left_s(call("long", "new")) == pytest.approx(11.0, abs=0.3)
    assert seen.left_s(call("short", "new")) == pytest.approx(3.0, abs=0.3)
    assert 8.0 < seen.left_s(call("plan", "new")) < 12.5


def test_after_a_step_that_mostly_ends_a_flow_little_is_left() -> None:
    seen, rng = Downstream(), Random(3)
    for record in range(400):
        chain(seen, record, answer=1.0)
        if rng.random() < 0.2:
            chain(seen, record, mend=10.0)
    assert 1.5 < seen.left_s(call("answer", "new")) < 5.0


def test_records_that_are_not_told_apart_teach_how_long_a_step_takes_and_no_more() -> None:
    seen = Downstream()
    for _ in range(20):
        chain(seen, "", plan=1.0, write=4.0)
    assert seen.left_s(call("plan", "")) == pytest.approx(1.0)


def test_flows_teach_nothing_about_each_other() -> None:
    seen = Downstream()
    chain(seen, 1, plan=1.0, write=4.0)
    assert seen.left_s(Origin("other", "plan", "1")) == 0.0


def test_one_outlier_does_not_move_a_mean_and_a_change_does() -> None:
    rng, mean = Random(4), RobustMean()
    for _ in range(100):
        mean.observe(rng.uniform(0.9, 1.1))
    mean.observe(1_000.0)
    assert mean.mean == pytest.approx(1.0, abs=0.1)
    for _ in range(300):
        mean.observe(5.0)
    assert mean.mean == pytest.approx(5.0, abs=0.2)
