"""Engines that a plane starts, ends and scales by name, where a scripted supply has room for so many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from cluster.local.plane import EmbeddedPlane
from cluster.serving.driver import HeldLink
from cluster.serving.engines.spec import EngineSpec, spec_from_text
from sage.base.errors import InvalidRequest, NameTaken, NoEngine, NoRoom, SageError, UnknownModel
from sage.base.ids import EngineId
from sage.base.inference import Failed, Reply
from sage.base.settings import PlaneSettings
from tests.cluster.waiting import eventually
from tests.unit.serving.arrange import chat, chat_engine, finished
from tests.unit.serving.links import ScriptedLink, token

GONE_S = 20.0


class ScriptedSupply:
    """Has room for `num_free` engines more; each is ready at once, and gives its room back as it is closed."""

    def __init__(self, num_free: int) -> None:
        self.num_free = num_free
        self.links: list[ScriptedLink] = []
        self.on_gone: Callable[[EngineId], object] = lambda engine_id: None

    def launch(self, spec: EngineSpec, engine_id: EngineId) -> HeldLink:
        if not self.num_free:
            raise NoRoom("all are taken")
        self.num_free -= 1
        link = ScriptedLink(chat_engine(engine_id))
        link.is_ready()
        self.links.append(link)
        return HeldLink(link)

    def node_of(self, engine_id: EngineId) -> str:
        return "n"


@contextmanager
def plane_with_room(num_engines: int) -> Iterator[tuple[EmbeddedPlane, ScriptedSupply]]:
    supply = ScriptedSupply(num_engines)
    plane = EmbeddedPlane(PlaneSettings(), (), lambda: supply)
    try:
        yield plane, supply
    finally:
        assert plane.close(2.0) == []
        for link in supply.links:
            link.close(0.0)


def spec_named(name: str, more: str = "") -> EngineSpec:
    return spec_from_text(f"simulated:cpu2,model=chat,name={name}{more}")


def states(plane: EmbeddedPlane) -> list[tuple[str, str]]:
    return [(engine.engine_id, engine.state) for engine in plane.engines()]


def ended(plane: EmbeddedPlane, supply: ScriptedSupply, engine_id: str) -> None:
    """Wait until an engine has left, and say so to the plane, as those do who place engines."""
    [link] = [link for link in supply.links if link.engine_id == engine_id]
    eventually(lambda: link.closed_within_s is not None, GONE_S)
    supply.num_free += 1
    plane.made_room(EngineId(engine_id))


def test_what_waits_for_room_starts_when_a_job_has_made_some() -> None:
    with plane_with_room(0) as (plane, supply):
        plane.add(spec_named("e"))
        assert states(plane) == [("e", "waiting")]
        plane.made_room()
        assert states(plane) == [("e", "waiting")]
        supply.num_free = 1
        plane.made_room()
        assert states(plane) == [("e", "ready")]


@pytest.mark.parametrize("name", ["e", "e-1", "e-2"])
def test_no_engine_is_called_as_another_or_one_of_its_replicas(name: str) -> None:
    with plane_with_room(3) as (plane, _):
        plane.add(spec_named("e", ",replicas=2"))
        with pytest.raises(NameTaken, match=f"'{name}' already"):
            plane.add(spec_named(name))
        assert states(plane) == [("e-1", "ready"), ("e-2", "ready")]


def test_replicas_are_not_called_as_another_engine() -> None:
    with plane_with_room(3) as (plane, _):
        plane.add(spec_named("e-1"))
        with pytest.raises(NameTaken, match="'e-1' already"):
            plane.add(spec_named("e", ",replicas=2"))
        plane.add(spec_named("e"))
        plane.scale("e", 2)
        assert states(plane) == [("e-1", "ready"), ("e", "ready"), ("e-2", "ready")]


def test_a_replica_cannot_be_scaled() -> None:
    with plane_with_room(2) as (plane, _):
        plane.add(spec_named("e", ",replicas=2"))
        with pytest.raises(InvalidRequest, match=r"replica of the engine 'e'"):
            plane.scale("e-1", 3)
        assert states(plane) == [("e-1", "ready"), ("e-2", "ready")]


def test_an_engine_that_still_works_off_what_it_has_is_started_anew_once_it_has_left() -> None:
    with plane_with_room(2) as (plane, supply):
        plane.add(spec_named("e"))
        plane.submit([chat("r")], lambda replies: None)
        [before] = supply.links
        eventually(lambda: before.ran() == ["r"], GONE_S)
        plane.end("e", at_once=False)
        eventually(lambda: states(plane) == [("e", "draining")], GONE_S)
        plane.add(spec_named("e"))
        assert states(plane) == [("e", "draining"), ("e", "waiting")]
        before.reply(token("r"), finished("r", "e"))
        ended(plane, supply, "e")
        assert states(plane) == [("e", "ready")]


@pytest.mark.parametrize(("model", "why"), [("chat", NoEngine), ("chta", UnknownModel), ("minilm", NoEngine)])
def test_before_any_engine_has_started_a_model_is_absent_or_unknown(model: str, why: type[SageError]) -> None:
    plane = EmbeddedPlane(PlaneSettings(), (spec_named("a"),), lambda: ScriptedSupply(0))
    told: list[Reply] = []
    plane.submit([msgspec.structs.replace(chat("r"), model=model)], told.extend)
    [failed] = told
    assert isinstance(failed, Failed)
    assert failed.failure.code == why.code
    assert model in failed.failure.what
