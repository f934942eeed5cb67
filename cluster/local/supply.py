"""How the engines of a cluster in this process are started: placed on its one node, as children of this process."""

from dataclasses import replace
from typing import Any, Protocol

from pykka import ActorRef

from cluster.jobs.node_news import LetEngineGo
from cluster.jobs.orders import PlaceEngines
from cluster.local.aim import Aim
from cluster.local.engines import part_of_engine
from cluster.runtime.actor import ask, tell
from cluster.serving.driver import HeldLink
from cluster.serving.engines.environment import environment_for
from cluster.serving.engines.launch import HostLink, launch
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
    """A Supply of children of this process, placed on its one node each time they are started."""

    def __init__(self, manager: ActorRef[Any]) -> None:
        self._manager = manager

    def launch(self, spec: EngineSpec, engine_id: EngineId) -> HeldLink:
        """Start one replica; where it is lost it is placed and started anew. Raises NoRoom, EngineStartFailed."""
        return HeldLink(self._link(spec, engine_id), again=lambda: self._link(spec, engine_id))

    def _link(self, spec: EngineSpec, engine_id: EngineId) -> HostLink:
        part = replace(part_of_engine(spec, engine_id), engine=())  # whoever asked for it has seen to its files
        aim = Aim()
        (at,) = ask(self._manager, PlaceEngines((part,), aim.has_broken), timeout_s=_ANSWER_S)
        environment = environment_for(share.gpu_id for share in at.placed.gpus)
        try:
            link = launch(spec, engine_id, environment=environment)
        except BaseException:
            tell(self._manager, LetEngineGo(part.id))
            raise
        aim.at(link)
        return link

    def node_of(self, engine_id: EngineId) -> str:
        return ""
