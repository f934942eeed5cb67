"""How much engines are given before it has worked off what it has. Knows no engine, queue or request.

What waits inside an engine can be ordered no more, and prompts there are worked off one after the other: so as few
prompt tokens are kept inside as the engine needs to be nearly as fast as it can be. It is given as much as the window
and twice as much in turns, and the speeds on prompts are compared: where the smaller is nearly as fast, the window
shrinks, else it grows. (After the gradient of latency against throughput of Netflix's concurrency-limits and TCP
Vegas; within a full engine latency is proportional to the window, so that throughput alone tells. Comparing with the
best speed seen was tried first: chance makes the best ever better, and windows grew without end.)
"""

import math
from dataclasses import dataclass

from cluster.serving.names import unknown

WINDOW_NAMES = ("fixed", "adaptive")

BEGIN_TOKENS = 8_192.0
MIN_TOKENS = 1_024.0
MAX_TOKENS = 16_384.0
MIN_WORK_S = 0.5
"""What an engine works off in so long is given in any case, where one tenant alone has it work: among several what is
inside is in the way of whoever's turn it is. Below that, windows smaller than a prompt were alike, twice the window no
faster, and both shrank to the least: Azure's code lost 4 % of its tokens (simulated)."""
ENOUGH = 0.96  # of the speed with twice the window
GROW, SHRINK = 1.15, 0.9
_TURN = 32  # prompts by one of the two, then as many by the other
_KEEP = 0.995  # weight of what was seen before: about the last two hundred prompts of each count
_MIN_SEEN = 32
_SHARED = 512  # prompts of one tenant alone, and an engine is no more shared


@dataclass(slots=True)
class _Speed:
    """Prompt tokens and seconds, forgetting."""

    tokens: float = 0.0
    took_s: float = 0.0
    num_seen: int = 0

    def saw(self, tokens: int, took_s: float) -> None:
        self.tokens = _KEEP * self.tokens + tokens
        self.took_s = _KEEP * self.took_s + took_s
        self.num_seen += 1


class PromptWindow:
    """The prompt tokens of an engine that may be without their first token; one prompt may go beyond.

    One for all engines that are alike: windows of their own drifted apart by chance, and the work with them.
    """

    def __init__(self, *, is_adaptive: bool) -> None:
        self._is_adaptive = is_adaptive
        self._tokens = BEGIN_TOKENS
        self.tokens = BEGIN_TOKENS if is_adaptive else math.inf
        """How many may be there for another prompt to be given."""
        self._speeds = (_Speed(), _Speed())  # with the window, with twice as much
        self._num_seen = 0
        self._last_tenant: str | None = None
        self._since_other = _SHARED  # prompts of that tenant, one after the other
        self.is_shared = False
        """Whether prompts of several tenants were worked off lately."""
        self._tenants: set[str] = set()  # whose prompts were seen since the window changed: two turns' worth at most

    def worked_off(self, tokens: int, took_s: float, tenant: str) -> None:
        """Note that the engine took so long for so many prompt tokens of a tenant, and had not been out of work."""
        if tenant == self._last_tenant:
            self._since_other += 1
            self.is_shared = self._since_other < _SHARED
        elif self._last_tenant is not None:
            self._since_other, self.is_shared = 0, True
        self._last_tenant = tenant
        if not self._is_adaptive:
            return
        self._speeds[self._turn()].saw(tokens, took_s)
        self._tenants.add(tenant)
        self._num_seen += 1
        if self._num_seen % (2 * _TURN) == 0 and self._num_seen >= 2 * _MIN_SEEN:
            self._adapt()
            self._tenants.clear()
        self.tokens = self._tokens * (1 + self._turn())

    def _turn(self) -> int:
        return self._num_seen // _TURN % 2

    def _adapt(self) -> None:
        one, twice = self._speeds
        if one.tokens * twice.took_s >= ENOUGH * twice.tokens * one.took_s:
            self._tokens = max(SHRINK * self._tokens, self._least())
        else:
            self._tokens = min(GROW * self._tokens, MAX_TOKENS)

    def _least(self) -> float:
        if len(self._tenants) > 1:
            return MIN_TOKENS
        one, twice = self._speeds
        took_s = one.took_s + twice.took_s  # 0 where all first tokens so far came together
        work_tokens = MIN_WORK_S * (one.tokens + twice.tokens) / took_s if took_s > 0.0 else MAX_TOKENS
        return max(MIN_TOKENS, min(work_tokens, MAX_TOKENS))


def is_adaptive(name: str) -> bool:
    """Say whether windows adapt; raises UnknownPolicy with the nearest name."""
    if name not in WINDOW_NAMES:
        raise unknown("window", name, WINDOW_NAMES, plural="windows", param="window")
    return name == "adaptive"
