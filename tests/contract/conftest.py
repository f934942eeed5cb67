"""The engines that the contract is checked on: simulated in process and in a host; the real ones where wanted."""

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

from cluster.serving.engines.build import cross_encoder_engine, openvino_engine, scoring
from cluster.serving.engines.cost import CPU2
from cluster.serving.engines.launch import launch
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.model_store import open_store
from sage.base.catalog import entry_of
from sage.base.clock import ManualClock
from sage.base.config import load_settings
from sage.base.errors import ModelMissing
from sage.base.ids import EngineId
from tests.contract.cross_encoder import tiny_cross_encoder
from tests.contract.driven import DrivenEngine, Hosted, InProcess, closing
from tests.http.command import serve

_SIMULATED = [
    pytest.param("simulated", id="simulated-in-process"),
    pytest.param("simulated:cpu2,model=sim", id="simulated-in-a-host", marks=pytest.mark.cluster),
]
_REMOTE = pytest.param("openai", id="openai-in-a-host-before-a-gateway", marks=pytest.mark.cluster)
_CHAT = [*_SIMULATED, _REMOTE, pytest.param("smollm2", id="openvino-in-process", marks=pytest.mark.engines)]
_EMBED = [*_SIMULATED, _REMOTE, pytest.param("minilm", id="openvino-in-process", marks=pytest.mark.engines)]
_SCORE_OF_MODELS = [
    pytest.param("minilm", id="openvino-by-vectors", marks=pytest.mark.engines),
    pytest.param("cross-encoder", id="openvino-cross-encoder", marks=pytest.mark.engines),
]
_SCORE = [
    *_SIMULATED,
    pytest.param("openai-rerank", id="openai-in-a-host-before-a-gateway", marks=pytest.mark.cluster),
    *_SCORE_OF_MODELS,
]


def model_files(name: str) -> dict[str, Path]:
    """Return a model's files by role: from the store, or else from the installed packages that are their parcels."""
    try:
        return open_store(load_settings().models).path(name)
    except ModelMissing:
        return {
            file.role: Path(str(distribution(file.wheel.package).locate_file(file.member)))
            for file in entry_of(name).files
        }


def _engine(how: str, request: pytest.FixtureRequest) -> DrivenEngine:
    if how == "openai":
        gateway = request.getfixturevalue("gateway_url")
        return Hosted(launch(spec_from_text(f"openai:{gateway},model=sim,role=chat,role=embedding,max_running=8")))
    if how in ("smollm2", "minilm"):
        spec = spec_from_text(f"openvino:{how}")
        return InProcess(scoring(spec, lambda asked: openvino_engine(asked, EngineId(how), model_files(how))))
    if how == "cross-encoder":
        folder = tiny_cross_encoder(request.getfixturevalue("tmp_path_factory").mktemp("cross"))
        return InProcess(cross_encoder_engine(spec_from_text(f"openvino:{folder}"), EngineId(how)))
    if how == "openai-rerank":
        gateway = request.getfixturevalue("gateway_url")
        return Hosted(launch(spec_from_text(f"openai:{gateway},model=sim,role=rerank,max_running=8")))
    if how == "simulated":
        clock = ManualClock()
        spec = spec_from_text("simulated:cpu2,model=sim")
        simulated = scoring(spec, lambda asked: SimulatedEngine(EngineId("sim"), "sim", CPU2, clock, kinds=asked.kinds))
        return InProcess(simulated, clock)
    return Hosted(launch(spec_from_text(how)))


@pytest.fixture(scope="session")
def gateway_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A gateway over the simulated engine: a server that speaks OpenAI's API."""
    with serve("--engine", "simulated:cpu2,model=sim", directory=tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway.url


@pytest.fixture(scope="module", params=_CHAT)
def chat_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    with closing(_engine(request.param, request)) as engine:
        yield engine


@pytest.fixture(scope="module", params=_EMBED)
def embed_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    with closing(_engine(request.param, request)) as engine:
        yield engine


@pytest.fixture(scope="module", params=_SCORE)
def score_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    with closing(_engine(request.param, request)) as engine:
        yield engine


@pytest.fixture(params=_SCORE_OF_MODELS)
def scoring_model(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    """An engine whose scores come from what texts say; those of simulated ones from a hash."""
    with closing(_engine(request.param, request)) as engine:
        yield engine


@pytest.fixture(params=_CHAT)
def fresh_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    """An engine for one test alone, which may close it."""
    with closing(_engine(request.param, request)) as engine:
        yield engine


@pytest.fixture(params=_SIMULATED)
def simulated_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    with closing(_engine(request.param, request)) as engine:
        yield engine
