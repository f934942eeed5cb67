"""What the doctor advises, from facts alone."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from cluster.commands.advice import advise
from cluster.commands.machine_facts import EngineFact, Facts, gather
from cluster.jobs.machine import offer_of_machine
from cluster.serving.engines.spec import EngineKind
from cluster.serving.environment_store import EnvironmentStore
from cluster.serving.model_store import FileState, ModelStore, StoredModel

MODEL = StoredModel("tiny", "a model", ("chat",), "Apache-2.0", FileState.PRESENT, 1, 1, "/cache/tiny")
HEALTHY = Facts(
    python="CPython 3.11",
    platform="Linux",
    packages={"sage-engine": "0.1.0"},
    shadowed=None,
    num_cpus=2,
    memory_bytes=8_000_000_000,
    free_memory_bytes=4_000_000_000,
    gpus=(),
    engines=(EngineFact("openvino", (), False), EngineFact("simulated", (), True)),
    models=(MODEL,),
    cache_dir="/cache",
)


def test_a_machine_that_has_everything_gets_no_advice() -> None:
    assert advise(HEALTHY) == ()


@pytest.mark.parametrize(
    ("changes", "do"),
    [
        ({"engines": (EngineFact("openvino", ("tokenizers",), False),)}, "pip install 'sage-engine[engines]'"),
        ({"models": (msgspec.structs.replace(MODEL, state=FileState.MISSING),)}, "sage models pull tiny"),
        ({"models": (msgspec.structs.replace(MODEL, state=FileState.DAMAGED),)}, "sage models pull tiny"),
        ({"shadowed": "cluster is elsewhere"}, "virtual environment"),
    ],
)
def test_what_the_demo_needs_and_lacks_comes_with_what_to_do(changes: dict[str, object], do: str) -> None:
    (advice,) = advise(msgspec.structs.replace(HEALTHY, **changes))
    assert advice.needed
    assert do in advice.do


NO_ENVIRONMENT = {"engines": (EngineFact("vllm", (), False, has_environment=False),)}


@pytest.mark.parametrize("changes", [{"gpus": None}, {"free_memory_bytes": 1}, NO_ENVIRONMENT])
def test_what_the_demo_can_do_without_is_said_but_not_needed(changes: dict[str, object]) -> None:
    (advice,) = advise(msgspec.structs.replace(HEALTHY, **changes))
    assert not advice.needed


def test_the_doctor_looks_at_every_kind_of_engine_there_is(tmp_path: Path) -> None:
    facts = gather(ModelStore(tmp_path), EnvironmentStore(tmp_path))
    assert {engine.kind for engine in facts.engines} == set(get_args(EngineKind))
    assert [engine.kind for engine in facts.engines if engine.simulated] == ["simulated"]
    states = {engine.kind: engine.state() for engine in facts.engines}
    assert (states["simulated"], states["vllm"]) == ("can start", "needs an environment")


def test_the_doctor_says_what_a_node_here_would_offer(tmp_path: Path) -> None:
    facts, offer = gather(ModelStore(tmp_path), EnvironmentStore(tmp_path)), offer_of_machine()
    assert (facts.num_cpus, facts.memory_bytes) == (offer.cpus, offer.memory_bytes)
    assert facts.num_cpus > 0
