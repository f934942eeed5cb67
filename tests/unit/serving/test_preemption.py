"""Requests of class batch give their place to interactive ones, until they have their first token."""

import pytest
from msgspec.structs import replace

from cluster.serving.abandoned import PATIENCE_S
from cluster.serving.events import Command, EndEngine, EngineEnded, TakeBack
from cluster.serving.plane import Plane
from sage.base.errors import DeadlineExceeded, EngineLost, Overloaded, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Kind, ModelCard, ScoreRequest
from tests.unit.serving.arrange import (
    BATCH,
    INTERACTIVE,
    STANDARD,
    CheckedPlane,
    aborted,
    chat,
    chat_engine,
    dispatched,
    embed,
    embed_engine,
)

STOPPED = Failure.of(RequestCancelled("stopped"))


def taken_back(commands: list[Command]) -> list[str]:
    return [id for command in commands if isinstance(command, TakeBack) for id in command.request_ids]


def gives_back(plane: CheckedPlane, *ids: str) -> list[Command]:
    return plane.handle(EngineEnded(EngineId("c1"), tuple(Failed(RequestId(id), STOPPED) for id in ids)))


def with_batch(policy: str = "priority") -> CheckedPlane:
    """An engine that works on two requests of class batch, b1 and b2, and has no room."""
    plane = CheckedPlane(Plane(("chat", "embed"), policy=policy))
    plane.up(chat_engine(max_running=2))
    plane.submit(chat("b1", BATCH), chat("b2", BATCH))
    return plane


@pytest.mark.parametrize("policy", ["priority", "hybrid"])
def test_the_request_given_last_is_taken_back_and_waits_again(policy: str) -> None:
    plane = with_batch(policy)
    assert taken_back(plane.submit(chat("i", INTERACTIVE))) == ["b2"]
    assert dispatched(gives_back(plane, "b2")) == [("c1", ["i"])]
    assert plane.outcome("b2") == "open"
    assert dispatched(plane.end("c1", "i")) == [("c1", ["b2"])]
    plane.end("c1", "b1", "b2")
    assert [plane.outcome(id) for id in ("b1", "b2", "i")] == ["finished"] * 3
    assert plane.plane.view().num_taken_back == 1


@pytest.mark.parametrize("policy", ["fifo", "edf", "dlpm"])
def test_nothing_is_taken_back_where_classes_do_not_go_before_each_other(policy: str) -> None:
    assert taken_back(with_batch(policy).submit(chat("i", INTERACTIVE))) == []


def test_one_is_taken_back_for_each_that_waits_and_no_more() -> None:
    plane = with_batch()
    assert taken_back(plane.submit(chat("s", STANDARD))) == []
    assert taken_back(plane.submit(chat("i1", INTERACTIVE))) == ["b2"]
    assert taken_back(plane.wait(1.0)) == []
    assert taken_back(plane.submit(chat("i2", INTERACTIVE), chat("i3", INTERACTIVE))) == ["b1"]


def test_nothing_is_taken_back_from_an_engine_that_is_not_known_to_stop() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="priority"))
    plane.up(replace(chat_engine(max_running=1), gives_back=False))
    plane.submit(chat("b", BATCH))
    assert taken_back(plane.submit(chat("i", INTERACTIVE))) == []


def test_what_has_its_first_token_stays() -> None:
    plane = with_batch()
    plane.first("b2")
    assert taken_back(plane.submit(chat("i", INTERACTIVE))) == ["b1"]
    plane.first("b1")
    assert dispatched(plane.end("c1", "b1")) == [("c1", ["i"])]
    assert plane.outcome("b1") == "finished"
    assert plane.plane.view().num_taken_back == 0


def test_what_ends_before_it_is_stopped_has_ended() -> None:
    plane = with_batch()
    plane.submit(chat("i", INTERACTIVE))
    assert dispatched(plane.end("c1", "b2")) == [("c1", ["i"])]
    assert plane.outcome("b2") == "finished"


def test_a_request_is_taken_back_once() -> None:
    plane = with_batch()
    plane.first("b1")
    plane.submit(chat("i1", INTERACTIVE))
    gives_back(plane, "b2")
    plane.end("c1", "i1")
    assert taken_back(plane.submit(chat("i2", INTERACTIVE))) == []


def test_what_its_floor_let_go_first_stays() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="priority"))
    plane.up(chat_engine(max_running=1))
    plane.submit(chat("i0", INTERACTIVE, max_tokens=1_000), chat("b", BATCH, max_tokens=10))
    plane.submit(*(chat(f"i{n}", INTERACTIVE, max_tokens=1_000) for n in (1, 2, 3)))
    commands = plane.end("c1", "i0")
    assert dispatched(commands) == [("c1", ["b"])]
    assert taken_back(commands) == []
    assert taken_back(plane.submit(chat("i4", INTERACTIVE))) == []


def test_who_cancels_or_is_too_late_while_it_comes_back_is_answered_once() -> None:
    plane = with_batch()
    plane.submit(chat("b3", BATCH, timeout_s=5.0), chat("i", INTERACTIVE))
    assert aborted(plane.cancel("b2")) == [("c1", ("b2",))]
    assert plane.outcome("b2") == RequestCancelled.code
    gives_back(plane, "b2")
    plane.wait(6.0)
    assert plane.outcome("b3") == DeadlineExceeded.code


def test_an_engine_that_gives_nothing_back_is_given_up() -> None:
    plane = with_batch()
    plane.submit(chat("i", INTERACTIVE))
    ends = [command for command in plane.wait(PATIENCE_S + 1.0) if isinstance(command, EndEngine)]
    assert [end.engine_id for end in ends] == ["c1"]
    plane.down("c1")
    assert plane.outcome("b2") == EngineLost.code


def test_embeddings_are_not_taken_back() -> None:
    plane = CheckedPlane(Plane(("embed",), policy="priority"))
    plane.up(embed_engine(max_running=1))
    plane.submit(embed("b", 1, BATCH))
    assert taken_back(plane.submit(embed("i", 1, INTERACTIVE))) == []


def test_requests_to_score_are_not_taken_back() -> None:
    plane = CheckedPlane(Plane(("rank",), policy="priority"))
    plane.up(replace(embed_engine(max_running=1), models=(ModelCard("rank", (Kind.SCORE,), 512),)))
    plane.submit(ScoreRequest(RequestId("b"), "rank", "why", ("text",), BATCH))
    assert taken_back(plane.submit(ScoreRequest(RequestId("i"), "rank", "why", ("text",), INTERACTIVE))) == []
    assert dispatched(plane.end("e1", "b")) == [("e1", ["i"])]


def test_a_prompt_is_not_taken_back_for_texts_that_wait_for_a_batch_to_end() -> None:
    plane = CheckedPlane(Plane(("both",), policy="priority"))
    plane.up(replace(embed_engine(), models=(ModelCard("both", (Kind.CHAT, Kind.EMBED), 512, 384),)))
    first, second, third = (replace(embed(id, 8, INTERACTIVE), model="both") for id in ("e1", "e2", "e3"))
    plane.submit(replace(chat("b", BATCH), model="both"), first)
    plane.submit(second)
    assert taken_back(plane.submit(third)) == []


def test_what_comes_back_has_a_place_to_wait() -> None:
    plane = CheckedPlane(Plane(("chat",), policy="priority", max_waiting=2))
    plane.up(chat_engine(max_running=1))
    plane.submit(chat("b", BATCH))
    assert taken_back(plane.submit(chat("i1", INTERACTIVE))) == ["b"]
    plane.submit(chat("i2", INTERACTIVE))
    assert plane.outcome("i2") == Overloaded.code
    assert dispatched(gives_back(plane, "b")) == [("c1", ["i1"])]
