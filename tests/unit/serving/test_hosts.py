"""The control plane over engine hosts of its own: real processes, simulated engines."""

import asyncio
import os
import signal
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from cluster.serving.engines.launch import ChildLink, launch
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.loop import LoopPlane
from cluster.serving.manager import start_control_plane
from cluster.serving.plane import Plane
from sage.base.errors import EngineLost, InvalidRequest, RequestCancelled
from sage.base.ids import RequestId
from sage.base.inference import Reply, Token
from tests.unit.serving.arrange import chat, embed, outcome_of
from tests.unit.serving.test_manager import ask

pytestmark = pytest.mark.cluster
WAIT_S = 60.0


def hosts() -> list[ChildLink]:
    specs = ("simulated:cpu2,model=chat,role=chat", "simulated:cpu2,model=embed,role=embedding")
    return [launch(spec_from_text(spec)) for spec in specs]


def test_requests_wait_for_hosts_that_start_and_all_are_answered() -> None:
    client = start_control_plane(Plane())
    try:
        for link in hosts():
            client.attach(link)
        chats = ask(client, *(chat(f"c{n}", max_tokens=3) for n in range(10)))
        embeddings = ask(client, *(embed(f"e{n}") for n in range(40)))
        assert set(chats.outcomes().values()) == set(embeddings.outcomes().values()) == {"finished"}
        assert {engine.state for engine in client.engines()} == {"ready"}
        assert max(num_texts for num_texts, _ in client.view().batch_sizes) > 1
    finally:
        assert client.close() == []


def test_a_request_that_cannot_be_written_fails_alone() -> None:
    client = start_control_plane(Plane())
    try:
        for link in hosts():
            client.attach(link)
        big, foreign = chat("big", max_tokens=2**70), embed("foreign")
        foreign = msgspec.structs.replace(foreign, texts=(np.str_("a text of NumPy"),))
        outcomes = ask(client, chat("a", max_tokens=1), big, foreign, embed("b")).outcomes()
        assert outcomes == {
            "a": "finished",
            "big": InvalidRequest.code,
            "foreign": InvalidRequest.code,
            "b": "finished",
        }
    finally:
        assert client.close() == []


def test_a_host_that_is_killed_fails_its_requests_and_a_cancel_stops_one() -> None:
    client = start_control_plane(Plane())
    try:
        link, _ = links = hosts()
        for each in links:
            client.attach(each)
        first = ask(client, chat("first", max_tokens=1), embed("second")).outcomes()
        assert first == {"first": "finished", "second": "finished"}  # both hosts are ready
        long = ask(client, chat("long", max_tokens=1000))
        cancelled = ask(client, chat("cancelled", max_tokens=1000))
        client.cancel([RequestId("cancelled")])
        assert cancelled.outcomes() == {"cancelled": RequestCancelled.code}
        os.kill(link.pid, signal.SIGKILL)
        assert long.outcomes() == {"long": EngineLost.code}
        assert [engine.state for engine in client.engines()] == ["ready", "lost"]
    finally:
        assert client.close() == []


def test_hosts_go_from_the_actor_to_an_event_loop_and_serve_on() -> None:
    client = start_control_plane(Plane())
    try:
        for link in hosts():
            client.attach(link)
        assert ask(client, chat("a", max_tokens=1), embed("b")).outcomes() == {"a": "finished", "b": "finished"}
        held_links = client.release_links()
    finally:
        assert client.close() == []

    async def serve_on() -> dict[str, str]:
        plane = LoopPlane(Plane(), asyncio.get_running_loop())
        for held in held_links:
            plane.attach(held.link, held.info)
        ends: asyncio.Queue[Reply] = asyncio.Queue()

        def take(replies: Sequence[Reply]) -> None:
            for reply in replies:
                ends.put_nowait(reply)

        outcomes: dict[str, str] = {}
        try:
            plane.submit([chat("c", max_tokens=2), embed("d")], take)
            while len(outcomes) < 2:
                reply = await ends.get()
                if not isinstance(reply, Token):
                    outcomes[reply.request_id] = outcome_of(reply)
        finally:
            await plane.close()
        return outcomes

    assert asyncio.run(asyncio.wait_for(serve_on(), WAIT_S)) == {"c": "finished", "d": "finished"}
