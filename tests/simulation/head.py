"""A head in a simulated process: the same actors as in a real one, put together in the same way. Decides no fault."""

from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, cast

from pykka import ActorRef

from cluster.checkpoints.clerk import CheckpointClerk
from cluster.head.book import JobBook
from cluster.head.config import HeadConfig
from cluster.head.door import HeadDoor
from cluster.head.door_ports import DoorPorts, FromPeer
from cluster.head.history import PastJob, take_up
from cluster.head.submitter import Resumption, Submitter, SubmitterPorts
from cluster.head.trust import HeadTrust
from cluster.jobs.checkpoint_start import Storage
from cluster.jobs.health import Beat
from cluster.jobs.journal import Journal
from cluster.jobs.manager import JobManager
from cluster.jobs.node_news import NodeLeft
from cluster.jobs.orders import ManagerMessage, ResumePlan
from cluster.jobs.parts import Part
from cluster.local.plane import ClusterPlane
from cluster.runtime.actor import tell
from cluster.runtime.channel import ControlServer
from cluster.runtime.states import PlaneState
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.manager import AttachEngine, ControlPlane, PlaneClient
from cluster.serving.plane import Plane
from sage.base.codec import Codec
from sage.base.errors import JournalUnusable
from sage.base.ids import EngineId, NodeId, RequestId
from sage.base.inference import ModelCard, ReplyTo, Request
from sage.base.settings import ChatSettings, JobsSettings, RuntimeSettings, Settings
from sage.flow.runner import EngineStatus
from tests.simulation.clock import ProcessClock
from tests.simulation.engine import SimulatedLink
from tests.simulation.files import SharedFiles
from tests.simulation.flows import CHAT, EMBED
from tests.simulation.ledger import RequestLedger
from tests.simulation.machines import Machines
from tests.simulation.sockets import Fabric

HEAD = "head"
ADDRESS = "tcp://head:1"


class WatchedManager(JobManager):
    """Tells when a node is given up, keeps what was taken up, and sees that nothing is over-committed."""

    def __init__(
        self,
        *args: Any,
        on_left: Callable[[NodeLeft], object],
        taken_up: list[ResumePlan],
        wrong: list[str],
        **named: Any,
    ) -> None:
        super().__init__(*args, **named)
        self._on_left = on_left
        self._taken_up = taken_up
        self._wrong = wrong

    def receive(self, message: ManagerMessage) -> object:
        if isinstance(message, NodeLeft):
            self._on_left(message)
        if isinstance(message, ResumePlan):
            self._taken_up.append(message)
        answer = super().receive(message)
        for room in self._nodes.rooms(self._taken()):
            if room.free.cpus < -1e-6:
                self._wrong.append(f"{room.node_id} is over-committed: {room.free}")
        return answer


class SimulatedPlane:
    """The plane of a head, its engines simulated: what Submitter and door see of a ClusterPlane."""

    def __init__(self, ledger: RequestLedger, client: PlaneClient) -> None:
        self._ledger = ledger
        self._client = client

    def serve(self, specs: Iterable[object], *, may_wait: bool = False) -> None:
        assert not list(specs), "the engines are there already"

    def add(self, spec: object) -> None:
        raise AssertionError("nobody starts engines here")

    def end(self, name: str, *, at_once: bool) -> None:
        raise AssertionError("nobody ends engines here")

    def scale(self, name: str, num_replicas: int) -> None:
        raise AssertionError("nobody scales engines here")

    def specs(self) -> tuple[EngineSpec, ...]:
        return ()

    def parts_of(self, specs: Iterable[object]) -> tuple[Part, ...]:
        return ()

    def made_room(self, engine_id: object = None) -> None:
        """Nothing waits for room."""

    def leave_node(self, node_id: NodeId) -> None:
        """Its engines are on no node."""

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self._ledger.submit(requests, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._ledger.cancel(request_ids)

    def knows(self, model: str) -> bool:
        return model in (CHAT, EMBED)

    def models(self) -> tuple[ModelCard, ...]:
        return self._ledger.models()

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> None:
        self._client.set_policy(policy, route=route)

    def state(self) -> PlaneState:
        return self._client.state()

    def engines(self) -> tuple[EngineStatus, ...]:
        return self._client.engines()


class SimulatedHead:
    """One life of a head; `wrong` is what must not be, `taken_up` what it went on with of the life before."""

    def __init__(
        self,
        machines: Machines,
        fabric: Fabric,
        journal: Journal,
        *,
        max_restarts: int,
        max_waiting: int,
        on_left: Callable[[NodeId], object],
        wall_s: float,
        files: SharedFiles,
        chat: ChatSettings,
    ) -> None:
        world = self.world = machines.world
        self.process = world.process(HEAD)
        self.clock = ProcessClock(world.clock, wall_s)
        self.context = fabric.context(HEAD)
        self.wrong: list[str] = []
        self.taken_up: list[ResumePlan] = []
        self.links: list[SimulatedLink] = []
        self.began_s = world.clock.monotonic_s()
        self.has_ended = False
        machines.add(self.process)
        self.machine = Plane((CHAT, EMBED), max_waiting=max_waiting)
        self.plane_ref: ActorRef[Any] = ControlPlane.start(self.machine, clock=self.clock, scheduler=self.process)
        self._journal = journal
        self._storage = Storage(files.disk, lambda folder: files.lock(folder, self.process))
        self._on_left = on_left
        self._max_restarts = max_restarts
        self._chat = chat
        self._beat = Beat()
        self.process.begin("head main", self._run)

    def _run(self) -> None:
        try:
            self._start()
        except JournalUnusable:  # it ends, as a real one does
            self.has_ended = True
            self.world.later(0.0, self.die)

    def _start(self) -> None:
        """As `cluster.head.process.Head.start`."""
        client = PlaneClient(self.plane_ref)
        self.requests = RequestLedger(client, self.clock, lambda: self.world.acting)
        plane = cast(ClusterPlane, SimulatedPlane(self.requests, client))
        settings = Settings(
            jobs=JobsSettings(max_restarts=self._max_restarts, wait_for_room_s=600.0), runtime=RuntimeSettings()
        )
        config = HeadConfig(name="simulated", folder="/nowhere", num_nodes=0, settings=settings)
        context = cast(Any, self.context)
        trust = HeadTrust(config, context, self.clock)
        codec: Codec[FromPeer] = Codec(FromPeer)  # type: ignore[arg-type]  # a union is no class to mypy
        server = ControlServer(context, codec, [lambda socket: socket.bind(ADDRESS)])
        past = take_up(self._journal, self.clock.unix_s())
        self.manager = self._start_manager(settings)
        submitter = Submitter.start(
            SubmitterPorts(
                manager=self.manager,
                clerk=CheckpointClerk.start(self._storage.open_folder, clock=self.clock, scheduler=self.process),
                storage=self._storage,
                plane=plane,
                specs_for=lambda plan: (),
                verifier=trust.verifier(),
                tell_door=self._tell_door,
                settings=settings,
                clock=self.clock,
                scheduler=self.process,
            )
        )
        self.door = HeadDoor.start(self._door_ports(plane, trust, server, submitter, _book_of(past, self.clock)))
        for job in past:
            if not job.record.is_over:
                tell(submitter, Resumption(job, self._beat.lost_after_s))

    def _start_manager(self, settings: Settings) -> ActorRef[Any]:
        return WatchedManager.start(
            self.clock,
            Random(self.world.rng.getrandbits(64)),
            journal=self._journal,
            patience_s=settings.jobs.wait_for_room_s,
            scheduler=self.process,
            on_left=lambda left: self._on_left(left.node_id),
            taken_up=self.taken_up,
            wrong=self.wrong,
        )

    def _tell_door(self, message: object) -> None:
        tell(self.door, message)

    def attach(self, model: str) -> SimulatedLink:
        """Start an engine for `model`."""
        rng = self.world.rng
        engine_id = EngineId(f"{model}-{len(self.links)}")
        latency_s = rng.choice((0.0, 0.001, 0.02))
        link = SimulatedLink(self.world, engine_id, model, max_running=rng.choice((1, 2, 8)), latency_s=latency_s)
        self.links.append(link)
        link.start(rng.random() * 3.0, well=True)
        self.plane_ref.ask(AttachEngine(link, None), block=False)
        return link

    def die(self, *, silently: bool = False) -> None:
        """End without a last word, and the engines with it."""
        self.has_ended = True
        self.process.die()
        self.context.vanish(silently=silently)
        for link in self.links:
            link.close(0.0)

    def _door_ports(
        self,
        plane: ClusterPlane,
        trust: HeadTrust,
        server: ControlServer[FromPeer],
        submitter: ActorRef[Any],
        book: JobBook,
    ) -> DoorPorts:
        return DoorPorts(
            cluster="simulated",
            pid=1,
            book=book,
            server=server,
            trust=trust,
            manager=self.manager,
            submitter=submitter,
            plane=plane,
            on_members=lambda num: None,
            on_stop_asked=lambda: self.wrong.append("the head ends by itself"),
            on_stopped=lambda: None,
            beat=self._beat,
            first_epoch=self._journal.reserve_epochs(int(self.clock.unix_s() * 1000)),
            returns_within_s=30.0,
            stop_timeout_s=2.0,
            chat=self._chat,
            clock=self.clock,
            scheduler=self.process,
        )


def _book_of(past: tuple[PastJob, ...], clock: ProcessClock) -> JobBook:
    book = JobBook()
    for job in past:
        book.add_past(job, clock.monotonic_s() + 30.0 + 30.0)
    return book
