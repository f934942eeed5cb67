"""What the plane is told of simulated engines, and how their names tell which device they are on."""

from benchmarks.simulator.arrival import Trace
from benchmarks.simulator.engine import EngineModel
from cluster.serving.engines.cost import CostModel
from cluster.serving.engines.figures import EngineFigures
from cluster.serving.engines.port import EngineInfo
from sage.base.ids import EngineId
from sage.base.inference import Kind, ModelCard

MODEL = "simulated"
TEXT_MODEL = "simulated-texts"
DIM = 384  # of vectors, which nobody makes here
_REQUESTS_OF_TEXTS = 64  # held by an embedding engine at once, as by one of OpenVINO
_CONTEXT_TOKENS = 1 << 30
_OF_TEXTS = "-texts"


def info_of_chat(number: int, costs: CostModel, trace: Trace, max_running: int, adapter_slots: int) -> EngineInfo:
    """Return what the chat engine of device `number` is: it has the model, and the adapters that a trace asks for."""
    adapters = sorted({arrival.adapter for arrival in trace.arrivals if arrival.adapter is not None})
    kinds = (Kind.GENERATE,)
    cards = (
        ModelCard(MODEL, kinds, _CONTEXT_TOKENS),
        *(ModelCard(name, kinds, _CONTEXT_TOKENS, parent=MODEL) for name in adapters),
    )
    return EngineInfo(
        EngineId(str(number)), "simulated", costs.device, True, cards, max_running, adapter_slots=adapter_slots
    )


def info_of_texts(number: int, costs: CostModel) -> EngineInfo:
    """Return what the embedding engine of device `number` is."""
    cards = (ModelCard(TEXT_MODEL, (Kind.EMBED,), costs.context_tokens, DIM),)
    engine_id = text_engine(number)
    return EngineInfo(engine_id, "simulated", costs.device, True, cards, _REQUESTS_OF_TEXTS, costs.max_batch_texts)


def kv_of(engine: EngineModel, kv_tokens: int) -> EngineFigures:
    """Return what an engine with memory for `kv_tokens` says of it."""
    return EngineFigures(
        num_running=engine.num_at_work,
        num_waiting=engine.num_running - engine.num_at_work,
        kv_used=min(1.0, engine.used_tokens / kv_tokens),
        num_preempted=engine.num_preempted,
        kv_tokens=kv_tokens,
    )


def text_engine(number: int) -> EngineId:
    """Return the name of the embedding engine of a device.

    >>> device_of(text_engine(3)), device_of(EngineId("3"))
    (3, 3)
    """
    return EngineId(f"{number}{_OF_TEXTS}")


def device_of(engine_id: EngineId) -> int:
    """Return the number of the device that an engine is on."""
    return int(engine_id.removesuffix(_OF_TEXTS))
