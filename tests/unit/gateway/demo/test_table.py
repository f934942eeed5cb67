"""The table at the end of the demo."""

from gateway.demo.table import what_ran_where
from sage.base.ids import NodeId
from sage.base.inference import Kind, ModelCard
from sage.flow.runner import ChainMetrics, EngineStatus, JobMetrics, JobStatus

CHAIN = ChainMetrics("embed", ("embed", "index"), (NodeId("local"),), 1, 700, 700, 11, 11, 100_031, 0, 1.25)
ENGINE = EngineStatus(
    "minilm-0", "openvino", "ready", "CPU", False, (ModelCard("minilm", (Kind.EMBED,), 256, 384),), 0, 21, 100_031, 0
)


def test_every_chain_and_every_engine_has_a_line_with_its_figures() -> None:
    table = what_ran_where(JobMetrics(JobStatus.FINISHED, 79, 10, 10.0, (CHAIN,)), [ENGINE])
    head, chain, engine = table.splitlines()
    assert " ".join(head.split()) == "what ran where in out batches requests tokens in tokens out busy s"
    assert " ".join(chain.split()) == "embed > index local 700 700 11 11 100,031 1.25"
    assert " ".join(engine.split()) == "minilm (openvino) CPU 21 100,031"


def test_a_simulated_engine_is_called_simulated() -> None:
    engine = EngineStatus("s", "fake", "ready", "none", True, (), 0, 0, 0, 0)
    assert "(simulated)" in what_ran_where(JobMetrics(JobStatus.FINISHED, 0, 0, 0.0, ()), [engine])
