"""Lets flows live on the nodes of clusters, and kills nodes and heads, at moments drawn from a seed.

    python -m tests.cluster.node_farm FOLDER NUM_KILLS SEED local|cluster

`local`: a cluster as of `local:3`, whose worker processes are killed. `cluster`: one of `sage-cluster start`, whose
nodes are killed, and its head, which takes its nodes along and is started again. A line of output for each kill, and
for each flow that came to its end: its folder, its kind, and how often it began anew.
"""

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from random import Random
from threading import Event
from typing import Protocol

import sage
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from cluster.jobs.journal import ENDS
from cluster.local.job import SubmittedJob
from sage.base.errors import ClusterUnreachable
from sage.base.settings import JobsSettings, Settings
from tests.cluster.checkpointed import SqliteLedger
from tests.cluster.cluster_command import ClusterCommand, user_at_home
from tests.cluster.killed_flows import KINDS, PacedNumbers, unlucky
from tests.cluster.waiting import eventually
from tests.nemesis.house import client_of, place_of
from tests.unit.two_phases import LedgerSink

NUM_NODES = 3
NUM_FLOWS = 4
NUM_TRIES = 7
"""Kills of one cluster: its head starts five nodes again within a minute, so that one of three is left."""
_MAX_RESTARTS = 1_000
_HEAD_KILL = 4
"""Which kill of a cluster is that of its head."""
_BETWEEN_S = (0.05, 1.0)
_PAUSE_S = 0.003
_EVERY_S = 0.1
_DEADLINE_S = 90.0


class Hurt(Protocol):
    """A cluster that bears kills. Its jobs are waited for by `cluster`."""

    @property
    def cluster(self) -> RemoteCluster: ...

    def kill(self, rng: Random, number: int) -> str | None:
        """Kill one of its processes, as the kill of this number; say what it was. None: nobody is there."""
        ...


@dataclass(frozen=True, slots=True)
class LocalNodes:
    cluster: RemoteCluster

    def kill(self, rng: Random, number: int) -> str | None:
        return kill_node(self.cluster, "worker", rng)


@dataclass(frozen=True, slots=True)
class StartedCluster:
    user: ClusterCommand
    cluster: RemoteCluster

    def kill(self, rng: Random, number: int) -> str | None:
        if number != _HEAD_KILL:
            return kill_node(self.cluster, "node", rng)
        self.kill_head()
        return "head"

    def kill_head(self) -> None:
        """Kill it, and start it again; returns once it has given out tasks."""
        beacon = place_of(self.user).beacon()
        assert beacon is not None, "its head has ended"
        os.kill(beacon.pid, signal.SIGKILL)
        eventually(lambda: not self.user.processes(), _DEADLINE_S)
        start(self.user)
        eventually(lambda: any(node.num_tasks for node in self.cluster.nodes()), _DEADLINE_S)


def kill_node(cluster: RemoteCluster, what: str, rng: Random) -> str | None:
    try:
        pids = [state.pid for state in cluster.node_states()]
    except ClusterUnreachable:
        return None
    if not pids:
        return None
    try:
        os.kill(rng.choice(pids), signal.SIGKILL)
    except ProcessLookupError:  # it has died since, of a kill before
        return None
    return what


def start(user: ClusterCommand) -> None:
    user("start", "--nodes", str(NUM_NODES))


@contextmanager
def local_nodes() -> Iterator[Hurt]:
    with nodes_here(NUM_NODES, settings=Settings(jobs=JobsSettings(max_restarts=_MAX_RESTARTS))) as cluster:
        yield LocalNodes(cluster)


@contextmanager
def started_cluster() -> Iterator[Hurt]:
    with user_at_home() as user:
        (user.home / "sage.toml").write_text(f"[jobs]\nmax_restarts = {_MAX_RESTARTS}\n")
        start(user)
        with client_of(user, reconnect_s=_DEADLINE_S) as cluster:
            yield StartedCluster(user, cluster)
        user("stop")
        user.wait_gone()


def submitted(cluster: RemoteCluster, kind: str, folder: Path) -> SubmittedJob:
    """Start a flow whose results go to files and into a table, and some of whose records are set aside."""
    folder.mkdir()
    flow = sage.Flow(folder.name)
    numbers = PacedNumbers(pause_s=_PAUSE_S)
    flow.from_source(numbers).map(unlucky).on_error("dead_letter").for_each(abs)
    results = KINDS[kind](flow, numbers).map(json.dumps)
    results.write_text(folder / "out-{instance}.jsonl").with_parallelism(2)
    results.to(LedgerSink(SqliteLedger(str(folder / "out.db")))).with_parallelism(2)
    return cluster.submit(flow, checkpoint=sage.Checkpoint(folder / "kept", every_s=_EVERY_S))


def live(hurt: Hurt, kinds: Iterable[tuple[Path, str]], num_kills: int, rng: Random) -> Iterator[str]:
    """Let flows run side by side to their ends, and kill meanwhile."""
    cluster, pause = hurt.cluster, Event()
    jobs = [(folder, kind, submitted(cluster, kind, folder)) for folder, kind in kinds]
    number = 1
    while number <= num_kills and not all(job.status in ENDS for _, _, job in jobs):
        pause.wait(rng.uniform(*_BETWEEN_S))
        if (killed := hurt.kill(rng, number)) is not None:
            number += 1
            yield f"killed,{killed}"
    for folder, kind, job in jobs:
        num_letters = job.wait(_DEADLINE_S).dead_letters
        letters = [[letter.id, letter.value] for letter in job.dead_letters()]
        assert num_letters == len(letters)
        (folder / "letters.json").write_text(json.dumps(letters))
        yield f"ended,{folder.name},{kind},{cluster.describe(job.id).state.num_restarts}"


def farm(folder: Path, num_kills: int, rng: Random, where: str) -> Iterator[str]:
    flows = ((folder / f"{where}-{number}", kind) for number, kind in enumerate(cycle(KINDS)))
    while num_kills > 0:
        with (local_nodes if where == "local" else started_cluster)() as hurt:
            for line in live(hurt, islice(flows, NUM_FLOWS), min(num_kills, NUM_TRIES), rng):
                num_kills -= line.startswith("killed")
                yield line


if __name__ == "__main__":
    for said in farm(Path(sys.argv[1]), int(sys.argv[2]), Random(int(sys.argv[3])), sys.argv[4]):
        print(said, flush=True)
