"""Silence that is normal, suspicious and too long; nothing is given away before the lease is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.health import Beat, Health, HealthWatch
from cluster.jobs.lease import Lease
from sage.base.clock import ManualClock
from sage.base.errors import MembershipOver
from sage.base.ids import NodeId

A, B = NodeId("a"), NodeId("b")
BEAT = Beat(every_s=0.5, lease_s=2.0, lost_after_s=2.7)


def watch_after(intervals_s: list[float]) -> tuple[HealthWatch, float]:
    """Return a watch of A after these heartbeats, and the time of the last."""
    watch, now_s = HealthWatch(BEAT), 100.0
    watch.add(A, now_s)
    for interval_s in intervals_s:
        now_s += interval_s
        watch.heard(A, now_s)
    return watch, now_s


def test_a_regular_node_is_suspect_after_two_beats_and_lost_when_its_lease_is_over() -> None:
    watch, now_s = watch_after([0.5] * 10)
    seen = []
    for silent_s in (0.9, 1.1, 2.0, 2.1):
        lost = watch.check(now_s + silent_s)
        seen.append((watch.health(A), lost))
    assert seen == [(Health.ALIVE, []), (Health.SUSPECT, []), (Health.SUSPECT, []), (Health.LOST, [A])]
    assert watch.check(now_s + 10) == []


def test_a_node_whose_heartbeats_come_unevenly_is_given_more_time() -> None:
    regular, now_s = watch_after([0.5] * 10)
    uneven, then_s = watch_after([0.2, 1.0] * 5)
    assert regular.check(now_s + 2.5) == [A]
    assert uneven.check(then_s + 1.1) == []
    assert uneven.health(A) is Health.ALIVE
    assert uneven.check(then_s + 2.5) == []
    assert uneven.check(then_s + 2.71) == [A]


def test_a_suspect_that_is_heard_again_is_alive() -> None:
    watch, now_s = watch_after([0.5] * 10)
    watch.check(now_s + 1.5)
    was = watch.health(A)
    watch.heard(A, now_s + 1.6)
    assert [was, watch.health(A)] == [Health.SUSPECT, Health.ALIVE]


def test_one_node_says_nothing_about_another() -> None:
    watch, now_s = watch_after([0.5] * 10)
    watch.add(B, now_s + 2.0)
    assert watch.check(now_s + 2.5) == [A]
    assert watch.health(B) is Health.ALIVE
    watch.remove(B)
    assert watch.next_check_s() is None


@given(st.lists(st.floats(0.01, 2.6), max_size=50))
def test_whatever_the_heartbeats_were_like_loss_is_noticed_after_the_lease_and_within_the_bound(
    intervals_s: list[float],
) -> None:
    watch, now_s = watch_after(intervals_s)
    assert watch.check(now_s + BEAT.lease_s) == []
    at_s = now_s
    while not watch.check(at_s):
        due_s = watch.next_check_s()
        assert due_s is not None
        assert due_s <= now_s + BEAT.lost_after_s
        at_s = max(at_s + 1e-6, due_s)
    assert now_s + BEAT.lease_s < at_s <= now_s + BEAT.lost_after_s + 1e-3


def test_a_lease_is_over_by_itself_and_can_be_had_again() -> None:
    clock = ManualClock(50.0)
    lease = Lease(clock)
    with pytest.raises(MembershipOver):
        lease.check()
    lease.extend(52.0)
    lease.extend(51.0)
    clock.advance(1.9)
    lease.check()
    clock.advance(0.2)
    with pytest.raises(MembershipOver):
        lease.check()
    lease.extend(60.0)
    lease.check()
    lease.end()
    assert lease.left_s() < 0
