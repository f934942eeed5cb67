"""From the description of an engine to the engine itself: the one place that names the adapters."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from cluster.serving.engines.by_vectors import ScoringByVectors
from cluster.serving.engines.cost import profile_of
from cluster.serving.engines.device_board import DeviceBoard
from cluster.serving.engines.port import Engine
from cluster.serving.engines.simulated import SimulatedEngine
from cluster.serving.engines.spec import EngineSpec, is_folder
from cluster.serving.environment_store import open_environments
from cluster.serving.model_store import open_store
from cluster.serving.sharing import GO_TOKENS, SharingMode
from sage.base.catalog import entry_of
from sage.base.clock import SystemClock
from sage.base.config import load_settings
from sage.base.errors import ExtraMissing
from sage.base.ids import EngineId
from sage.base.inference import Kind, ModelCard

if TYPE_CHECKING:
    from cluster.serving.engines.openvino_encoder import Encoder

MAX_WORKERS = 8  # threads that embed side by side, each with the model's weights for itself


def engine_from_spec(spec: EngineSpec, engine_id: EngineId, board: DeviceBoard | None = None) -> Engine:
    """Load the engine; takes seconds for a real one. One of `openvino` shares its device with others on the `board`,
    which it then owns.

    Raises: ModelMissing, ExtraMissing, EngineStartFailed, ConfigInvalid.
    """
    return scoring(spec, lambda asked: _loaded(asked, engine_id, board))


def scoring(spec: EngineSpec, load: Callable[[EngineSpec], Engine]) -> Engine:
    """Return the engine that `load` makes; one that embeds and is asked for scores too makes them of its vectors."""
    if Kind.SCORE not in spec.kinds or not _scores_by_vectors(spec):
        return load(spec)
    embeds = tuple(dict.fromkeys(Kind.EMBED if kind is Kind.SCORE else kind for kind in spec.kinds))
    return ScoringByVectors(load(msgspec.structs.replace(spec, kinds=embeds)), spec.kinds)


def _loaded(spec: EngineSpec, engine_id: EngineId, board: DeviceBoard | None) -> Engine:
    match spec.kind:
        case "simulated":
            cost, clock = profile_of(spec.target), SystemClock()
            return SimulatedEngine(engine_id, spec.model, cost, clock, kinds=spec.kinds, adapters=spec.adapters)
        case "openai" | "vllm":
            return _remote_engine(spec, engine_id)
        case "openvino" if is_folder(spec.target):
            return cross_encoder_engine(spec, engine_id, board)
        case "openvino":
            return openvino_engine(spec, engine_id, open_store(load_settings().models).path(spec.target), board)


def _scores_by_vectors(spec: EngineSpec) -> bool:
    """Say whether the model embeds, and so scores by the cosines of its vectors, or was made to score pairs."""
    if Kind.EMBED in spec.kinds:
        return True
    return spec.kind == "simulated" or (spec.kind == "openvino" and not is_folder(spec.target))


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
            from cluster.serving.engines.openvino_encoder import Encoder

            def encoder(num_threads: int, staged_tokens: int) -> Encoder:
                return Encoder(files["model"], num_threads, staged_tokens=staged_tokens)

            return _of_texts(spec, engine_id, card, files["tokenizer"], board, encoder)
        from cluster.serving.engines.openvino_chat import OpenvinoChat
        from cluster.serving.engines.shared_chat import SharedChat, pause, usable_cpus

        cpus = usable_cpus()
        chat = OpenvinoChat(engine_id, card, files["model"], num_threads=len(cpus))
        return chat if board is None else SharedChat(chat, board, cpus=cpus, clock=SystemClock(), sleep=pause)
    except ModuleNotFoundError as error:
        what = f"engine {engine_id} needs the package {error.name}, which is not installed"
        raise ExtraMissing(what, "Run: pip install 'sage-engine[engines]'") from error


def cross_encoder_engine(spec: EngineSpec, engine_id: EngineId, board: DeviceBoard | None = None) -> Engine:
    """Load a model that scores pairs, from a folder; raises EngineStartFailed, ExtraMissing."""
    try:
        from cluster.serving.engines.cross_encoder import found_in

        found = found_in(Path(spec.target).expanduser(), spec.model)
        return _of_texts(spec, engine_id, found.card, found.tokenizer, board, found.encoder)
    except ModuleNotFoundError as error:
        what = f"engine {engine_id} needs the package {error.name}, which is not installed"
        raise ExtraMissing(what, "Run: pip install 'sage-engine[engines]'") from error


def _of_texts(
    spec: EngineSpec,
    engine_id: EngineId,
    card: ModelCard,
    tokenizer: Path,
    board: DeviceBoard | None,
    make_encoder: "Callable[[int, int], Encoder]",
) -> Engine:
    """Return the engine that embeds or scores; `make_encoder` is given threads and staged tokens."""
    from cluster.serving.engines.embed_jobs import EmbedJobs
    from cluster.serving.engines.openvino_embed import OpenvinoEmbed, embed_info
    from cluster.serving.engines.own_until_chat import OwnUntilChat
    from cluster.serving.engines.shared_chat import pause, usable_cpus
    from cluster.serving.engines.shared_embed import SharedEmbed

    num_cpus = len(usable_cpus())
    info = embed_info(engine_id, card, num_cpus)
    jobs = EmbedJobs(info, card, tokenizer)
    mode = spec.sharing.mode
    if board is not None and mode is SharingMode.OFF:
        board.close()
        board = None

    def encoder(num_threads: int, staged_tokens: int) -> "Encoder":
        made = make_encoder(num_threads, staged_tokens)
        made.prewarm(card.context_tokens)
        return made

    def shared(board: DeviceBoard, *, is_meek: bool) -> SharedEmbed:
        few, clock = min(num_cpus, MAX_WORKERS), SystemClock()
        one = partial(encoder, 1, GO_TOKENS)
        return SharedEmbed(
            info, jobs, one, board, spec.sharing, num_cpus=few, clock=clock, sleep=pause, is_meek=is_meek
        )

    if board is not None and mode is not SharingMode.AUTO:
        return shared(board, is_meek=False)
    own = OpenvinoEmbed(info, jobs, encoder(num_cpus, 0))
    if board is None:
        return own
    return OwnUntilChat(jobs, own, partial(shared, board, is_meek=True), board, SystemClock())
