"""The shell that obeys the plane, driven by hand."""

from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from cluster.serving.closing import close_links
from cluster.serving.engines.link import HostLost
from cluster.serving.engines.port import WIRE_VERSION, EngineInfo, Ready, StartFailed
from sage.base.errors import (
    DeadlineExceeded,
    EngineLost,
    EngineStartFailed,
    InternalError,
    InvalidRequest,
    NoEngine,
    RequestCancelled,
    UnknownPolicy,
)
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Finished, Reply, Served, Token
from sage.base.log import get_log
from tests.unit.serving.arrange import CHAT_CARD, chat, chat_engine, finished, lost
from tests.unit.serving.links import token
from tests.unit.serving.stage import Asker, Stage


def served_by(reply: Token | Finished) -> Token | Finished:
    """Return a reply as the shell stamps it, unless it was told of another policy."""
    return replace(reply, served=Served("hybrid", "auto", EngineId("c1")))


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    if stage.shell.fault is None:
        stage.plane.check()
    for link in stage.links:
        link.close(0.0)


def test_tokens_and_the_end_reach_whoever_asked_in_order(stage: Stage) -> None:
    link = stage.link()
    asker = stage.ask(chat("a"))
    assert link.ran() == ["a"]
    link.reply(token("a", "Hel"))
    stage.come(link)
    link.reply(token("a", "lo"), finished("a"))
    stage.come(link)
    assert asker.text() == "Hello"
    assert asker.calls[-1] == [token("a", "lo"), served_by(finished("a"))]


def test_each_asker_is_called_once_for_all_that_came_for_it(stage: Stage) -> None:
    link = stage.link()
    asker = stage.ask(chat("a"), chat("b"))
    link.reply(token("a"), token("b"), token("a"))
    link.reply(token("b"))
    stage.come(link)
    [replies] = asker.calls
    assert replies == [served_by(token("a")), served_by(token("b")), token("a"), token("b")]


def test_replies_say_the_policy_and_the_route_that_were_in_force_at_the_pick(stage: Stage) -> None:
    link = stage.link()
    asker = stage.ask(chat("a"))
    stage.shell.set_policy("edf", route="round_robin")
    later = stage.ask(chat("b"))
    link.reply(token("a"), finished("a"), token("b"), finished("b"))
    stage.come(link)
    assert asker.calls == [[served_by(token("a")), served_by(finished("a"))]]
    by_edf = Served("edf", "round_robin", EngineId("c1"))
    assert later.calls == [[replace(token("b"), served=by_edf), replace(finished("b"), served=by_edf)]]
    assert [(one.policy, one.route, one.num_picked) for one in stage.shell.view().picked] == [
        ("hybrid", "auto", 1),
        ("edf", "round_robin", 1),
    ]


def test_an_unknown_route_changes_nothing_of_the_policy_either(stage: Stage) -> None:
    with pytest.raises(UnknownPolicy, match="least_wrk"):
        stage.shell.set_policy("edf", route="least_wrk")
    assert (stage.shell.view().policy, stage.shell.view().route) == ("hybrid", "auto")


def test_what_came_while_sending_is_taken_without_another_signal(stage: Stage) -> None:
    stage.link(answers=True)
    assert stage.ask(chat("a")).outcomes() == {"a": "finished"}


def test_an_engine_that_does_not_stop_when_told_to_is_ended_and_its_requests_are_answered(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=2))
    asker = stage.ask(chat("a"), chat("b"))
    stage.shell.cancel([RequestId("a")])
    assert stage.driver.wake_s is not None
    stage.clock.advance(stage.driver.wake_s - stage.clock.monotonic_s())
    with capture_logs():
        stage.shell.on_wake()
    assert asker.outcomes() == {"a": RequestCancelled.code, "b": EngineLost.code}
    assert link.closed_within_s is not None


def test_an_end_lets_the_next_request_go(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    stage.ask(chat("a"), chat("b"))
    link.reply(finished("a"))
    stage.come(link)
    assert link.ran() == ["a", "b"]


def test_requests_wait_until_the_engine_says_it_is_ready(stage: Stage) -> None:
    link = stage.link(is_ready=False)
    stage.ask(chat("a"))
    assert (link.ran(), stage.shell.models()) == ([], ())
    link.is_ready()
    stage.come(link)
    assert (link.ran(), stage.shell.models()) == (["a"], (CHAT_CARD,))


def test_cancelled_requests_are_answered_at_once_and_their_late_tokens_dropped(stage: Stage) -> None:
    link = stage.link()
    asker = stage.ask(chat("a"))
    stage.shell.cancel([RequestId("a")])
    assert link.aborted() == ["a"]
    link.reply(token("a", "late"), Failed(RequestId("a"), lost()))
    stage.come(link)
    assert asker.outcomes() == {"a": RequestCancelled.code}
    assert asker.text() == ""


def test_a_second_request_of_an_id_is_refused_to_the_second_asker_only(stage: Stage) -> None:
    link = stage.link()
    first, second = stage.ask(chat("a")), stage.ask(chat("a"))
    link.reply(token("a", "for the first"), finished("a"))
    stage.come(link)
    assert second.outcomes() == {"a": InvalidRequest.code}
    assert first.outcomes() == {"a": "finished"}
    assert first.text() == "for the first"


def test_the_id_of_a_cancelled_request_is_refused_while_its_engine_still_works_on_it(stage: Stage) -> None:
    link = stage.link()
    stage.ask(chat("a"))
    stage.shell.cancel([RequestId("a")])
    assert stage.ask(chat("a")).outcomes() == {"a": InvalidRequest.code}
    link.reply(finished("a"))
    stage.come(link)
    assert stage.ask(chat("a")).outcomes() == {}


def test_an_asker_that_raises_harms_nobody_else_and_is_logged(stage: Stage) -> None:
    def raises(replies: Sequence[Reply]) -> None:
        raise ValueError("the asker is broken")

    link = stage.link()
    stage.shell.submit([chat("a")], raises)
    asker = stage.ask(chat("b"))
    link.reply(finished("a"), finished("b"))
    with logged() as events:
        stage.come(link)
    assert asker.outcomes() == {"b": "finished"}
    assert [event["request_ids"] for event in events] == [["a"]]


def test_an_asker_may_ask_again_while_it_is_answered(stage: Stage) -> None:
    stage.link(answers=True)
    asker = Asker()

    def asks_again(replies: Sequence[Reply]) -> None:
        stage.shell.submit([chat("second")], asker)
        stage.shell.cancel([RequestId("never")])

    stage.shell.submit([chat("first")], asks_again)
    assert asker.outcomes() == {"second": "finished"}


def test_the_driver_is_asked_to_wake_for_the_earliest_deadline(stage: Stage) -> None:
    stage.link()
    asker = stage.ask(chat("a", timeout_s=5.0))
    assert stage.driver.wake_s == 105.0
    stage.clock.advance(5.0)
    stage.shell.on_wake()
    assert asker.outcomes() == {"a": DeadlineExceeded.code}


def test_the_death_of_a_host_fails_what_ran_there_and_lets_go_of_it(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    asker = stage.ask(chat("runs"), chat("waits"))
    link.say(HostLost(lost()))
    stage.come(link)
    assert asker.outcomes() == {"runs": EngineLost.code, "waits": NoEngine.code}
    assert stage.driver.fds == set()
    assert link.closed_within_s == 0.0
    assert stage.shell.models() == ()


def test_what_a_dying_host_still_said_counts(stage: Stage) -> None:
    link = stage.link()
    asker = stage.ask(chat("a"), chat("b"))
    link.reply(token("a"), finished("a"))
    link.say(HostLost(lost()))
    stage.come(link)
    assert asker.outcomes() == {"a": "finished", "b": EngineLost.code}


def test_a_host_that_cannot_start_fails_those_who_wait_with_its_reason(stage: Stage) -> None:
    link = stage.link(is_ready=False)
    asker = stage.ask(chat("a"))
    link.say(StartFailed(Failure.of(EngineStartFailed("no such file"))))
    stage.come(link)
    assert asker.outcomes() == {"a": EngineStartFailed.code}


def test_a_link_that_takes_no_more_is_given_up_and_other_engines_go_on(stage: Stage) -> None:
    stuck, good = stage.link(), stage.link(chat_engine("c2"), answers=True)
    stuck.takes_messages = False
    asker = stage.ask(chat("a"), chat("b"))
    assert asker.outcomes() == {"a": EngineLost.code, "b": "finished"}
    assert (stuck.closed_within_s, good.closed_within_s) == (0.0, None)


@pytest.mark.parametrize("info", [chat_engine("another"), chat_engine(max_running=0)], ids=["wrong id", "no window"])
def test_a_host_that_breaks_the_protocol_is_given_up(stage: Stage, info: EngineInfo) -> None:
    link = stage.link(is_ready=False)
    link.say(Ready(WIRE_VERSION, info))
    stage.come(link)
    assert link.closed_within_s == 0.0
    assert stage.ask(chat("a")).outcomes() == {"a": NoEngine.code}


def test_a_second_engine_of_one_id_is_refused(stage: Stage) -> None:
    stage.link()
    with pytest.raises(InternalError, match="c1"):
        stage.link()


def test_changing_the_policy_by_an_unknown_name_changes_nothing(stage: Stage) -> None:
    with pytest.raises(UnknownPolicy):
        stage.shell.set_policy("shortest")
    assert stage.shell.view().policy == "hybrid"
    stage.shell.set_policy("fifo")
    assert stage.shell.view().policy == "fifo"


def test_engines_are_handed_from_one_shell_to_another_while_they_run(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    asker = stage.ask(chat("runs"), chat("waits"))
    (held,) = stage.shell.detach_all()
    assert asker.outcomes() == {"runs": EngineLost.code, "waits": NoEngine.code}
    assert "runs" in link.aborted()
    assert stage.driver.fds == set()

    other = Stage()
    other.shell.attach(held.link, held.info)
    asker = other.ask(chat("b"))
    link.reply(Failed(RequestId("runs"), lost()), finished("b"))
    other.come(link)
    assert asker.outcomes() == {"b": "finished"}
    assert link.closed_within_s is None


def test_an_engine_handed_over_while_it_starts_becomes_ready_at_the_other_shell(stage: Stage) -> None:
    link = stage.link(is_ready=False)
    (held,) = stage.shell.detach_all()
    other = Stage()
    other.shell.attach(held.link, held.info)
    asker = other.ask(chat("a"))
    link.is_ready()
    other.come(link)
    assert (other.shell.models(), link.ran(), asker.calls) == ((CHAT_CARD,), ["a"], [])


def test_closing_answers_all_and_refuses_what_comes_later(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    asker = stage.ask(chat("runs"), chat("waits"))
    close_links(stage.shell.close(), 1.0, clock=stage.clock)
    assert asker.outcomes() == {"runs": RequestCancelled.code, "waits": RequestCancelled.code}
    assert link.was_shut_down()
    assert link.closed_within_s == 1.0
    assert stage.ask(chat("late")).outcomes() == {"late": NoEngine.code}
    with pytest.raises(NoEngine):
        stage.shell.attach(link)


def test_a_fault_of_the_plane_itself_answers_everybody(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.link()
    asker = stage.ask(chat("a"))
    monkeypatch.setattr(stage.plane, "handle", broken)  # no event brings a fault about
    with logged() as events:
        stage.shell.cancel([RequestId("a")])
    assert asker.outcomes() == {"a": InternalError.code}
    assert isinstance(stage.shell.fault, ZeroDivisionError)
    assert stage.ask(chat("b")).outcomes() == {"b": InternalError.code}
    assert [held.link.engine_id for held in stage.shell.close()] == [EngineId("c1")]
    assert [event["event"] for event in events] == ["control plane failed"]


@contextmanager
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """Keep what is logged within, instead of showing it."""
    get_log()  # sets logging up, if nobody has
    with capture_logs() as events:
        yield events


def broken(*_: object) -> list[object]:
    raise ZeroDivisionError
