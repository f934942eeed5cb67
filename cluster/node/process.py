"""The process of one node: puts member, node, transport and machine together, and ends them. Decides nothing."""

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import zmq
from pykka import ActorRef

from cluster.checkpoints.giving_way import give_way
from cluster.checkpoints.keepers import Keepers
from cluster.jobs.devices import Wish
from cluster.jobs.letters import LetterKeeper, letters_here
from cluster.jobs.machine_watch import LOOK_EVERY_S, MachineWatch
from cluster.jobs.nvml import Nvml, find_nvml
from cluster.local.hosting import HostingMachine
from cluster.node.config import NodeConfig, offered_folders
from cluster.node.doors import NodeDoors
from cluster.node.host_start import start_host
from cluster.node.loading import CodeLoader
from cluster.node.member import Member
from cluster.node.member_ports import EndMember, MemberPorts, OfferIs
from cluster.node.printed import Printed, PrintedStream
from cluster.node.records_way import RecordsWay
from cluster.node.share import share_of_offer
from cluster.runtime.actor import stop, tell
from cluster.runtime.channel import ControlClient
from cluster.runtime.control import HeadToNode, Join, PeerAddress
from cluster.runtime.control_printed import PrintedTo
from cluster.runtime.keys import ClusterKeys
from cluster.runtime.messages import NodeFact
from cluster.runtime.node import Node, NodePorts
from cluster.runtime.workshop import OperatorWorkshop
from cluster.serving.environment_store import open_environments
from cluster.serving.model_store import open_store
from cluster.web.posts_here import listen
from operators.index import IndexStore
from operators.turns import ChatTurns
from sage.base.clock import SystemClock
from sage.base.codec import Codec
from sage.base.demand import labels_from_text
from sage.base.errors import SageError
from sage.base.ids import JobId, NodeId, new_id
from sage.base.inference import Inference
from sage.base.log import get_log
from sage.base.offer import NodeOffer

LOOK_AT_FILES_S = 5.0
"""How soon a node without GPUs notices that models were pulled."""

_END_S = 3.0


class NodeProcess:
    """Everything of a node, from `run` to its end. One in a process."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        on_admitted: Callable[[], object] = lambda: None,
        find_gpus: Callable[[], Nvml | None] = find_nvml,
    ) -> None:
        """Look at the machine and listen for records; raises ConfigInvalid and KeysUnsafe.

        `on_admitted` is called on another thread with every admission by the head, and must not wait.
        """
        self._on_admitted = on_admitted
        self._config = config
        self._clock = SystemClock()
        self._node_id = NodeId(config.name)
        self._printed = Printed()
        self._keepers = Keepers(self._clock, keep_calls=True, between=give_way)
        self._has_ended = threading.Event()
        self.error: SageError | None = None  # by which it ended, if by one
        self._member: ActorRef[Any] | None = None
        settings = config.settings
        self._machine = HostingMachine(
            _wish(config), find_gpus(), open_store(settings.models), open_environments(settings.environments)
        )
        self._offer = self._machine.look()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        keys = ClusterKeys(Path(config.keys_folder)).curve(config.key or config.name) if config.keys_folder else None
        self._doors = NodeDoors(config.head, config.head_key, keys, self._clock)
        self._way = RecordsWay(
            self._node_id, config.data_address, self._doors.data, on_peer_lost=self._tell, clock=self._clock
        )

    def run(self) -> int:
        """Be a node until told to end; return the exit status."""
        sys.stdout = PrintedStream(sys.stdout, PrintedTo.STDOUT, self._printed)
        sys.stderr = PrintedStream(sys.stderr, PrintedTo.STDERR, self._printed)
        self._member = Member.start(self._ports())
        actors: list[ActorRef[Any]] = [self._member]
        every_s = LOOK_EVERY_S if self._machine.has_driver else LOOK_AT_FILES_S
        actors.append(MachineWatch.start(self._machine, self._offer, self._offers, self._clock, every_s=every_s))
        self._has_ended.wait()
        for name in [*stop(actors, timeout_s=_END_S), *stop(self._keepers.actors(), timeout_s=_END_S)]:
            get_log().warning("still running", what=name)
        self._way.close()
        self._context.term()
        if self.error is not None:
            print(self.error, file=sys.stderr, flush=True)
        return 0 if self.error is None else 1

    def end(self) -> None:
        """Leave the cluster, from any thread; `run` returns."""
        self._tell(EndMember())

    def _tell(self, message: object) -> None:
        if self._member is not None:
            tell(self._member, message)

    def _ended(self, error: SageError | None) -> None:
        self.error = error
        self._has_ended.set()

    def _offers(self, offer: NodeOffer) -> None:
        self._tell(OfferIs(share_of_offer(offer, *self._config.share)))

    def _ports(self) -> MemberPorts:
        return MemberPorts(
            node_id=self._node_id,
            join=Join(
                name=self._config.name,
                instance=new_id("node", Random()),
                pid=os.getpid(),
                host=os.uname().nodename,
                offer=share_of_offer(self._offer, *self._config.share),
                data=PeerAddress(self._way.address, self._doors.public_key),
                attempt=0,
            ),
            connect=self._connect,
            start_node=self._start_node,
            way=self._way,
            admit=self._doors.admit,
            load=CodeLoader(self._node_id, offered_folders(self._config, Path.cwd())),
            on_admitted=self._on_admitted,
            on_end=self._ended,
            clock=self._clock,
            start_host=lambda order: start_host(order, self._config),
            printed=self._printed,
        )

    def _connect(self) -> ControlClient[HeadToNode]:
        codec: Codec[HeadToNode] = Codec(HeadToNode)  # type: ignore[arg-type]  # a union is no class to mypy
        return ControlClient(self._context, codec, self._doors.to_head)

    def _start_node(
        self, report: Callable[[NodeFact], object], inference: Inference, turns: Callable[[JobId], ChatTurns]
    ) -> ActorRef[Node]:
        runtime = self._config.settings.runtime
        ports = NodePorts(
            transport=self._way.transport,
            inference=inference,
            workshop=OperatorWorkshop(IndexStore(), batch_records=runtime.batch_records, turns=turns, listen=listen),
            report=report,
            settings=runtime,
            clock=self._clock,
            keepers=self._keepers,
            keep_letter=LetterKeeper(letters_here(self._config.settings), self._clock),
        )
        return Node.start(self._node_id, ports)


def _wish(config: NodeConfig) -> Wish:
    return Wish(config.cpus, config.num_gpus, labels_from_text(config.settings.node.labels))
