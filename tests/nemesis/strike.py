"""One injection: a job at work, a fault, and what came of it. Every wait has a deadline; who misses it is a finding."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

import sage
from cluster.local.job import SubmittedJob
from sage.base.clock import SystemClock
from sage.base.errors import SageError
from sage.flow.runner import JobStatus
from tests.nemesis.flow import expected_counts, ledger_flow
from tests.nemesis.house import House
from tests.nemesis.injections import NUM_NODES, Injection, Kind, Where
from tests.nemesis.ledger import Verdict, judge, read_ledger

JOB_S = 60.0
BACK_S = 30.0
LOST_S = 10.0
_LOOK_EVERY_S = 0.02
_EVERY_S = 0.04
_FLAP_S = 0.4
_MAX_RESTARTS = 3  # settings.jobs.max_restarts
RUN_CLUSTER = "import sys; from cluster.commands.cluster import main; sys.exit(main())"


class TooLate(Exception):
    """Something did not come about before its deadline."""


@dataclass(slots=True)
class Outcome:
    """What came of an injection, in seconds after it struck; None: it does not apply.

    `lost_s`: the head gave the node up. `resumed_s`: the next run of the job wrote. `back_s`: all nodes were members
    again, after what was cut was mended or what was killed was started. `wrong`: every promise that was broken.
    """

    injection: Injection
    lost_s: float | None = None
    resumed_s: float | None = None
    back_s: float | None = None
    num_restarts: int = 0
    num_stale: int = 0
    wrong: list[str] = field(default_factory=list)


class Strike:
    """Does one injection to a house whose nodes are all members."""

    def __init__(self, house: House, injection: Injection, number: int) -> None:
        self._house = house
        self._number = number
        self._injection = injection
        self._ledger = house.folder / f"ledger-{number}.jsonl"
        self._results = house.folder / f"counts-{number}.jsonl"
        self._victim = house.node_name(injection.victim)
        self._clock = SystemClock()
        self._pause = threading.Event()
        self._out = Outcome(injection)
        self._num_ticks = round((_job_s(injection)) / _EVERY_S)

    def run(self) -> Outcome:
        """Return what came of it; never raises for what the cluster does."""
        try:
            self._run()
        except (TooLate, SageError) as error:
            self._out.wrong.append(f"{type(error).__name__}: {error}")
        return self._out

    def _run(self) -> None:
        epochs = self._epochs()
        job = self._submitted()
        self._eventually(lambda: self._num_written() > 0, JOB_S, "the job wrote nothing")
        self._pause.wait(self._injection.after_s)
        self._house.nodes()
        struck_s, struck_unix_s = self._clock.monotonic_s(), self._clock.unix_s()
        with self._broken():
            self._wait_lost(struck_unix_s)
            self._pause.wait(max(0.0, struck_s + self._injection.for_s - self._clock.monotonic_s()))
        mended_s = self._clock.monotonic_s()
        if self._injection.kind is Kind.KILL and self._house.where is Where.MACHINES:
            self._house.rejoin(self._injection.victim)
        self._wait_back(epochs)
        self._out.back_s = self._clock.monotonic_s() - mended_s
        self._wait_over(job)
        self._judge(struck_s)

    # The job.

    def _submitted(self) -> SubmittedJob:
        if self._injection.kind is Kind.CLIENT:
            return self._submitted_by_another()
        return self._house.cluster.submit(self._flow())

    def _flow(self) -> sage.Flow:
        return ledger_flow(str(self._ledger), str(self._results), num_ticks=self._num_ticks, every_s=_EVERY_S)

    def _submitted_by_another(self) -> SubmittedJob:
        """Have another process submit the job and wait for it; kill that, and return the job, which goes on."""
        script = self._house.folder / f"flow_{self._number}.py"
        arguments = f"{str(self._ledger)!r}, {str(self._results)!r}, num_ticks={self._num_ticks}, every_s={_EVERY_S}"
        script.write_text(f"from tests.nemesis.flow import ledger_flow\nflow = ledger_flow({arguments})\n")
        with self._house.users[0].popen("-c", RUN_CLUSTER, "submit", script.name, "--wait") as client:
            self._eventually(lambda: self._num_written() > 0, JOB_S, "the client's job wrote nothing")
            client.kill()
        return self._house.cluster.job(self._house.cluster.job_states()[-1].job_id)

    def _wait_over(self, job: SubmittedJob) -> None:
        if self._injection.kind is Kind.HEAD:
            job = self._house.cluster.job(job.id)
        job.wait(JOB_S)
        if job.status is not JobStatus.FINISHED:
            self._out.wrong.append(f"the job is {job.status.value}")
        self._out.num_restarts = self._house.cluster.describe(job.id).state.num_restarts
        if self._out.num_restarts > _MAX_RESTARTS:
            self._out.wrong.append(f"the job began anew {self._out.num_restarts} times")

    def _num_written(self) -> int:
        return self._ledger.read_bytes().count(b'"wrote"') if self._ledger.exists() else 0

    # The fault.

    @contextmanager
    def _broken(self) -> Iterator[None]:
        match self._injection.kind:
            case Kind.KILL:
                self._house.signal(self._victim, signal.SIGKILL)
                yield
            case Kind.PAUSE:
                self._house.signal(self._victim, signal.SIGSTOP)
                try:
                    yield
                finally:
                    with suppress(ProcessLookupError):  # its head has killed it
                        self._house.signal(self._victim, signal.SIGCONT)
            case Kind.CUT | Kind.MUTE | Kind.DEAF | Kind.APART:
                cut, mend = self._wires()
                cut()
                try:
                    yield
                finally:
                    mend()
            case Kind.FLAP:
                with self._flapping():
                    yield
            case Kind.HEAD:
                self._house.kill_head()
                self._house.start()
                yield
            case Kind.CLIENT:
                yield

    def _wires(self) -> tuple[Callable[[], None], Callable[[], None]]:
        head, node = self._house.hosts[0], self._house.host(self._injection.victim)
        other = self._house.host((self._injection.victim + 1) % NUM_NODES)
        match self._injection.kind:
            case Kind.CUT:
                return node.cut, node.mend
            case Kind.MUTE:
                return lambda: node.cut_towards(head), lambda: node.mend_towards(head)
            case Kind.DEAF:
                return lambda: head.cut_towards(node), lambda: head.mend_towards(node)
            case _:
                return lambda: node.cut_towards(other), lambda: node.mend_towards(other)

    @contextmanager
    def _flapping(self) -> Iterator[None]:
        """Cut and mend in turns, on a thread, until left."""
        host, over = self._house.host(self._injection.victim), threading.Event()

        def flap() -> None:
            while not over.wait(_FLAP_S):
                host.cut()
                over.wait(_FLAP_S)
                host.mend()

        thread = threading.Thread(target=flap, name="flapping")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    # What is promised.

    def _wait_lost(self, struck_unix_s: float) -> None:
        if self._injection.kind in (Kind.FLAP, Kind.CLIENT, Kind.APART, Kind.HEAD):
            return

        def is_lost() -> bool:
            gone_unix_s = self._house.gone_unix_s(self._victim, struck_unix_s)
            if gone_unix_s is not None:
                self._out.lost_s = gone_unix_s - struck_unix_s
            return gone_unix_s is not None

        self._eventually(is_lost, LOST_S, f"{self._victim} was not given up")

    def _epochs(self) -> dict[str, int]:
        return {name: state.epoch for name, state in self._house.nodes().items()}

    def _wait_back(self, before: dict[str, int]) -> None:
        """Wait until every node is a member, alive; the victim, where it was given up, in a new epoch."""

        def are_back() -> bool:
            nodes = self._house.nodes()
            alive = [name for name, state in nodes.items() if state.state == "alive"]
            is_new = self._out.lost_s is None or (
                self._victim in nodes and nodes[self._victim].epoch > before[self._victim]
            )
            return len(alive) == NUM_NODES and is_new

        self._eventually(are_back, BACK_S, "not all nodes are back")

    def _judge(self, struck_s: float) -> None:
        verdict = self._verdict()
        self._out.num_stale = len(verdict.stale)
        self._out.wrong.extend(verdict.wrong)
        self._out.wrong.extend(verdict.stale[:3])
        later = [wrote_s for began_s, wrote_s in verdict.runs if began_s > struck_s and wrote_s is not None]
        if later:
            self._out.resumed_s = later[0] - struck_s

    def _verdict(self) -> Verdict:
        entries = read_ledger(self._ledger.read_bytes().splitlines(keepends=True))
        results = [msgspec.json.decode(line) for line in _lines(self._results)]
        return judge(entries, expected_counts(self._num_ticks), results)

    def _eventually(self, is_so: Callable[[], bool], deadline_s: float, otherwise: str) -> None:
        until_s = self._clock.monotonic_s() + deadline_s
        while not is_so():
            if self._clock.monotonic_s() > until_s:
                raise TooLate(f"{otherwise} within {deadline_s:g} s")
            self._pause.wait(_LOOK_EVERY_S)


def _job_s(injection: Injection) -> float:
    """Return for how long a run reads: a zombie shall return while the next run is at work."""
    return max(2.0, injection.for_s - 1.0)


def _lines(path: Path) -> list[bytes]:
    with suppress(FileNotFoundError):
        return path.read_bytes().splitlines()
    return []
