"""When a lost engine is started again: soon, then later and later, and at last not any more."""

import pytest

from cluster.serving.restarts import BUDGET, BUDGET_WITHIN_S, FIRST_PAUSE_S, LAST_PAUSE_S, STEADY_S, Restarts
from sage.base.errors import EngineLost, EngineStartFailed, ExtraMissing, ModelMissing, NoRoom, SageError
from sage.base.ids import EngineId
from sage.base.inference import Failure

SIM = EngineId("sim")
LOST = Failure.of(EngineLost("its host was killed"))


def test_pauses_double_up_to_a_limit() -> None:
    restarts = Restarts()
    restarts.ready(SIM, 0.0)
    pauses = [restarts.lost(SIM, LOST, float(at)) for at in range(BUDGET)]
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LAST_PAUSE_S


def test_the_budget_is_spent_after_so_many_losses_and_comes_back_with_time() -> None:
    restarts = Restarts()
    restarts.ready(SIM, 0.0)
    assert None not in [restarts.lost(SIM, LOST, 1.0) for _ in range(BUDGET)]
    assert restarts.lost(SIM, LOST, BUDGET_WITHIN_S) is None
    restarts.ready(SIM, BUDGET_WITHIN_S)
    assert restarts.lost(SIM, LOST, BUDGET_WITHIN_S) == FIRST_PAUSE_S, "it was forgotten: somebody wanted it anew"


def test_one_that_worked_for_long_begins_from_the_first_pause() -> None:
    restarts = Restarts()
    for at_s in (0.0, 1.0):
        restarts.ready(SIM, at_s)
        restarts.lost(SIM, LOST, at_s + 0.5)
    restarts.ready(SIM, 2.0)
    assert restarts.lost(SIM, LOST, 2.0 + STEADY_S) == FIRST_PAUSE_S


@pytest.mark.parametrize("error", [ModelMissing("no file"), ExtraMissing("no package"), EngineStartFailed("it died")])
def test_one_that_could_not_be_started_at_all_is_not_tried_again(error: SageError) -> None:
    assert Restarts().lost(SIM, Failure.of(error), 0.0) is None


@pytest.mark.parametrize("error", [EngineStartFailed("it died"), NoRoom("no node has room"), EngineLost("node gone")])
def test_one_that_worked_once_is_tried_again_where_its_start_fails(error: SageError) -> None:
    restarts = Restarts()
    restarts.ready(SIM, 0.0)
    restarts.lost(SIM, LOST, 1.0)
    assert restarts.lost(SIM, Failure.of(error), 2.0) == 2 * FIRST_PAUSE_S


def test_a_move_is_not_held_against_it() -> None:
    restarts = Restarts()
    restarts.ready(SIM, 0.0)
    restarts.moved(SIM)
    assert restarts.lost(SIM, LOST, 1.0) == FIRST_PAUSE_S
