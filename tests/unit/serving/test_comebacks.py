"""Engines that are lost and started again, and those that move: what waits for them waits on."""

from collections.abc import Iterator

import pytest

from cluster.serving.engines.host_watch import ASK_EVERY_S
from cluster.serving.engines.link import HostLost
from cluster.serving.events import RETIRE_S, EndEngine, EngineDown, EngineRetired
from sage.base.errors import EngineLost, NoEngine, NoRoom
from sage.base.ids import EngineId
from sage.base.inference import Failure
from tests.unit.serving.arrange import CheckedPlane, chat, chat_engine, dispatched, finished, lost
from tests.unit.serving.links import ScriptedLink
from tests.unit.serving.stage import Stage

C1 = EngineId("c1")


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.plane.check()
    for link in stage.links:
        link.close(0.0)


def returning(stage: Stage) -> ScriptedLink:
    """Attach an engine that is started again where it is lost, with room for one request."""
    link = ScriptedLink(chat_engine(max_running=1))
    stage.links.append(link)
    link.is_ready()
    stage.shell.attach(link, again=lambda: ScriptedLink(chat_engine(max_running=1)))
    return link


def is_closed(link: ScriptedLink) -> bool:
    return link.closed_within_s is not None


def come_back(stage: Stage) -> ScriptedLink:
    """Do what a driver does when it is told to start an engine again."""
    held, _ = stage.driver.again.pop()
    assert held.again is not None
    link = held.again()
    assert isinstance(link, ScriptedLink)
    stage.links.append(link)
    link.is_ready()
    stage.shell.attach(link, again=held.again)
    return link


def test_what_runs_at_a_lost_engine_fails_and_what_waits_is_served_when_it_is_back(stage: Stage) -> None:
    link = returning(stage)
    running, waiting = stage.ask(chat("a")), stage.ask(chat("b"))
    link.say(HostLost(lost()))
    stage.come(link)
    assert running.outcomes() == {"a": EngineLost.code}
    assert waiting.outcomes() == {}
    assert stage.ask(chat("c")).outcomes() == {}, "who comes now waits too"
    again = come_back(stage)
    assert again.ran() == ["b"]


def test_an_engine_that_cannot_be_started_again_is_tried_later_and_then_given_up(stage: Stage) -> None:
    link = returning(stage)
    stage.ask(chat("a"))
    waiting = stage.ask(chat("b"))
    link.say(HostLost(lost()))
    stage.come(link)
    pauses = []
    while stage.driver.again:
        pauses.append(stage.driver.again.pop()[1])
        assert waiting.outcomes() == {}
        stage.shell.not_started(C1, Failure.of(NoRoom("no node has room")))
    assert pauses == sorted(pauses)
    assert waiting.outcomes() == {"b": NoRoom.code}
    assert stage.ask(chat("c")).outcomes() == {"c": NoEngine.code}


def test_a_shell_that_is_closed_starts_nothing_again(stage: Stage) -> None:
    link = returning(stage)
    waiting = stage.ask(chat("a"), chat("b"))
    link.say(HostLost(lost()))
    stage.come(link)
    stage.shell.close()
    assert len(waiting.outcomes()) == 2
    with pytest.raises(NoEngine):
        come_back(stage)


def test_hosts_that_want_it_are_asked_every_second_whether_they_work(stage: Stage) -> None:
    link = ScriptedLink(chat_engine())
    link.is_asked = True
    stage.links.append(link)
    stage.shell.attach(link)
    for num_asked in range(1, 4):
        stage.clock.advance(ASK_EVERY_S)
        assert stage.driver.wake_s == stage.clock.monotonic_s()
        stage.shell.on_wake()
        assert link.num_asked == num_asked


def test_an_engine_that_moves_answers_what_it_has_and_begins_again_at_once(stage: Stage) -> None:
    link = returning(stage)
    running, waiting = stage.ask(chat("a")), stage.ask(chat("b"))
    stage.shell.retire([C1])
    assert not is_closed(link)
    link.reply(finished("a"))
    stage.come(link)
    assert running.outcomes() == {"a": "finished"}
    assert is_closed(link)
    assert [after_s for _, after_s in stage.driver.again] == [0.0]
    assert come_back(stage).ran() == ["b"]
    assert waiting.outcomes() == {}


def test_an_engine_that_ends_for_good_answers_what_it_has_and_does_not_begin_again(stage: Stage) -> None:
    link = returning(stage)
    running, waiting = stage.ask(chat("a")), stage.ask(chat("b"))
    stage.shell.retire([C1], for_good=True)
    link.reply(finished("a"))
    stage.come(link)
    assert running.outcomes() == {"a": "finished"}
    assert is_closed(link)
    assert stage.driver.again == []
    assert waiting.outcomes() == {"b": NoEngine.code}


def test_an_engine_that_is_stopped_or_still_starts_ends_at_once(stage: Stage) -> None:
    link = returning(stage)
    running = stage.ask(chat("a"))
    stage.shell.retire([C1], within_s=0.0, for_good=True)
    assert running.outcomes() == {"a": EngineLost.code}
    assert is_closed(link)
    starting = stage.link(chat_engine("c2"), is_ready=False)
    stage.shell.retire([EngineId("c2")], for_good=True)
    assert is_closed(starting)
    assert stage.driver.again == []


def test_an_engine_that_retires_is_given_nothing_and_ended_in_time() -> None:
    driven = CheckedPlane()
    driven.up(chat_engine())
    driven.submit(chat("a"))
    driven.handle(EngineRetired(C1))
    assert dispatched(driven.submit(chat("b"))) == []
    assert [command for command in driven.wait(RETIRE_S) if isinstance(command, EndEngine)]
    driven.handle(EngineDown(C1, lost(), ("chat",)))
    assert driven.outcome("a") == EngineLost.code
    assert driven.outcome("b") == "open"
    assert dispatched(driven.up(chat_engine())) == [("c1", ["b"])]


def test_an_idle_engine_that_retires_is_ended_at_once() -> None:
    driven = CheckedPlane()
    driven.up(chat_engine())
    (command,) = driven.handle(EngineRetired(C1))
    assert isinstance(command, EndEngine)
