"""A sink that stands still for as long as it likes: what came before it waits, bounded, and nothing else does."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import sage
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from cluster.local import LocalCluster
from cluster.local.job import SubmittedJob
from sage.base.errors import CheckpointUnusable, SageError
from sage.base.settings import RuntimeSettings, Settings
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

NUM = 20_000
MAX_WAITING = 1_000
"""Of five tasks: what each has in hand and gives away, and its inbox; what a link between nodes lets through."""

LIMIT_S = 60.0
SETTINGS = Settings(runtime=RuntimeSettings(batch_records=20, inbox_batches=2))


@dataclass
class Fast:
    """Numbers as fast as they are taken; a file is as long as there are records that were read."""

    folder: Path
    _next: int = 0

    def open(self) -> "Fast":
        return self.open_at(0)

    def open_at(self, position: int) -> "Fast":
        return Fast(self.folder, position)

    def read(self, max_records: int) -> Sequence[int] | None:
        begin, self._next = self._next, min(self._next + max_records, NUM)
        with (self.folder / "read").open("ab") as file:
            file.write(b"." * (self._next - begin))
        return list(range(begin, self._next)) or None

    def position(self) -> int:
        return self._next

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Gated:
    """Says by a file that it holds a record, and lets none pass before there is another file."""

    folder: Path

    def __call__(self, number: int) -> int:
        if not (self.folder / "open").exists():
            (self.folder / "holds").touch()
            eventually((self.folder / "open").exists, LIMIT_S)
        return number


def flow_into(folder: Path) -> sage.Flow:
    flow = sage.Flow("slow")
    last = flow.from_source(Fast(folder)).key_by(lambda n: n % 7).fold(-1, lambda _, n: n).with_parallelism(2)
    last.map(lambda pair: pair[1]).map(Gated(folder)).map(str).write_text(folder / "numbers.txt")
    return flow


def check_stall(
    cluster: LocalCluster | RemoteCluster, folder: Path, look: Callable[[SubmittedJob], None] = lambda job: None
) -> None:
    kept = sage.Checkpoint(folder / "kept", every_s=0.05, timeout_s=0.2)
    job = cluster.submit(flow_into(folder), checkpoint=kept)
    eventually((folder / "holds").exists, LIMIT_S)
    with ThreadPoolExecutor(1) as pool:
        try:
            saved = pool.submit(fault_of, lambda: job.savepoint(folder / "saved"))
            check_others_go_on(cluster)
            look(job)
            assert not job.is_over
            assert 0 < (folder / "read").stat().st_size <= MAX_WAITING, "the source stands still"
            assert not saved.done()
        finally:
            (folder / "open").touch()
        job.wait(LIMIT_S)
        fault = saved.result(LIMIT_S)
    assert fault is None or isinstance(fault, CheckpointUnusable), fault
    assert sorted(map(int, (folder / "numbers.txt").read_text().split())) == list(range(NUM))


def check_others_go_on(cluster: LocalCluster | RemoteCluster) -> None:
    beside = sage.Flow("beside")
    sums = beside.from_collection(range(5_000)).key_by(lambda n: n % 3).sum(final=True).collect()
    cluster.submit(beside).wait(LIMIT_S)
    assert sum(total for _, total in sums.items or ()) == sum(range(5_000))


def fault_of(do: Callable[[], object]) -> SageError | None:
    try:
        do()
    except SageError as error:
        return error
    return None


def test_a_sink_that_stands_still_holds_its_source_and_nothing_else(tmp_path: Path) -> None:
    with LocalCluster(settings=SETTINGS) as cluster:
        check_stall(cluster, tmp_path)


def test_a_sink_that_stands_still_holds_its_source_on_another_node(tmp_path: Path) -> None:
    with nodes_here(2, settings=SETTINGS) as cluster:

        def both_have_tasks(job: SubmittedJob) -> None:
            assert all(state.view.num_tasks for state in cluster.node_states()), cluster.explain(job.id)

        check_stall(cluster, tmp_path, both_have_tasks)
