"""The process of a head: puts door, job manager, plane and local nodes together, and ends them. Decides nothing."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import zmq
from pykka import ActorRef

from cluster.checkpoints.clerk import CheckpointClerk
from cluster.head.book import JobBook
from cluster.head.config import HeadConfig, HeadReady
from cluster.head.door import HeadDoor
from cluster.head.door_ports import DoorPorts, FromPeer, NodeProcessEnded, StopAll
from cluster.head.engine_supply import NodeSupply
from cluster.head.history import PastJob, take_up
from cluster.head.local_nodes import EndLocalNodes, KillNode, LeaveNode, LocalNodes, node_name
from cluster.head.predecessors import PRESENCE, follow
from cluster.head.submitter import Resumption, RoomMade, ServeWanted, Submitter, SubmitterPorts
from cluster.head.trust import HeadTrust
from cluster.jobs.checkpoint_start import HERE
from cluster.jobs.health import Beat
from cluster.jobs.journal import Journal, MemoryJournal
from cluster.jobs.manager import JobManager
from cluster.jobs.placement import Strategy
from cluster.jobs.sqlite_journal import JOURNAL, SqliteJournal
from cluster.local.needs import Need
from cluster.local.plane import ClusterPlane, EmbeddedPlane
from cluster.node.config import NodeConfig
from cluster.runtime.actor import stop, tell
from cluster.runtime.channel import ControlServer
from cluster.runtime.forked_process import WaitingChild
from cluster.runtime.place import Beacon, ClusterPlace
from cluster.runtime.private_files import make_private_directory
from cluster.serving.engines.spec import EngineSpec, spec_from_settings
from sage.base.clock import SystemClock
from sage.base.codec import Codec
from sage.base.errors import ClusterRunning, ClusterStartFailed
from sage.base.ids import EngineId, NodeId
from sage.base.log import get_log

START_S = 30.0
_END_S = 3.0


class Head:
    """Everything of a head, from `start` to `close`. One in a process."""

    def __init__(
        self, config: HeadConfig, plane: ClusterPlane | None = None, *, nodes: Sequence[WaitingChild] = ()
    ) -> None:
        """Take the cluster's folder; raises ClusterRunning where another head has it, KeysUnsafe, ConfigInvalid.

        `plane`: one that others drive; by default one of its own. `nodes`: processes that wait to be its nodes.
        """
        self._config = config
        self._waiting = nodes
        self._clock = SystemClock()
        self._place = ClusterPlace(config.name, Path(config.folder))
        self._place.make()
        lock = self._place.take()
        if lock is None:
            raise ClusterRunning(
                f"a cluster named {config.name!r} runs here already", "Stop it, or give this one another name: --name."
            )
        self._lock = lock
        self._stop_asked = threading.Event()
        self._stopped = threading.Event()
        self._joined = threading.Event()
        self._start_fault: str | None = None
        self._actors: list[ActorRef[Any]] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
        try:
            self._trust = HeadTrust(config, self._context, self._clock)
        except BaseException:
            self._context.term()
            self._let_go()
            raise
        configured = tuple(spec_from_settings(table) for table in config.settings.engines)
        self._engines = (*config.engines, *configured)
        self._plane: ClusterPlane = plane or EmbeddedPlane(
            config.settings.plane, self._engines, self._supply, config.settings.tenants
        )
        self._journal = _journal_in(config.state_folder)
        self._beat = Beat()
        self._is_closed = False

    def start(self) -> HeadReady:
        """Start everything, and wait until the local nodes have joined; raises ClusterStartFailed where they do not."""
        config = self._config
        quiet_from_s = self._follow()
        codec: Codec[FromPeer] = Codec(FromPeer)  # type: ignore[arg-type]  # a union is no class to mypy
        server = ControlServer(self._context, codec, self._trust.listeners(self._place.control))
        past = take_up(self._journal, self._clock.unix_s())
        jobs = config.settings.jobs
        manager = self._manager = JobManager.start(
            self._clock,
            Random(),
            Strategy(jobs.placement),
            journal=self._journal,
            patience_s=jobs.wait_for_room_s,
        )
        clerk = CheckpointClerk.start(HERE.open_folder, clock=self._clock)
        submitter = self._submitter = Submitter.start(
            SubmitterPorts(
                manager=manager,
                clerk=clerk,
                plane=self._plane,
                specs_for=self._specs_for,
                verifier=self._trust.verifier(),
                tell_door=self._tell_door,
                settings=config.settings,
                clock=self._clock,
            )
        )
        self._door = HeadDoor.start(self._door_ports(self._book_of(past), server, manager, submitter))
        self._nodes = LocalNodes.start(
            config.num_nodes, self._node_config, self._place.folder, self._node_ended, self._clock, self._waiting
        )
        self._actors = [self._nodes, submitter, manager, clerk, self._door]
        if config.num_nodes:
            self._wait_joined()
        if config.num_nodes and config.engines:
            self._serve(config.engines)
        self._resume(past, quiet_from_s)
        self._say_ready()
        return HeadReady(self._place.control, self._trust.address, os.getpid())

    def _follow(self) -> float:
        """Return from when on, by our clock, nothing of the heads before this one runs."""
        lost_after_s, folder = self._beat.lost_after_s, self._config.state_folder
        if not folder:
            return self._clock.monotonic_s()  # whose journal is in memory has none before it
        takes_others = self._config.listen is not None
        return follow(Path(folder), takes_others=takes_others, lost_after_s=lost_after_s, clock=self._clock).over_s

    def _resume(self, past: tuple[PastJob, ...], quiet_from_s: float) -> None:
        after_s = max(0.0, quiet_from_s - self._clock.monotonic_s())
        for job in past:
            if not job.record.is_over:
                tell(self._submitter, Resumption(job, after_s))

    def _serve(self, engines: tuple[EngineSpec, ...]) -> None:
        """Start what was wanted from the first; raises NoRoom, unless other machines may join that have it."""
        self._plane.serve(engines, may_wait=self._config.listen is not None)

    def _wait_joined(self) -> None:
        in_time = self._joined.wait(START_S)
        if not in_time or self._start_fault is not None:
            how = self._start_fault or f"the nodes did not join within {START_S:g} s"
            raise ClusterStartFailed(how, self._last_words())

    def wait(self) -> None:
        """Wait until somebody wants the cluster to end."""
        self._stop_asked.wait()

    def ask_to_stop(self) -> None:
        """Have `wait` return; from any thread or signal handler."""
        self._stop_asked.set()

    def close(self) -> None:
        """Cancel what runs, end nodes and engines, and leave nothing behind."""
        if self._is_closed:
            return
        self._is_closed = True
        runtime = self._config.settings.runtime
        if self._actors:
            self._plane.end_restarts()
            tell(self._door, StopAll())
            self._stopped.wait(runtime.stop_timeout_s + 5.0)
            tell(self._nodes, EndLocalNodes(_END_S))
            left = stop([self._nodes], timeout_s=_END_S + 3.0)
            left += self._plane.close(runtime.stop_timeout_s)
            left += stop(self._actors[1:], timeout_s=_END_S)
            for name in left:
                get_log().warning("still running", what=name)
        self._journal.close()
        self._trust.close()
        self._context.destroy(linger=500)
        self._let_go()

    def _let_go(self) -> None:
        self._place.remove()
        os.close(self._lock)

    def _door_ports(
        self, book: JobBook, server: ControlServer[FromPeer], manager: ActorRef[Any], submitter: ActorRef[Any]
    ) -> DoorPorts:
        return DoorPorts(
            cluster=self._config.name,
            pid=os.getpid(),
            book=book,
            server=server,
            trust=self._trust,
            manager=manager,
            submitter=submitter,
            plane=self._plane,
            on_members=self._members_are,
            on_stop_asked=self.ask_to_stop,
            on_stopped=self._stopped.set,
            kill_own=self._kill_own,
            leave_own=lambda node_id: tell(self._nodes, LeaveNode(node_id)),
            beat=self._beat,
            first_epoch=self._journal.reserve_epochs(int(self._clock.unix_s() * 1000)),
            returns_within_s=self._config.settings.cluster.reconnect_s,
            stop_timeout_s=self._config.settings.runtime.stop_timeout_s,
            chat=self._config.settings.chat,
            clock=self._clock,
        )

    def _tell_door(self, message: object) -> None:
        tell(self._door, message)

    def _members_are(self, num_members: int) -> None:
        if num_members >= self._config.num_nodes:
            self._joined.set()
        if num_members:
            tell(self._submitter, ServeWanted(self._config.engines))

    def _node_ended(self, name: str, how: str) -> None:
        if not self._joined.is_set():  # it would end in the same way again
            self._start_fault = f"{name} {how} before it joined"
            self._joined.set()
        tell(self._door, NodeProcessEnded(name, how))

    def _kill_own(self, node_id: NodeId) -> bool:
        if node_id not in map(node_name, range(self._config.num_nodes)):
            return False
        return tell(self._nodes, KillNode(node_id))

    def _node_config(self, number: int, folder: Path) -> NodeConfig:
        config = self._config
        return NodeConfig(
            head=self._place.control,
            name=node_name(number),
            data_address=self._trust.data_address(folder),
            settings=config.settings,
            keys_folder=config.keys_folder if config.listen else "",
            share=(number, config.num_nodes),
            cpus=config.cpus,
            num_gpus=config.num_gpus,
            takes_any_file=config.listen is None,
            folder=str(folder),
            place=str(self._place.folder),
            presence=str(Path(config.state_folder, PRESENCE)) if config.state_folder else "",
        )

    def _specs_for(self, needs: list[Need]) -> tuple[EngineSpec, ...]:
        if not needs:
            return ()
        from cluster.local.engines import specs_for_needs

        known = (*self._engines, *(spec for spec in self._plane.specs() if spec not in self._engines))
        return specs_for_needs(needs, known, lambda name: None)  # which nodes have the files, placement knows

    def _supply(self) -> NodeSupply:
        def gone(engine_id: EngineId) -> None:
            tell(self._submitter, RoomMade(engine_id))

        return NodeSupply(self._manager, self._trust, self._context, self._tell_door, gone)

    def _book_of(self, past: tuple[PastJob, ...]) -> JobBook:
        book = JobBook()
        until_s = self._clock.monotonic_s() + START_S + self._config.settings.cluster.reconnect_s
        for job in past:
            book.add_past(job, until_s)
        return book

    def _say_ready(self) -> None:
        self._place.say(
            Beacon(self._config.name, os.getpid(), self._place.control, self._trust.address, self._clock.unix_s())
        )

    def _last_words(self) -> str:
        words = [path.read_text(errors="replace")[-500:] for path in sorted(self._place.folder.glob("node-*.log"))]
        return "\n".join(word for word in words if word) or "They left no word."


def _journal_in(folder: str) -> Journal:
    """Open the journal of jobs; raises JournalUnusable, KeysUnsafe where others may enter its folder."""
    if not folder:
        return MemoryJournal()
    return SqliteJournal(make_private_directory(Path(folder)) / JOURNAL)
