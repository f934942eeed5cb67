"""How engines of a cluster are started: placed on a node like tasks, run there, connected to the plane at the head.

Tokens go from the host straight to the plane, over a socket that this one host alone can connect to.
"""

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
from pykka import ActorRef

from cluster.head.engine_host import NodeHost, StartHostOn
from cluster.head.remote_node import RemoteNode
from cluster.head.trust import HeadTrust
from cluster.jobs.node_news import LetEngineGo
from cluster.jobs.orders import PlaceEngines
from cluster.local.aim import Aim
from cluster.local.engines import part_of_engine
from cluster.runtime.actor import ask, tell
from cluster.runtime.channel import Context
from cluster.runtime.control import StartEngineHost
from cluster.serving.driver import HeldLink
from cluster.serving.engines.launch import HostLink
from cluster.serving.engines.link_socket import LinkSocket
from cluster.serving.engines.spec import EngineSpec
from sage.base.errors import InternalError
from sage.base.ids import EngineId, NodeId

_ANSWER_S = 20.0


class NodeSupply:
    """A Supply; `launch` may be called on any thread."""

    def __init__(
        self,
        manager: ActorRef[Any],
        trust: HeadTrust,
        context: Context,
        tell_door: Callable[[object], object],
        on_gone: Callable[[EngineId], object],
    ) -> None:
        """`on_gone` is told, on any thread, when nothing of an engine is left and what it took of its node is free."""
        self._on_gone = on_gone
        self._manager = manager
        self._trust = trust
        self._context = context
        self._tell_door = tell_door
        self._numbers = itertools.count(1)
        self._nodes: dict[EngineId, NodeId] = {}

    def launch(self, spec: EngineSpec, engine_id: EngineId) -> HeldLink:
        """Place one replica and have its node start it. It is placed anew where it is lost; raises NoRoom."""
        return HeldLink(self._link(spec, engine_id), again=lambda: self._link(spec, engine_id))

    def node_of(self, engine_id: EngineId) -> str:
        """Return the node on which an engine was placed last."""
        return self._nodes.get(engine_id, "")

    def engines_on(self, node_id: NodeId) -> list[EngineId]:
        return [engine_id for engine_id, on in list(self._nodes.items()) if on == node_id]

    def _link(self, spec: EngineSpec, engine_id: EngineId) -> HostLink:
        part = part_of_engine(spec, engine_id)
        aim = Aim()
        (at,) = ask(self._manager, PlaceEngines((part,), aim.has_broken), timeout_s=_ANSWER_S)
        node, start = at.node, next(self._numbers)
        if not isinstance(node, RemoteNode):
            raise InternalError(f"node {at.placed.node_id} of a cluster is not in another process")

        def let_go() -> None:
            tell(self._manager, LetEngineGo(part.id))
            self._on_gone(engine_id)

        links: list[str] = []
        try:
            socket = LinkSocket(
                lambda socket: links.append(self._trust.listen_for_engine(socket, start, node.key)), self._context
            )
        except BaseException:
            let_go()
            raise
        host = NodeHost(start, node.node_id, self._tell_door)
        gpus = tuple(share.gpu_id for share in at.placed.gpus)
        order = StartEngineHost(start, engine_id, msgspec.json.encode(spec).decode(), links[0], gpus)
        self._nodes[engine_id] = node.node_id
        self._tell_door(StartHostOn(host, node.epoch, order))
        link = HostLink(engine_id, spec.models, socket, host, let_go)
        aim.at(link)
        return link
