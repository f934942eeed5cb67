"""What whoever asked sees of a request that an engine is to give back: one beginning, and one end."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from cluster.serving.events import Submitted
from sage.base.errors import RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failed, Failure, Served
from tests.unit.serving.arrange import BATCH, INTERACTIVE, chat, chat_engine, finished
from tests.unit.serving.links import ScriptedLink, token
from tests.unit.serving.stage import Stage

SERVED = Served("hybrid", "auto", EngineId("c1"))


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.plane.check()
    for link in stage.links:
        link.close(0.0)


def gives_back(link: ScriptedLink, id: str) -> None:
    link.reply(Failed(RequestId(id), Failure.of(RequestCancelled("stopped"))))


def test_what_is_taken_back_begins_once_for_whoever_asked_and_says_that_it_was(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    asker = stage.ask(chat("b", BATCH))
    urgent = stage.ask(chat("i", INTERACTIVE))
    assert link.aborted() == ["b"]
    link.reply(token("b", "lost"))
    gives_back(link, "b")
    stage.come(link)
    link.reply(finished("i"))
    stage.come(link)
    link.reply(token("b", "Hello"), finished("b"))
    stage.come(link)
    assert urgent.outcomes() == {"i": "finished"}
    assert asker.text() == "Hello"
    served = replace(SERVED, num_taken_back=1)
    assert asker.calls == [[replace(token("b", "Hello"), served=served), replace(finished("b"), served=served)]]


def test_what_ends_before_it_is_stopped_is_answered_whole(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    asker = stage.ask(chat("b", BATCH))
    stage.ask(chat("i", INTERACTIVE))
    link.reply(token("b", "Hel"))
    stage.come(link)
    assert asker.calls == []
    link.reply(token("b", "lo"), finished("b"))
    stage.come(link)
    assert asker.text() == "Hello"
    assert asker.calls == [
        [replace(token("b", "Hel"), served=SERVED), token("b", "lo"), replace(finished("b"), served=SERVED)]
    ]


def test_what_somebody_has_a_token_of_is_not_stopped_though_the_plane_has_not_heard_of_it(stage: Stage) -> None:
    link = stage.link(chat_engine(max_running=1))
    asker = stage.ask(chat("b", BATCH))
    link.reply(token("b", "Hel"))
    stage.shell._events.append(Submitted((chat("i", INTERACTIVE),)))  # before the plane hears of what came
    stage.come(link)
    assert link.aborted() == []
    link.reply(token("b", "lo"), finished("b"))
    stage.come(link)
    assert asker.text() == "Hello"
    assert asker.outcomes() == {"b": "finished"}
