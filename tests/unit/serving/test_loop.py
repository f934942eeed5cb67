"""The plane on an event loop, with scripted engines."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec.structs import replace

from cluster.serving.engines.link import HostLost
from cluster.serving.loop import LoopPlane
from cluster.serving.plane import Plane
from sage.base.errors import DeadlineExceeded, EngineLost, NoEngine, RequestCancelled
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Inference, Reply, Request, Served, Token
from tests.unit.serving.arrange import CHAT_CARD, chat, chat_engine, finished, lost, outcome_of
from tests.unit.serving.links import ScriptedLink, at_once, token

WAIT_S = 20.0


def on_loop(body: Callable[[LoopPlane], Awaitable[None]]) -> None:
    """Run `body` with a plane on a fresh loop, and close it."""

    async def main() -> None:
        plane = LoopPlane(Plane(("chat",)), asyncio.get_running_loop())
        try:
            await body(plane)
        finally:
            await plane.close()

    asyncio.run(asyncio.wait_for(main(), WAIT_S))


class Awaited:
    """Collects replies on the loop; `over` is done once every request has ended."""

    def __init__(self, inference: Inference, *requests: Request) -> None:
        self.text = ""
        self.outcomes: dict[str, str] = {}
        self._num_open = len(requests)
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        inference.submit(requests, self._take)

    def _take(self, replies: Sequence[Reply]) -> None:
        assert asyncio.get_running_loop() is self.over.get_loop()
        for reply in replies:
            if isinstance(reply, Token):
                self.text += reply.text
            else:
                self.outcomes[reply.request_id] = outcome_of(reply)
                self._num_open -= 1
        if not self._num_open and not self.over.done():
            self.over.set_result(None)


def ready(link: ScriptedLink) -> ScriptedLink:
    link.is_ready()
    return link


def test_replies_come_as_the_loop_finds_descriptors_readable() -> None:
    async def body(plane: LoopPlane) -> None:
        link = ready(ScriptedLink(chat_engine()))
        plane.attach(link)
        asked = Awaited(plane, chat("a"))
        assert asked.outcomes == {}
        link.reply(token("a", "Hello"), finished("a"))
        await asked.over
        assert (asked.text, asked.outcomes) == ("Hello", {"a": "finished"})
        assert plane.models() == (CHAT_CARD,)
        assert [engine.num_requests for engine in plane.engines()] == [1]

    on_loop(body)


def test_the_next_deadline_wakes_the_loop() -> None:
    async def body(plane: LoopPlane) -> None:
        plane.attach(ready(ScriptedLink(chat_engine())))
        asked = Awaited(plane, chat("late", timeout_s=60.0), chat("soon", timeout_s=0.01))
        plane.cancel([RequestId("late")])
        await asked.over
        assert asked.outcomes == {"late": RequestCancelled.code, "soon": DeadlineExceeded.code}

    on_loop(body)


def test_other_threads_ask_through_the_door() -> None:
    async def body(plane: LoopPlane) -> None:
        plane.attach(ready(ScriptedLink(chat_engine(), answering=at_once)))
        loop = asyncio.get_running_loop()
        ends: asyncio.Queue[Reply] = asyncio.Queue()

        def take(replies: Sequence[Reply]) -> None:
            for reply in replies:
                ends.put_nowait(reply)

        await loop.run_in_executor(None, plane.door.submit, [chat("a")], take)
        got = [await ends.get() for _ in range(3)]
        assert got[-1] == replace(finished("a"), served=Served("hybrid", "auto", EngineId("c1")))

    on_loop(body)


def test_the_death_of_a_host_is_noticed_by_the_loop() -> None:
    async def body(plane: LoopPlane) -> None:
        link = ready(ScriptedLink(chat_engine()))
        plane.attach(link)
        asked = Awaited(plane, chat("a"))
        link.say(HostLost(lost()))
        await asked.over
        assert asked.outcomes == {"a": EngineLost.code}

    on_loop(body)


def test_closing_answers_what_is_open_and_ends_the_engines() -> None:
    async def body(plane: LoopPlane) -> None:
        link = ready(ScriptedLink(chat_engine()))
        plane.attach(link)
        asked = Awaited(plane, chat("a"))
        await plane.close()
        assert asked.outcomes == {"a": RequestCancelled.code}
        assert link.was_shut_down()
        late, through_the_door = Awaited(plane, chat("b")), Awaited(plane.door, chat("c"))
        assert (late.outcomes, through_the_door.outcomes) == ({"b": NoEngine.code}, {"c": NoEngine.code})

    on_loop(body)


def test_requests_for_a_loop_that_has_ended_are_refused() -> None:
    planes: list[LoopPlane] = []

    async def body() -> None:
        planes.append(LoopPlane(Plane(("chat",)), asyncio.get_running_loop()))

    asyncio.run(body())
    got: list[Reply] = []
    planes[0].door.submit([chat("a")], got.extend)
    assert [outcome_of(reply) for reply in got if not isinstance(reply, Token)] == [NoEngine.code]
