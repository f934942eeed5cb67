"""The plane machine where engines start, are lost, or cannot do what is asked."""

import pytest

from cluster.serving.abandoned import PATIENCE_S
from cluster.serving.account import EngineAccount
from cluster.serving.engines.figures import EngineFigures, KeptBlocks
from cluster.serving.events import EndEngine, EngineEnded, EngineSeen, PolicyChanged
from cluster.serving.statistics import MAX_LOST_ENGINES, engine_statuses
from sage.base.errors import (
    EngineLost,
    EngineStartFailed,
    InvalidRequest,
    NoEngine,
    RequestCancelled,
    UnknownModel,
)
from sage.base.ids import EngineId
from sage.base.inference import Failure
from tests.unit.serving.arrange import (
    CheckedPlane,
    chat,
    chat_engine,
    dispatched,
    embed,
    embed_engine,
    embedded,
    lost,
    sizes,
    wakes,
)


def test_requests_wait_for_an_engine_that_is_starting() -> None:
    plane = CheckedPlane()
    plane.starting("c1", "chat")
    assert plane.submit(chat("a")) == []
    assert dispatched(plane.up(chat_engine())) == [("c1", ["a"])]


def test_what_an_engine_says_of_itself_is_shown_until_it_is_lost() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    figures = EngineFigures(num_running=4, num_waiting=2, kv_used=0.5, prefix_asked_tokens=8, prefix_hit_tokens=6)
    plane.handle(EngineSeen(EngineId("c1"), figures))
    plane.handle(EngineSeen(EngineId("of somebody else"), figures))
    (status,) = engine_statuses(plane.plane.view())
    assert (status.num_waiting, status.kv_used, status.prefix_hit) == (2, 0.5, 0.75)
    plane.down("c1")
    (status,) = engine_statuses(plane.plane.view())
    assert (status.state, status.num_waiting, status.kv_used, status.prefix_hit) == ("lost", None, None, None)


def test_how_it_is_known_what_an_engine_has_cached_is_shown_where_the_route_asks() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine("c1"))
    plane.up(chat_engine("c2"))
    plane.up(embed_engine("e1"))
    plane.handle(PolicyChanged(route="auto"))

    def beliefs() -> list[str]:
        return [status.cache_belief for status in engine_statuses(plane.plane.view())]

    assert beliefs() == ["learned", "learned", ""]
    plane.handle(EngineSeen(EngineId("c2"), KeptBlocks(is_first=True)))
    assert beliefs() == ["learned", "exact", ""]
    plane.handle(PolicyChanged(route="least_work"))
    assert beliefs() == ["", "", ""]
    plane.handle(PolicyChanged(route="prefix"))
    assert beliefs() == ["learned", "exact", ""], "it is known whatever the route was"
    plane.handle(EngineSeen(EngineId("c2"), KeptBlocks(is_over=True)))
    assert beliefs() == ["learned", "learned", ""]


def test_the_view_says_why_an_engine_is_lost_or_never_came_up_until_it_is_back() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine("c1"))
    plane.down("c1")
    plane.starting("c2", "chat")
    plane.down("c2", lost("no folder of a model"))

    def why() -> list[tuple[str, str, str]]:
        return [(engine.engine_id, engine.state, engine.why) for engine in plane.plane.view().engines]

    assert why() == [("c1", "lost", "killed by signal 9"), ("c2", "lost", "no folder of a model")]
    plane.up(chat_engine("c2"))
    assert why() == [("c2", "ready", ""), ("c1", "lost", "killed by signal 9")]
    for number in range(MAX_LOST_ENGINES + 1):
        plane.starting(f"x{number}", "chat")
        plane.down(f"x{number}")
    assert [engine_id for engine_id, *_ in why()[2:]] == [f"x{number}" for number in range(1, MAX_LOST_ENGINES + 1)]


def test_an_engine_s_own_times_of_tokens_are_believed() -> None:
    account = EngineAccount(chat_engine(), {})
    account.saw(EngineFigures(num_running=4, decode_s=100.0, num_decoded=1_000), 0.0)
    assert account.latency.token_s(4) is None
    account.saw(EngineFigures(num_running=4, decode_s=102.0, num_decoded=1_100), 0.0)
    assert account.latency.token_s(4) == pytest.approx(0.02)
    account.saw(EngineFigures(num_running=4), 0.0)  # its server was started anew, and counts from the beginning
    assert account.latency.token_s(4) == pytest.approx(0.02)


def test_an_engine_that_fails_to_start_fails_those_who_waited_for_it_with_its_reason() -> None:
    plane = CheckedPlane()
    plane.starting("c1", "chat")
    plane.submit(chat("a"))
    plane.down("c1", Failure.of(EngineStartFailed("no such file: model.gguf")))
    assert plane.outcome("a") == EngineStartFailed.code
    assert "model.gguf" in plane.failure("a").what
    plane.submit(chat("b"))
    assert plane.outcome("b") == NoEngine.code


def test_a_known_model_without_an_engine_is_refused_with_a_time_to_retry() -> None:
    plane = CheckedPlane()
    plane.submit(chat("a"))
    assert plane.outcome("a") == NoEngine.code
    assert plane.failure("a").retry_after_s is not None


def test_an_unknown_model_is_refused_with_the_nearest_name() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a", model="chatt"))
    assert plane.outcome("a") == UnknownModel.code
    assert "'chat'" in plane.failure("a").do


def test_a_model_is_not_asked_for_what_it_does_not_do() -> None:
    plane = CheckedPlane()
    plane.up(embed_engine())
    plane.submit(chat("a", model="embed"))
    assert plane.outcome("a") == InvalidRequest.code
    assert plane.failure("a").param == "model"


def test_those_who_waited_for_a_start_learn_that_the_model_does_something_else() -> None:
    plane = CheckedPlane()
    plane.starting("e1", "embed")
    plane.submit(chat("a", model="embed"), embed("b"))
    assert dispatched(plane.up(embed_engine())) == [("e1", ["b"])]
    assert plane.outcome("a") == InvalidRequest.code


@pytest.mark.parametrize("num_texts", [0, 65])
def test_embedding_requests_of_too_few_or_too_many_texts_are_refused(num_texts: int) -> None:
    plane = CheckedPlane()
    plane.up(embed_engine())
    plane.submit(embed("a", num_texts))
    assert plane.outcome("a") == InvalidRequest.code
    assert plane.failure("a").param == "texts"


def test_what_ran_at_a_lost_engine_fails_and_what_waits_goes_to_another() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine("c1", max_running=1))
    plane.up(chat_engine("c2", max_running=1))
    plane.submit(chat("a"), chat("b"), chat("waits"))
    plane.down("c1")
    assert plane.outcome("a") == EngineLost.code
    assert "killed by signal 9" in plane.failure("a").what
    assert plane.outcome("waits") == "open"
    assert dispatched(plane.end("c2", "b")) == [("c2", ["waits"])]


def test_what_waits_fails_when_the_last_engine_of_its_model_is_lost() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=1))
    plane.submit(chat("runs"), chat("waits"))
    plane.down("c1")
    assert plane.outcome("runs") == EngineLost.code
    assert plane.outcome("waits") == NoEngine.code


def test_what_was_cancelled_at_an_engine_is_not_answered_again_when_the_engine_is_lost() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"))
    plane.cancel("a")
    plane.down("c1")
    assert plane.outcome("a") == RequestCancelled.code


def test_an_engine_that_never_stops_what_it_is_told_to_is_given_up() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine(max_running=2))
    plane.submit(chat("a"), chat("b"))
    assert wakes(plane.cancel("a")) == [plane.now_s + PATIENCE_S]
    assert sizes(plane.wait(PATIENCE_S - 1.0)) == {"WakeAt": 1}
    [order] = plane.wait(1.0)
    assert isinstance(order, EndEngine)
    assert plane.wait(PATIENCE_S) == [], "once is enough"
    plane.down(order.engine_id, order.failure)
    assert plane.outcome("a") == RequestCancelled.code
    assert plane.outcome("b") == EngineLost.code
    assert "had not stopped a request" in plane.failure("b").what


def test_an_engine_that_stops_in_time_is_kept() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"), chat("b"))
    plane.cancel("a")
    plane.wait(PATIENCE_S - 1.0)
    plane.end("c1", "a")
    plane.cancel("b")
    assert sizes(plane.wait(1.0)) == {"WakeAt": 1}


def test_ends_from_an_engine_that_was_given_up_are_passed_over() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine())
    plane.submit(chat("a"))
    plane.down("c1")
    assert plane.end("c1", "a") == []


def test_an_engine_that_ends_what_it_does_not_hold_changes_nothing() -> None:
    plane = CheckedPlane()
    plane.up(chat_engine("c1", max_running=1))
    plane.up(chat_engine("c2", max_running=1))
    plane.submit(chat("a"))
    assert plane.end("c2", "a", "never") == []
    assert plane.outcome("a") == "open"


def test_an_engine_that_ends_a_request_twice_is_believed_the_first_time() -> None:
    plane = CheckedPlane()
    plane.up(embed_engine())
    plane.submit(embed("a"))
    plane.handle(EngineEnded(EngineId("e1"), (embedded("a"), embedded("a"))))
    plane.handle(EngineEnded(EngineId("e1"), (embedded("a"),)))
    assert plane.outcome("a") == "finished"
