"""How a node stands with its head: it stops before it comes back, and its lease counts from when it spoke."""

from hypothesis import given
from hypothesis import strategies as st

from cluster.jobs.health import Beat
from cluster.node.standing import (
    FIRST_RETRY_S,
    NAME_RETRY_S,
    NAME_TAKEN_S,
    NUM_SENT,
    Disconnect,
    EndNodeNow,
    Reconnect,
    RetryIn,
    Stand,
    Standing,
    StandOrder,
    StopRuns,
)
from sage.base.errors import MembershipOver, NameTaken, NotTrusted
from sage.base.ids import JobId

RUN = JobId("job")
LOST = MembershipOver("silent")
TAKEN = NameTaken("a node of this name is a member already")
LEASE_S = 2.0


def member() -> Standing:
    standing = Standing()
    assert standing.connect(10.0) == [Reconnect()]
    assert standing.admitted(LEASE_S) == 12.0
    return standing


def test_a_node_that_loses_its_head_stops_everything_before_it_tries_again() -> None:
    standing = member()
    standing.began(RUN)
    assert standing.lost(LOST) == [Disconnect(), StopRuns()]
    assert standing.connect(11.0) == []
    assert standing.stopped(RUN) == [RetryIn(FIRST_RETRY_S)]
    assert standing.connect(11.0) == [Reconnect()]


def test_of_a_run_that_is_being_stopped_nothing_more_begins() -> None:
    standing = member()
    standing.began(RUN)
    assert standing.goes_on(RUN)
    standing.stops(RUN)
    assert not standing.goes_on(RUN)
    assert tuple(standing.runs) == (RUN,)
    standing.stopped(RUN)
    standing.stops(RUN)
    standing.began(RUN)
    assert standing.goes_on(RUN)


def test_a_node_that_leaves_takes_no_more_runs() -> None:
    standing = member()
    assert standing.takes_runs()
    standing.began(RUN)
    standing.told_to_end()
    assert not standing.takes_runs()


def test_a_node_tries_again_ever_more_slowly_until_it_is_a_member() -> None:
    standing, waits = Standing(), []
    for _ in range(7):
        standing.connect(0.0)
        *_, retry = standing.lost(LOST)
        assert isinstance(retry, RetryIn)
        waits.append(retry.after_s)
    assert waits == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    standing.connect(0.0)
    standing.admitted(LEASE_S)
    assert standing.lost(LOST)[-1] == RetryIn(FIRST_RETRY_S)


def test_a_node_that_may_not_come_back_ends_with_the_reason() -> None:
    standing = member()
    standing.began(RUN)
    standing.lost(LOST, may_rejoin=False)
    assert standing.stopped(RUN) == [EndNodeNow(LOST)]
    assert standing.stand is Stand.ENDED


def asks_until_it_ends(standing: Standing, now_s: float) -> list[float]:
    """Have each wish be answered by TAKEN; return when those were sent, the last one being that after which it ends."""
    sent_s = []
    while standing.connect(now_s):
        sent_s.append(now_s)
        match standing.refused(TAKEN, may_rejoin=True)[-1]:
            case RetryIn(after_s):
                now_s += after_s
            case ended:
                assert ended == EndNodeNow(TAKEN)
    return sent_s


def test_a_node_whose_name_is_taken_asks_until_the_head_has_noticed_that_the_other_ended() -> None:
    standing = Standing()
    first_s, *more_s, last_s = asks_until_it_ends(standing, 100.0)
    assert first_s == 100.0
    assert more_s[-1] < 100.0 + NAME_TAKEN_S <= last_s <= 100.0 + NAME_TAKEN_S + NAME_RETRY_S
    assert max(b - a for a, b in zip([first_s, *more_s], [*more_s, last_s], strict=True)) <= NAME_RETRY_S
    assert standing.stand is Stand.ENDED
    assert Beat().lost_after_s + NAME_RETRY_S < NAME_TAKEN_S


def test_a_head_that_was_silent_in_between_is_asked_as_long_anew() -> None:
    standing = Standing()
    standing.connect(0.0)
    assert standing.refused(TAKEN, may_rejoin=True)[-1] == RetryIn(FIRST_RETRY_S)
    standing.connect(0.2)
    standing.lost(LOST)
    standing.connect(60.0)
    assert isinstance(standing.refused(TAKEN, may_rejoin=True)[-1], RetryIn)


def test_a_name_that_becomes_free_is_taken() -> None:
    standing = Standing()
    standing.connect(0.0)
    standing.refused(TAKEN, may_rejoin=True)
    standing.connect(0.2)
    assert standing.admitted(LEASE_S) == 0.2 + LEASE_S
    assert standing.stand is Stand.MEMBER


def test_what_does_not_pass_ends_a_node_that_never_was_a_member_at_once() -> None:
    for error, may_rejoin in ((NotTrusted("a stranger"), True), (TAKEN, False)):
        standing = Standing()
        standing.connect(0.0)
        assert standing.refused(error, may_rejoin=may_rejoin)[-1] == EndNodeNow(error)


def test_a_node_that_is_told_to_end_does_so_once_nothing_runs() -> None:
    standing = member()
    standing.began(RUN)
    assert standing.told_to_end() == [StopRuns()]
    assert standing.told_to_end() == []
    assert standing.stopped(RUN) == [EndNodeNow(None)]


def test_the_lease_counts_from_when_a_heartbeat_was_sent() -> None:
    standing = member()
    first, second = standing.beat(20.0), standing.beat(20.5)
    assert standing.beat_taken(second, LEASE_S) == 22.5
    assert standing.beat_taken(first, LEASE_S) == 22.0
    assert standing.beat_taken(first, LEASE_S) is None
    old = standing.beat(30.0)
    for number in range(NUM_SENT):
        standing.beat(31.0 + number)
    assert standing.beat_taken(old, LEASE_S) is None


STEPS = ["connect", "admitted", "lost", "refused", "taken", "end", "began", "stopped"]


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_whatever_happens_nothing_runs_when_it_joins_and_it_ends_once(steps: list[str]) -> None:
    standing = Standing()
    ended = 0
    for step in steps:
        orders: list[StandOrder] = []
        match step:
            case "connect":
                orders = standing.connect(0.0)
            case "admitted" if standing.stand is Stand.JOINING:
                standing.admitted(LEASE_S)
            case "lost":
                orders = standing.lost(LOST)
            case "refused":
                orders = standing.lost(LOST, may_rejoin=False)
            case "taken":
                orders = standing.refused(TAKEN, may_rejoin=True)
            case "end":
                orders = standing.told_to_end()
            case "began" if standing.stand is Stand.MEMBER:
                standing.began(RUN)
            case "stopped":
                orders = standing.stopped(RUN)
            case _:
                pass  # not what a head does to a node that stands so
        assert not (Reconnect() in orders and RUN in tuple(standing.runs))
        ended += sum(isinstance(order, EndNodeNow) for order in orders)
    assert ended == (standing.stand is Stand.ENDED)


def test_runs_stand_in_the_order_in_which_they_began() -> None:
    standing = member()
    runs = [JobId(f"job-{number}") for number in range(20)]
    for run_id in runs:
        standing.began(run_id)
    assert [*standing.runs] == runs
