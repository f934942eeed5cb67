"""A whole cluster in a simulated world: head, nodes, clients, the network between them. Decides no fault."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from cluster.head.door import HeadDoor
from cluster.head.members import MemberNode
from cluster.jobs.flow_types import flow_types
from cluster.jobs.orders import ResumePlan
from cluster.node.loading import LoadedFlow
from cluster.runtime.control import DeployRun
from cluster.runtime.travelling_code import FileCode
from sage.base.ids import JobId, NodeId
from sage.base.settings import ChatSettings, RuntimeSettings
from sage.flow.ports import Sink
from tests.simulation.chat_flows import Chat
from tests.simulation.client import SimulatedClient, WantedJob
from tests.simulation.disk import Disk
from tests.simulation.files import SharedFiles
from tests.simulation.flows import RandomFlow
from tests.simulation.gateway import AskedTurn, SimulatedGateway
from tests.simulation.head import SimulatedHead
from tests.simulation.kept_flows import KeptFlow
from tests.simulation.machines import Machines
from tests.simulation.node import SimulatedNode
from tests.simulation.sockets import Fabric
from tests.simulation.user import SimulatedUser
from tests.simulation.vault import Vault, VaultLedger, VaultSink, Writer
from tests.simulation.world import World
from tests.unit.two_phases import LedgerSink

_WALLS_S = (0.0, 0.0, -3600.0, 3600.0)


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How large everything is. `longest_s`: how long a read of a source takes at most; `load_s`: a flow's code."""

    batch_records: int = 3
    inbox_batches: int = 2
    max_waiting: int = 1000
    max_restarts: int = 50
    latency_s: float = 0.001
    longest_s: float = 0.1
    load_s: float = 0.0
    chat: ChatSettings = field(default_factory=ChatSettings)


FlowKind = type[RandomFlow]
"""RandomFlow; KeptFlow for a job that takes checkpoints; ChatFlow for one that is asked as a model."""


class SimulatedCluster:
    """`heads`: all that there were, the present one last; `nodes`: their present lives; `clients`, `gateways`: all.

    `on_left`: told which node a head gives up; `on_admitted`: which has become a member.
    """

    def __init__(
        self,
        world: World,
        settings: ClusterSettings,
        *,
        on_left: Callable[[NodeId], object] = lambda node_id: None,
        on_admitted: Callable[[SimulatedNode], object] = lambda node: None,
        disk: Disk | None = None,
    ) -> None:
        """`disk`: has the journal of jobs; None: one that keeps what it has acknowledged."""
        self.world = world
        self.settings = settings
        self.machines = Machines(world, longest_s=settings.latency_s)
        self.fabric = Fabric(self.machines)
        self.vault = Vault()
        self.disk = disk or Disk(world)
        self.files = SharedFiles(world)
        self.nodes: dict[str, SimulatedNode] = {}
        self.clients: list[SimulatedClient] = []
        self.gateways: list[SimulatedGateway] = []
        self.loaded: list[RandomFlow] = []
        self._seeds: dict[str, tuple[int, FlowKind]] = {}
        self._on_left = on_left
        self._on_admitted = on_admitted
        self.heads = [self._new_head()]

    @property
    def head(self) -> SimulatedHead:
        return self.heads[-1]

    @property
    def door(self) -> HeadDoor | None:
        """The head's door itself, to look at."""
        found = [actor for actor in self.head.process.actors() if isinstance(actor, HeadDoor)]
        return found[0] if found else None

    def taken_up(self) -> list[ResumePlan]:
        """Return the jobs with which heads went on that others had left."""
        return [job for head in self.heads for job in head.taken_up]

    def members(self) -> dict[str, MemberNode]:
        """Return whom the head counts on now, by name."""
        door = self.door
        return {} if door is None else {str(member.node_id): member for member in door._nodes._members}

    # Lives.

    def start_head(self) -> None:
        """Begin the next life of the head, where the one before has ended."""
        if self.head.has_ended:
            self.heads.append(self._new_head())

    def start_node(self, name: str) -> None:
        """Begin a life of a node, where none is."""
        known = self.nodes.get(name)
        if known is not None and not known.has_ended:
            return
        settings = RuntimeSettings(batch_records=self.settings.batch_records, inbox_batches=self.settings.inbox_batches)
        self.nodes[name] = SimulatedNode(
            self.machines,
            self.fabric,
            name,
            self._load,
            settings,
            on_admitted=self._on_admitted,
            wall_s=self.world.rng.choice(_WALLS_S),
            files=self.files,
        )

    def start_client(self, name: str, wanted: list[WantedJob]) -> SimulatedClient:
        client = SimulatedClient(self.machines, self.fabric, name, wanted)
        self.clients.append(client)
        return client

    def start_gateway(self, name: str, chats: Sequence[Chat], turns: Sequence[AskedTurn]) -> SimulatedGateway:
        gateway = SimulatedGateway(self.machines, self.fabric, name, chats, turns)
        self.gateways.append(gateway)
        return gateway

    def users(self) -> list[SimulatedUser]:
        """Return all clients and gateways there were."""
        return [*self.clients, *self.gateways]

    def flow(self, target: str, seed: int, kind: FlowKind = RandomFlow) -> RandomFlow:
        """Return a flow as its user has it; nodes load it by `target`."""
        self._seeds[target] = (seed, kind)
        return self._made(target, None)

    def _new_head(self) -> SimulatedHead:
        return SimulatedHead(
            self.machines,
            self.fabric,
            self.disk.journal(),
            max_restarts=self.settings.max_restarts,
            max_waiting=self.settings.max_waiting,
            on_left=self._on_left,
            wall_s=self.world.rng.choice(_WALLS_S),
            files=self.files,
            chat=self.settings.chat,
        )

    # Code.

    def _load(self, node_id: NodeId, order: DeployRun) -> LoadedFlow:
        assert isinstance(order.code, FileCode)
        _, _, number = order.run_id.partition("~")
        who = Writer(order.job_id, int(number or 1), node_id)
        self._rest(self.world.rng.random() * self.settings.load_s)
        self.vault.deployed(who)
        flow = self._made(order.code.target, who)
        self.loaded.append(flow)
        graph = flow.flow.graph()
        return LoadedFlow(graph, flow_types(graph))

    def _made(self, target: str, who: Writer | None) -> RandomFlow:
        seed, kind = self._seeds[target]
        return kind(
            target,
            Random(seed),
            lambda number: self._sink(number, who, is_kept=issubclass(kind, KeptFlow)),
            longest_s=self.settings.longest_s,
            rest=self._rest,
        )

    def _sink(self, number: int, who: Writer | None, *, is_kept: bool) -> Sink[int]:
        if not is_kept or who is None:
            return VaultSink(self.vault, number, who)
        return LedgerSink(VaultLedger(self.vault, number, who))

    def _rest(self, for_s: float) -> None:
        if for_s > 0.0:
            self.world.wait(lambda: False, for_s, by=object())

    def stored(self, job_id: JobId) -> Callable[[int], list[int]]:
        """Return what is outside of each sink of a job."""
        return lambda number: self.vault.committed(job_id, number)[1]
