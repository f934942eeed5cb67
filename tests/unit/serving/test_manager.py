"""The control-plane actor and its client, with scripted engines: real threads, no processes."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from cluster.runtime.actor import ActorSilent
from cluster.serving.engines.link import HostLost
from cluster.serving.manager import PlaneClient, start_control_plane
from cluster.serving.plane import Plane
from sage.base.errors import DeadlineExceeded, EngineLost, NoEngine, RequestCancelled, UnknownModel, UnknownPolicy
from sage.base.ids import RequestId
from sage.base.inference import Reply, Request, Token
from tests.unit.serving.arrange import CHAT_CARD, EMBED_CARD, chat, chat_engine, embed, embed_engine, lost, outcome_of
from tests.unit.serving.links import ScriptedLink, at_once

WAIT_S = 20.0


class Mailed:
    """An asker on another thread than the plane's; waits for ends."""

    def __init__(self, num_ends: int) -> None:
        self.threads: set[str] = set()
        self.replies: list[Reply] = []
        self._outcomes: dict[str, str] = {}
        self._missing = num_ends
        self._is_over = threading.Event()

    def __call__(self, replies: Sequence[Reply]) -> None:
        self.threads.add(threading.current_thread().name.split()[0])
        self.replies += replies
        for reply in replies:
            if not isinstance(reply, Token):
                assert reply.request_id not in self._outcomes
                self._outcomes[reply.request_id] = outcome_of(reply)
                self._missing -= 1
        if self._missing <= 0:
            self._is_over.set()

    def outcomes(self, within_s: float = WAIT_S) -> dict[str, str]:
        assert self._is_over.wait(within_s), f"no end for some; known: {self._outcomes}"
        return self._outcomes


@contextmanager
def client_of(*links: ScriptedLink) -> Iterator[PlaneClient]:
    client = start_control_plane(Plane(("chat", "embed")))
    try:
        for link in links:
            link.is_ready()
            client.attach(link)
        yield client
    finally:
        assert client.close() == []
        for link in links:
            link.close(0.0)


def ask(client: PlaneClient, *requests: Request) -> Mailed:
    mailed = Mailed(len(requests))
    client.submit(requests, mailed)
    return mailed


def test_chat_and_embeddings_of_many_threads_are_answered_on_the_planes_thread() -> None:
    chats, embeddings = ScriptedLink(chat_engine(), answering=at_once), ScriptedLink(embed_engine(), answering=at_once)
    with client_of(chats, embeddings) as client:
        asked: list[Mailed] = []
        threads = [
            threading.Thread(
                target=lambda n=n: asked.append(ask(client, *(chat(f"c{n}-{k}") for k in range(20)), embed(f"e{n}")))
            )
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S)
        outcomes = [outcome for mailed in asked for outcome in mailed.outcomes().values()]
        assert outcomes == ["finished"] * 84
        assert set().union(*(mailed.threads for mailed in asked)) == {"control-plane"}
        assert client.models() == (CHAT_CARD, EMBED_CARD)


def test_an_engine_attached_later_serves_and_is_shown() -> None:
    link = ScriptedLink(chat_engine(), answering=at_once)
    with client_of() as client:
        client.attach(link)
        mailed = ask(client, chat("a"))
        assert [engine.state for engine in client.engines()] == ["starting"]
        link.is_ready()
        assert mailed.outcomes() == {"a": "finished"}
        (engine,) = client.engines()
        assert (engine.state, engine.num_requests, engine.completion_tokens) == ("ready", 1, 5)


def test_a_deadline_wakes_the_actor() -> None:
    with client_of(ScriptedLink(chat_engine())) as client:
        assert ask(client, chat("a", timeout_s=0.01)).outcomes() == {"a": DeadlineExceeded.code}


def test_a_cancel_reaches_the_engine_and_the_asker() -> None:
    link = ScriptedLink(chat_engine())
    with client_of(link) as client:
        mailed = ask(client, chat("a"))
        client.cancel([RequestId("a")])
        assert mailed.outcomes() == {"a": RequestCancelled.code}
        assert client.view().engines[0].num_running == 1
        assert link.aborted() == ["a"]


def test_the_death_of_a_host_is_answered_at_once() -> None:
    link = ScriptedLink(chat_engine())
    with client_of(link) as client:
        mailed = ask(client, chat("a"))
        assert client.view().num_running == 1
        link.say(HostLost(lost()))
        assert mailed.outcomes() == {"a": EngineLost.code}


def test_the_policy_is_changed_live_and_an_unknown_one_is_refused_to_whoever_asked() -> None:
    with client_of() as client:
        client.set_policy("fifo")
        assert client.view().policy == "fifo"
        with pytest.raises(UnknownPolicy, match="fifo"):
            client.set_policy("fifoo")


def test_engines_go_from_one_plane_to_another_without_a_restart() -> None:
    link = ScriptedLink(chat_engine(), answering=at_once)
    with client_of(link) as first, client_of() as second:
        for held in first.release_links():
            second.attach(held.link, held.info)
        assert ask(second, chat("a")).outcomes() == {"a": "finished"}
        assert ask(first, chat("b")).outcomes() == {"b": NoEngine.code}
        assert link.closed_within_s is None


def test_closing_answers_what_is_open_ends_the_engines_and_refuses_what_comes_later() -> None:
    link = ScriptedLink(chat_engine())
    with client_of(link) as client:
        mailed = ask(client, chat("a"))
        assert client.view().num_running == 1
        assert client.close() == []
        assert mailed.outcomes() == {"a": RequestCancelled.code}
        assert link.was_shut_down()
        assert ask(client, chat("b")).outcomes() == {"b": NoEngine.code}
        client.cancel([RequestId("a")])


def test_an_engine_that_the_plane_does_not_take_is_ended() -> None:
    link = ScriptedLink(chat_engine())
    with client_of() as client:
        client.close()
        with pytest.raises(ActorSilent):
            client.attach(link)
    assert link.closed_within_s == 0.0


def test_an_unknown_model_is_refused_through_the_actor_as_well() -> None:
    with client_of() as client:
        assert ask(client, chat("a", model="nothing")).outcomes() == {"a": UnknownModel.code}
