"""A gateway that is told to stop while its engines still load."""

import asyncio
import gc
from typing import Any

import pytest
import uvloop

from cluster.serving.driver import HeldLink
from cluster.serving.engines.spec import spec_from_text
from gateway.launching import launch_engines
from gateway.server import listen
from gateway.serving import serve_on_loop
from sage.base.errors import ConfigInvalid
from sage.base.settings import Settings
from tests.unit.serving.arrange import chat_engine, embed_engine
from tests.unit.serving.links import ScriptedLink


def test_a_stop_before_the_engines_are_ready_ends_them_and_says_nothing() -> None:
    links = [ScriptedLink(chat_engine()), ScriptedLink(embed_engine())]
    complaints: list[dict[str, Any]] = []
    said: list[str] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        stop = asyncio.Event()
        asyncio.get_running_loop().call_soon(stop.set)
        engines = [HeldLink(link) for link in links]
        await serve_on_loop(engines, Settings(), listen("127.0.0.1", 0), stop, announce=said.append)
        gc.collect()  # what failed and was never looked at is told now

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    assert complaints == []
    assert said == []
    assert [link.was_shut_down() for link in links] == [True, True]


def test_an_engine_that_is_to_have_something_of_its_own_is_refused_where_nothing_is_kept_for_it() -> None:
    with pytest.raises(ConfigInvalid, match="a gateway keeps nothing for engines"):
        launch_engines([spec_from_text("simulated:cpu2,model=sim,cpus=2")], Settings())
