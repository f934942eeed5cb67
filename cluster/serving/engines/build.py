"""From the description of an engine to the engine itself: the one place that names the adapters."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from cluster.serving.engines.cost import profile_of
from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.port import Engine
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.spec import EngineSpec
from cluster.serving.environment_store import open_environments
from cluster.serving.model_store import open_store
from cluster.serving.sharing import GO_TOKENS, SharingMode
from sage.base.catalog import entry_of
from sage.base.clock import SystemClock
from sage.base.config import load_settings
from sage.base.errors import ExtraMissing
from sage.base.ids import EngineId
from sage.base.inference import Kind, ModelCard

MAX_WORKERS = 8  # threads that embed side by side, each with the model's weights for itself


def engine_from_spec(spec: EngineSpec, engine_id: EngineId, board: DeviceBoard | None = None) -> Engine:
    """Load the engine; takes seconds for a real one. One of `openvino` shares its device with others on the `board`,
    which it then owns.

    Raises: ModelMissing, ExtraMissing, EngineStartFailed, ConfigInvalid.
    """
    match spec.kind:
        case "simulated":
            return SimulatedEngine(engine_id, spec.model, profile_of(spec.target), SystemClock(), kinds=spec.kinds)
        case "openai" | "vllm":
            return _remote_engine(spec, engine_id)
        case "openvino":
            return openvino_engine(spec, engine_id, open_store(load_settings().models).path(spec.target), board)


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


def openvino_engine(
    spec: EngineSpec, engine_id: EngineId, files: Mapping[str, Path], board: DeviceBoard | None = None
) -> Engine:
    """Load a model of the catalogue from its `files`, by role.

    Raises: ExtraMissing.
    """
    card = msgspec.structs.replace(entry_of(spec.target).card(), name=spec.model, kinds=spec.kinds)
    try:
        if Kind.EMBED in card.kinds:
            return _embedding(spec, engine_id, card, files, board)
        from cluster.serving.engines.openvino_chat import OpenvinoChat
        from cluster.serving.engines.shared_chat import SharedChat, pause, usable_cpus

        cpus = usable_cpus()
        chat = OpenvinoChat(engine_id, card, files["model"], num_threads=len(cpus))
        return chat if board is None else SharedChat(chat, board, cpus=cpus, clock=SystemClock(), sleep=pause)
    except ModuleNotFoundError as error:
        what = f"engine {engine_id} needs the package {error.name}, which is not installed"
        raise ExtraMissing(what, "Run: pip install 'sage-engine[engines]'") from error


def _embedding(
    spec: EngineSpec, engine_id: EngineId, card: ModelCard, files: Mapping[str, Path], board: DeviceBoard | None
) -> Engine:
    from cluster.serving.engines.embed_jobs import EmbedJobs
    from cluster.serving.engines.openvino_embed import OpenvinoEmbed, embed_info
    from cluster.serving.engines.openvino_encoder import Encoder
    from cluster.serving.engines.shared_chat import pause, usable_cpus
    from cluster.serving.engines.shared_embed import SharedEmbed

    num_cpus = len(usable_cpus())
    if board is not None and spec.sharing.mode is SharingMode.OFF:
        board.close()
        board = None
    if board is None:
        return OpenvinoEmbed(engine_id, card, files["model"], files["tokenizer"], num_threads=num_cpus)
    num_cpus = min(num_cpus, MAX_WORKERS)
    info = embed_info(engine_id, card, num_cpus)

    def encoder() -> Encoder:
        made = Encoder(files["model"], 1, staged_tokens=GO_TOKENS)
        made.prewarm(card.context_tokens)
        return made

    jobs = EmbedJobs(info, card, files["tokenizer"])
    return SharedEmbed(info, jobs, encoder, board, spec.sharing, num_cpus=num_cpus, clock=SystemClock(), sleep=pause)
