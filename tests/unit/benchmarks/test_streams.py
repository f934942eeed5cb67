"""Stream workloads: both forms come to what the oracle says, and no figure is given for a wrong answer."""

from dataclasses import dataclass

import pytest

from benchmarks.arrays import StatelessAcross, StatelessArrays
from benchmarks.auctions import auctions
from benchmarks.nexmark import Auctions
from benchmarks.readings import readings
from benchmarks.session import QUERIES
from benchmarks.streams import measure_stream
from benchmarks.texts import corpus_of, zipf_corpus
from benchmarks.wanted import StreamEngine
from benchmarks.windowed_sum import WindowedSum
from benchmarks.workloads import Outcome, Stateless, WordCount, Workload
from cluster.local import LocalCluster
from sage.base.clock import SystemClock
from sage.base.errors import InternalError

BOTH = (StreamEngine.SAGE, StreamEngine.PYTHON)
EVENTS = auctions(20_000, seed=3)
SMALL: list[Workload] = [
    Stateless(1000),
    Stateless(1),
    StatelessAcross(3_000),
    StatelessArrays(2_500, 1_000),
    WordCount(zipf_corpus(500, seed=1)),
    WordCount(corpus_of("t", ["a b a"])),
    WindowedSum(readings(30_000, seed=2)),
    *(Auctions(EVENTS, query) for query in QUERIES),
]


@dataclass(frozen=True, slots=True)
class Wrong(Stateless):
    """A workload whose oracle never agrees."""

    def expected(self) -> Outcome:
        return None


@pytest.mark.parametrize("workload", SMALL, ids=lambda workload: f"{workload.name}-{workload.num_records}")
def test_the_plain_loop_and_the_flow_come_to_what_the_oracle_says(workload: Workload) -> None:
    flow, outcome = workload.flow()
    flow.run()
    assert outcome() == workload.plain() == workload.expected()


def test_a_result_names_its_workload_its_input_and_its_ratio_to_the_plain_loop() -> None:
    with LocalCluster() as cluster:
        sage_result, python_result = measure_stream(
            Stateless(2000), BOTH, cluster, batch_records=1000, num_rounds=2, clock=SystemClock()
        )
    assert (sage_result.engine, sage_result.workload, sage_result.n) == ("sage", "W1", 2000)
    assert sage_result.checked
    assert not sage_result.simulated
    assert sage_result.records_per_s > 0
    assert sage_result.ratio_to_python > 0
    assert (python_result.ratio_to_python, python_result.batch_records) == (1.0, None)


def test_the_plain_loop_is_not_shown_where_it_was_not_asked_for() -> None:
    with LocalCluster() as cluster:
        results = measure_stream(
            Stateless(100), BOTH[:1], cluster, batch_records=1000, num_rounds=1, clock=SystemClock()
        )
    assert [result.engine for result in results] == ["sage"]


def test_a_wrong_outcome_gives_no_figure() -> None:
    with LocalCluster() as cluster, pytest.raises(InternalError, match="W1 on python came to a wrong result"):
        measure_stream(Wrong(100), BOTH, cluster, batch_records=1000, num_rounds=1, clock=SystemClock())
