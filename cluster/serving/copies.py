"""When what an engine has cached of a prompt is worth a copy on one that stands idle. Knows no queue.

Who stays with the holder of its beginning waits behind what that works on, and decodes beside it. What that costs is
summed for each beginning; once it has come to what a copy takes, the next request that asks for it goes to the idle
engine. So both together are at most twice what the better of the two had been, known beforehand (the ski rental of
Karlin et al., 1988). A conversation that goes on has another, longer beginning each time: no copies are made of it.

Without it one beginning that all share brought all requests to one of four engines, up to 16 at once; on two cores with
a beginning of 2,048 tokens and 8 at once answers took 4,258 ms in place of 2,317 (rough, simulated, 2026-11-24).
"""

from bisect import bisect_right

from cluster.serving.account import EngineAccount
from cluster.serving.recent import Recent
from cluster.serving.size import PromptPrefix
from cluster.serving.ticket import Staying

MAX_BEGINNINGS = 4_096

WORK_BESIDE = 0.25
"""Of the work at an engine, what it costs the next request there: the iteration that it waits for, and longer ones for
its answer. Beside one that has an answer of 150 tokens, and so a work of 2,150, a second is later by 970, 710 and 830
prompt tokens on an H100, an A100 and two cores (rough, simulated)."""


class Copies:
    """What staying with the holders of each beginning has cost, in prompt tokens. O(1) but for one look at a prompt."""

    def __init__(self) -> None:
        self._spent: Recent[int, float] = Recent(MAX_BEGINNINGS)

    def staying(
        self, prefix: PromptPrefix, cached_tokens: int, holder: EngineAccount, idle: EngineAccount, own_tokens: int
    ) -> Staying:
        """Return whether a prompt of which `holder` has `cached_tokens` stays there or is to go to `idle`, that has
        `own_tokens` of it. Nothing counts before `went`."""
        beginning = prefix.hashes[bisect_right(prefix.ends_tokens, cached_tokens) - 1]
        if 0.0 < (self._spent.get(beginning) or 0.0) >= cached_tokens - own_tokens:
            return Staying(idle.info.engine_id, beginning, None)
        return Staying(holder.info.engine_id, beginning, holder.prefill_tokens + WORK_BESIDE * holder.work)

    def went(self, staying: Staying) -> None:
        """Note that a prompt was given to the engine that was chosen so."""
        spent = self._spent.get(staying.beginning) or 0.0
        self._spent.put(staying.beginning, 0.0 if staying.costs_tokens is None else spent + staying.costs_tokens)
