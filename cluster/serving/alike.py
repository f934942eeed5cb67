"""What engines that are alike share: what is learned of one is learned of all. Knows no router."""

from dataclasses import dataclass

from cluster.serving.adapter_loads import AdapterLoads
from cluster.serving.engines.port import EngineInfo
from cluster.serving.speeds import Speed, is_cpu
from cluster.serving.window import PromptWindow


@dataclass(frozen=True, slots=True)
class Alike:
    """The window for prompts, the time of loads and the speed of engines that are alike."""

    window: PromptWindow
    loads: AdapterLoads
    speed: Speed


def key_of(info: EngineInfo) -> tuple[object, ...]:
    """Return what engines that are alike have in common."""
    return info.kind, info.device, info.models, info.max_running


def alike_of(info: EngineInfo, *, is_adaptive: bool) -> Alike:
    """Return what the first of some engines that are alike begins with."""
    context_tokens = max((card.context_tokens for card in info.models), default=0)
    speed = Speed(is_cpu(info.device), frozenset(card.name for card in info.models), context_tokens)
    return Alike(PromptWindow(is_adaptive=is_adaptive), AdapterLoads(), speed)
