"""How the engines of a cluster in this process are started: placed on its one node, as children of this process."""

from dataclasses import replace
from typing import Any, Protocol

from pykka import ActorRef

from cluster.jobs.node_news import LetEngineGo
from cluster.jobs.orders import PlaceEngines
from cluster.local.engines import part_of_engine
from cluster.runtime.actor import ask, tell
from cluster.serving.driver import HeldLink
from cluster.serving.engines.environment import environment_for
from cluster.serving.engines.launch import launch
from cluster.serving.engines.spec import EngineSpec
from sage.base.ids import EngineId

_ANSWER_S = 10.0


class Supply(Protocol):
    """Who starts engines, wherever there is room for them. May be used on any thread."""

    def launch(self, spec: EngineSpec, engine_id: EngineId) -> HeldLink:
        """Start one replica and return at once; raises NoRoom, EngineStartFailed."""
        ...

    def node_of(self, engine_id: EngineId) -> str:
        """Return where an engine was started last; "" where that need not be said."""
        ...


class ChildSupply:
    """A Supply of children of this process, which keep their room on its one node until `launch` is called anew."""

    def __init__(self, manager: ActorRef[Any]) -> None:
        self._manager = manager

    def launch(self, spec: EngineSpec, engine_id: EngineId) -> HeldLink:
        part = replace(part_of_engine(spec, engine_id), engine=())  # whoever asked for it has seen to its files
        (at,) = ask(self._manager, PlaceEngines((part,)), timeout_s=_ANSWER_S)
        environment = environment_for(share.gpu_id for share in at.placed.gpus)
        try:
            link = launch(spec, engine_id, environment=environment)
        except BaseException:
            tell(self._manager, LetEngineGo(part.id))
            raise
        return HeldLink(link, again=lambda: launch(spec, engine_id, environment=environment))

    def node_of(self, engine_id: EngineId) -> str:
        return ""
