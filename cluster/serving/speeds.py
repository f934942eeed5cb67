"""How engines of one model compare: how much slower some are, as CPUs beside GPUs. Pure; knows no request and no queue.

Engines that are alike share what is learned. Before anything is, the kind of their device is taken for it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

ASSUMED_OF_CPU = 16.0
"""How much slower CPUs work off a prompt than whatever else serves the model, before either was seen at it: assumed."""

_MIN_SEEN = 8  # prompts
_KEEP = 0.98  # of the sums with each prompt: about the last fifty count
_FAR = 0.75
"""Powers of two: what differs by less (1.7 times) counts as alike. A loaded engine seems slower than an idle one."""


@dataclass(slots=True, eq=False)
class Speed:
    """The speed of engines that are alike. `slowness`: how many times as long they take for a prompt as the fastest of
    the model do; 1 for those, and for all that are not far from them. `is_short`: others of the model have a longer
    context. `is_best`: neither is so."""

    is_cpu: bool = False
    models: frozenset[str] = frozenset()
    context_tokens: int = 0
    is_short: bool = False
    is_best: bool = True
    num_engines: int = 0
    slowness: float = 1.0
    num_seen: int = 0
    _tokens: float = 0.0
    _took_s: float = 0.0

    def saw(self, tokens: int, took_s: float) -> None:
        """Note how long a prompt took."""
        self.num_seen += 1
        self._tokens = _KEEP * self._tokens + tokens
        self._took_s = _KEEP * self._took_s + took_s

    @property
    def token_s(self) -> float | None:
        """Seconds a prompt token; None while too little was seen."""
        return self._took_s / self._tokens if self.num_seen >= _MIN_SEEN and self._took_s > 0.0 else None


@dataclass(slots=True)
class Speeds:
    """The speeds of all engines that are up, compared with those that serve the same model."""

    _speeds: list[Speed] = field(default_factory=list)

    @property
    def are_many(self) -> bool:
        return len(self._speeds) > 1

    def came(self, speed: Speed) -> list[Speed]:
        """Let one more engine of a speed be up; return the speeds that compare otherwise now."""
        speed.num_engines += 1
        if speed.num_engines == 1:
            self._speeds.append(speed)
        return self._compared(speed)

    def left(self, speed: Speed) -> list[Speed]:
        """Let one be up no more; return the speeds that compare otherwise now."""
        speed.num_engines -= 1
        if speed.num_engines:
            return []
        self._speeds.remove(speed)
        return self._compared(speed)

    def saw(self, speed: Speed, tokens: int, took_s: float) -> list[Speed]:
        """Note how long a prompt took; return the speeds that compare otherwise now."""
        speed.saw(tokens, took_s)
        return [] if speed.num_seen % _MIN_SEEN else self._compared(speed)

    def _compared(self, speed: Speed) -> list[Speed]:
        """Compare the speeds that have a model in common with one, that one too while it is up, each with all that have
        one in common with it."""
        changed = []
        for each in self._beside(speed):
            beside = self._beside(each)
            slowness = dict(zip(beside, _slownesses(beside), strict=True))[each]
            before = each.slowness, each.is_short
            each.is_short = each.context_tokens < max(other.context_tokens for other in beside)
            if slowness == 1.0 or abs(math.log2(slowness / each.slowness)) > _FAR:
                each.slowness = slowness
            each.is_best = each.slowness == 1.0 and not each.is_short
            if before != (each.slowness, each.is_short):
                changed.append(each)
        return changed

    def _beside(self, speed: Speed) -> list[Speed]:
        return [each for each in self._speeds if each is speed or each.models & speed.models]


def _slownesses(speeds: Iterable[Speed]) -> list[float]:
    """Return how much slower each is than the fastest: as was seen where that is known of all, else by the device."""
    speeds = list(speeds)
    seen = [each.token_s for each in speeds]
    known = [token_s for token_s in seen if token_s is not None]
    if len(known) == len(seen):
        fastest = min(known, default=1.0)
        ratios = [token_s / fastest for token_s in known]
    else:
        are_mixed = len({each.is_cpu for each in speeds}) > 1
        ratios = [ASSUMED_OF_CPU if each.is_cpu and are_mixed else 1.0 for each in speeds]
    return [ratio if math.log2(ratio) > _FAR else 1.0 for ratio in ratios]


def is_cpu(device: str) -> bool:
    """Say whether a device, as an engine names its own, is the CPUs of a machine.

    >>> is_cpu("CPU, 2 threads"), is_cpu("simulated: 2 x86-64 cores"), is_cpu("GPU"), is_cpu("http://h:8000/v1")
    (True, True, False, False)
    """
    return device.startswith("CPU") or " cores" in device
