"""Jobs side by side on one cluster: they share its resources, and each gives back what it held, however it ends."""

import threading
from collections.abc import Iterator

import pytest

import sage
from cluster.local import LocalCluster
from sage.base.errors import JobCancelled, NoRoom, RecordFailed
from sage.base.settings import NodeSettings, Settings

DEADLINE_S = 30.0
NUM_JOBS = 4


class Held:
    """A flow that holds resources until it is let go, and then ends well or fails."""

    def __init__(self, name: str, cpus: float) -> None:
        self._opened = threading.Event()
        self._fails = False
        self.flow = sage.Flow(name)
        self.flow.from_collection([1]).map(self._wait).with_resources(cpus=cpus).collect()

    def let_go(self, *, fails: bool = False) -> None:
        self._fails = fails
        self._opened.set()

    def _wait(self, record: int) -> int:
        assert self._opened.wait(DEADLINE_S)
        return record // (0 if self._fails else 1)


@pytest.fixture
def quarter_cpus(local_cluster: LocalCluster) -> float:
    (node,) = local_cluster.nodes()
    return int(node.total.cpus * 1_000_000 / NUM_JOBS) / 1_000_000


@pytest.fixture
def held(quarter_cpus: float) -> Iterator[list[Held]]:
    flows = [Held(f"flow-{number}", quarter_cpus) for number in range(NUM_JOBS + 1)]
    yield flows
    for flow in flows:
        flow.let_go()


def num_busy_quarters(cluster: LocalCluster, quarter_cpus: float) -> int:
    (node,) = cluster.nodes()
    return round((node.total.cpus - node.free.cpus) / quarter_cpus)


def test_jobs_share_a_node_and_each_gives_back_its_share_however_it_ends(
    local_cluster: LocalCluster, held: list[Held], quarter_cpus: float
) -> None:
    jobs = [local_cluster.submit(flow.flow) for flow in held[:NUM_JOBS]]
    assert num_busy_quarters(local_cluster, quarter_cpus) == NUM_JOBS
    with pytest.raises(NoRoom, match=r"local has [\d.e-]+ of [\d.]+ CPUs free"):
        local_cluster.submit(held[NUM_JOBS].flow)

    held[0].let_go()
    jobs[0].wait(DEADLINE_S)
    assert num_busy_quarters(local_cluster, quarter_cpus) == NUM_JOBS - 1
    jobs.append(local_cluster.submit(held[NUM_JOBS].flow))
    assert num_busy_quarters(local_cluster, quarter_cpus) == NUM_JOBS

    held[1].let_go(fails=True)
    with pytest.raises(RecordFailed):
        jobs[1].wait(DEADLINE_S)
    assert jobs[2].ask_to_stop()
    held[2].let_go()
    with pytest.raises(JobCancelled):
        jobs[2].wait(DEADLINE_S)
    assert num_busy_quarters(local_cluster, quarter_cpus) == NUM_JOBS - 2

    for flow, job in ((held[3], jobs[3]), (held[4], jobs[4])):
        flow.let_go()
        job.wait(DEADLINE_S)
    (node,) = local_cluster.nodes()
    assert (node.free, node.num_tasks) == (node.total, 0)


def test_a_step_runs_only_where_its_labels_are() -> None:
    def labelled(zone: str) -> sage.Flow:
        flow = sage.Flow(f"zone-{zone}")
        flow.from_collection([1]).map(abs).with_resources(labels={"zone": zone}).collect()
        return flow

    with LocalCluster(settings=Settings(node=NodeSettings(labels="disk=ssd,zone=a"))) as cluster:
        assert cluster.submit(labelled("a")).wait(DEADLINE_S).records_out == 1
        with pytest.raises(NoRoom, match="asks for the label zone=b: local has the label zone=a"):
            cluster.submit(labelled("b"))
