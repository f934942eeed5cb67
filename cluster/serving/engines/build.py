"""From the description of an engine to the engine itself: the one place that names the adapters."""

from typing import assert_never

from cluster.serving.engines.cost import profile_of
from cluster.serving.engines.port import Engine
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.spec import EngineSpec
from sage.base.clock import SystemClock
from sage.base.ids import EngineId


def engine_from_spec(spec: EngineSpec, engine_id: EngineId) -> Engine:
    """Load the engine; takes seconds for a real one.

    Raises: ModelMissing, ModelCorrupt, ExtraMissing, EngineStartFailed.
    """
    match spec.kind:
        case "simulated":
            return SimulatedEngine(engine_id, spec.model, profile_of(spec.target), SystemClock(), kinds=spec.kinds)
    assert_never(spec.kind)
