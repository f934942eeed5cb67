"""From the description of an engine to the engine itself: the one place that names the adapters."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cluster.serving.engines.cost import profile_of
from cluster.serving.engines.port import Engine
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.environment_store import open_environments
from cluster.serving.model_store import open_store
from sage.base.catalog import entry_of
from sage.base.clock import SystemClock
from sage.base.config import load_settings
from sage.base.errors import ExtraMissing
from sage.base.ids import EngineId
from sage.base.inference import Kind


def engine_from_spec(spec: EngineSpec, engine_id: EngineId) -> Engine:
    """Load the engine; takes seconds for a real one.

    Raises: ModelMissing, ExtraMissing, EngineStartFailed, ConfigInvalid.
    """
    match spec.kind:
        case "simulated":
            return SimulatedEngine(engine_id, spec.model, profile_of(spec.target), SystemClock(), kinds=spec.kinds)
        case "openai" | "vllm":
            return _remote_engine(spec, engine_id)
        case "openvino":
            return openvino_engine(spec, engine_id, open_store(load_settings().models).path(spec.target))


def _remote_engine(spec: EngineSpec, engine_id: EngineId) -> Engine:
    try:
        from cluster.serving.engines.openai_start import openai_engine
        from cluster.serving.engines.vllm_start import vllm_engine
    except ModuleNotFoundError as error:
        what = f"engine {engine_id} needs the package {error.name}, which is not installed"
        raise ExtraMissing(what, "Run: pip install 'sage-engine[http]'") from error
    if spec.kind == "vllm":
        return vllm_engine(spec, engine_id, open_environments(load_settings().environments).python)
    return openai_engine(spec, engine_id)


def openvino_engine(spec: EngineSpec, engine_id: EngineId, files: Mapping[str, Path]) -> Engine:
    """Load a model of the catalogue from its `files`, by role.

    Raises: ExtraMissing.
    """
    card = msgspec.structs.replace(entry_of(spec.target).card(), name=spec.model, kinds=spec.kinds)
    try:
        if Kind.EMBED in card.kinds:
            from cluster.serving.engines.openvino_embed import OpenvinoEmbed

            return OpenvinoEmbed(engine_id, card, files["model"], files["tokenizer"])
        from cluster.serving.engines.openvino_chat import OpenvinoChat

        return OpenvinoChat(engine_id, card, files["model"])
    except ModuleNotFoundError as error:
        what = f"engine {engine_id} needs the package {error.name}, which is not installed"
        raise ExtraMissing(what, "Run: pip install 'sage-engine[engines]'") from error
