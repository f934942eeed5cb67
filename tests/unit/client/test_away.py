"""How a client looks for a head that it has lost: soon at first, then less often, and not for ever."""

from itertools import pairwise

from cluster.client.away import LAST_TRY_S, Away
from sage.base.errors import ClusterUnreachable, NotTrusted

LOST = ClusterUnreachable("the connection was lost")


def test_tries_come_less_and_less_often_and_the_last_at_the_end_of_the_time() -> None:
    away, now_s, tries = Away(5.0), 100.0, []
    while away.may_try(now_s):
        now_s += away.leave(now_s)
        tries.append(now_s - 100.0)
    gaps = [after - before for before, after in pairwise(tries)]
    assert tries[-1] == 5.0
    assert max(gaps) <= LAST_TRY_S
    assert gaps[0] < gaps[2]


def test_a_client_that_returned_has_all_its_time_again() -> None:
    away = Away(5.0)
    first_s = away.leave(0.0)
    away.leave(4.0)
    away.returned()
    assert not away.is_away
    assert away.leave(100.0) == first_s
    assert (away.may_try(104.9), away.may_try(105.0)) == (True, False)


def test_who_has_no_patience_does_not_look() -> None:
    assert not Away(0.0).may_try(0.0)


def test_what_is_told_in_the_end_says_that_it_was_looked_for_unless_there_is_more_to_say() -> None:
    away = Away(5.0)
    assert away.told(LOST, "ipc:///head") is LOST
    away.leave(0.0)
    assert away.told(LOST, "ipc:///head").what == "the head at ipc:///head was lost and has not come back within 5 s"
    refused = NotTrusted("another key")
    assert away.told(refused, "ipc:///head") is refused
