"""The engines that the contract is checked on: simulated in process and in a host; the real ones where wanted."""

from collections.abc import Iterator

import pytest

from cluster.serving.engines.cost import CPU2
from cluster.serving.engines.launch import launch
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.spec import spec_from_text
from sage.base.clock import ManualClock
from sage.base.ids import EngineId
from tests.contract.driven import DrivenEngine, Hosted, InProcess, closing

_SIMULATED = [
    pytest.param("simulated", id="simulated-in-process"),
    pytest.param("simulated:cpu2,model=sim", id="simulated-in-a-host", marks=pytest.mark.cluster),
]
_CHAT = [*_SIMULATED]
_EMBED = [*_SIMULATED]


def _engine(how: str) -> DrivenEngine:
    if how == "simulated":
        clock = ManualClock()
        return InProcess(SimulatedEngine(EngineId("sim"), "sim", CPU2, clock), clock)
    return Hosted(launch(spec_from_text(how)))


@pytest.fixture(scope="module", params=_CHAT)
def chat_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    with closing(_engine(request.param)) as engine:
        yield engine


@pytest.fixture(scope="module", params=_EMBED)
def embed_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    with closing(_engine(request.param)) as engine:
        yield engine


@pytest.fixture(params=_CHAT)
def fresh_engine(request: pytest.FixtureRequest) -> Iterator[DrivenEngine]:
    """An engine for one test alone, which may close it."""
    with closing(_engine(request.param)) as engine:
        yield engine
