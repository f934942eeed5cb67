"""A node in a simulated process: the same actors as in a real one, put together in the same way. Decides no fault."""

from collections.abc import Callable
from random import Random
from typing import Any, cast

from pykka import ActorRef

from cluster.checkpoints.keepers import Keepers
from cluster.node.loading import LoadedFlow
from cluster.node.member import Member
from cluster.node.member_ports import EndMember, MemberPorts
from cluster.node.records_way import RecordsWay
from cluster.runtime.actor import stop, tell
from cluster.runtime.channel import ControlClient
from cluster.runtime.control import DeployRun, HeadToNode, Join, PeerAddress
from cluster.runtime.data_sockets import Context, DataSockets, Keeper
from cluster.runtime.messages import NodeFact
from cluster.runtime.node import Node, NodePorts
from cluster.runtime.workshop import OperatorWorkshop
from operators.index import IndexStore
from operators.turns import ChatTurns
from sage.base.codec import Codec
from sage.base.errors import SageError
from sage.base.ids import JobId, NodeId, new_id
from sage.base.inference import Inference
from sage.base.offer import NodeOffer
from sage.base.settings import RuntimeSettings
from tests.simulation.clock import ProcessClock
from tests.simulation.files import SharedFiles
from tests.simulation.head import ADDRESS
from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric

Load = Callable[[NodeId, DeployRun], LoadedFlow]
_END_S = 3.0


class OpenSockets(DataSockets):
    """Sockets of simulated machines, between which there are no strangers."""

    def keeper(self, context: Context) -> Keeper | None:
        return None

    def listen(self, socket: Any, address: str) -> str:
        socket.bind(address)
        return str(socket.getsockopt_string(0x20))

    def connect(self, socket: Any, address: str, public_key: str | None) -> None:
        socket.connect(address)

    def key_of(self, frame: Any) -> str | None:
        return None


class SimulatedNode:
    """One life of a node's process."""

    def __init__(
        self,
        machines: Machines,
        fabric: Fabric,
        name: str,
        load: Load,
        settings: RuntimeSettings,
        *,
        on_admitted: Callable[["SimulatedNode"], object],
        wall_s: float,
        files: SharedFiles,
    ) -> None:
        world = self.world = machines.world
        self.node_id = NodeId(name)
        self.process = world.process(name)
        self.clock = ProcessClock(world.clock, wall_s)
        self.error: SageError | None = None
        self.has_ended = False
        self.member: ActorRef[Any] | None = None
        self.node: ActorRef[Any] | None = None
        self._contexts = [fabric.context(name), fabric.context(name)]
        self._load = load
        self._settings = settings
        self._on_admitted = on_admitted
        self._rng = Random(world.rng.getrandbits(64))
        self._is_ending = False
        self.keepers = Keepers(self.clock, open_disk=files.disk, rng=self._rng, scheduler=self.process)
        machines.add(self.process)
        self.process.begin(f"{name} main", self._run)

    def end(self) -> None:
        """Leave the cluster, in good order."""
        if self.member is not None:
            tell(self.member, EndMember())

    def die(self, *, silently: bool = False) -> None:
        """End without a last word."""
        self.has_ended = True
        self.process.die()
        for context in self._contexts:
            context.vanish(silently=silently)

    @property
    def actor(self) -> Member | None:
        """The member itself, to look at."""
        found = [actor for actor in self.process.actors() if isinstance(actor, Member)]
        return found[0] if found else None

    def _run(self) -> None:
        """As `cluster.node.process.NodeProcess.run`."""
        self.way = RecordsWay(
            self.node_id,
            f"tcp://{self.node_id}:*",
            OpenSockets(),
            on_peer_lost=self._tell,
            clock=self.clock,
            scheduler=self.process,
            context=cast(Context, self._contexts[1]),
        )
        self.member = Member.start(self._ports())
        self.world.wait(lambda: self._is_ending)
        for actors in ([self.member], self.keepers.actors()):
            stop(actors, timeout_s=_END_S, clock=self.clock, scheduler=self.process)
        self.way.close()
        self.has_ended = True
        self.world.later(0.0, self.die)

    def _tell(self, message: object) -> None:
        if self.member is not None:
            tell(self.member, message)

    def _ended(self, error: SageError | None) -> None:
        self.error = error
        self._is_ending = True

    def _ports(self) -> MemberPorts:
        return MemberPorts(
            node_id=self.node_id,
            join=Join(
                name=self.node_id,
                instance=new_id("node", self._rng),
                pid=1,
                host=self.node_id,
                offer=NodeOffer(cpus=64.0),
                data=PeerAddress(self.way.address),
                attempt=0,
            ),
            connect=self._connect,
            start_node=self._start_node,
            way=self.way,
            admit=lambda keys: None,
            load=lambda order: self._load(self.node_id, order),
            on_admitted=lambda: self._on_admitted(self),
            on_end=self._ended,
            clock=self.clock,
            scheduler=self.process,
        )

    def _connect(self) -> ControlClient[HeadToNode]:
        codec: Codec[HeadToNode] = Codec(HeadToNode)  # type: ignore[arg-type]  # a union is no class to mypy
        return ControlClient(cast(Any, self._contexts[0]), codec, lambda socket: socket.connect(ADDRESS))

    def _start_node(
        self, report: Callable[[NodeFact], object], inference: Inference, turns: Callable[[JobId], ChatTurns]
    ) -> ActorRef[Node]:
        workshop = OperatorWorkshop(
            IndexStore(), batch_records=self._settings.batch_records, rng=self._rng, turns=turns
        )
        ports = NodePorts(
            transport=self.way.transport,
            inference=inference,
            workshop=workshop,
            report=report,
            settings=self._settings,
            clock=self.clock,
            scheduler=self.process,
            keepers=self.keepers,
        )
        self.node = Node.start(self.node_id, ports)
        return self.node
