"""Whether and when a lost engine is started again. Pure: whoever asks brings the time. Knows no process and no node.

At once the first time, then after longer and longer pauses; one that worked for long begins from the first pause again.
Once the budget is spent it stays down until somebody wants it anew.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sage.base.errors import ConfigInvalid, EngineStartFailed, ExtraMissing, ModelMissing, UnknownModel
from sage.base.ids import EngineId
from sage.base.inference import Failure

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 10.0
STEADY_S = 60.0
BUDGET = 12
BUDGET_WITHIN_S = 600.0

_FOR_GOOD = frozenset({ConfigInvalid.code, ExtraMissing.code, ModelMissing.code, UnknownModel.code})
"""What comes of it again, however often it is tried."""


@dataclass(slots=True)
class _Engine:
    """`num_quick`: losses since it last worked for long."""

    ready_s: float | None = None
    was_ready: bool = False
    num_quick: int = 0
    lost_s: deque[float] = field(default_factory=deque)


class Restarts:
    """The engines of one control plane."""

    def __init__(self) -> None:
        self._engines: dict[EngineId, _Engine] = {}

    @property
    def num_restarts(self) -> Mapping[EngineId, int]:
        """How often each was lost within the budget's time."""
        return MappingProxyType({engine_id: len(engine.lost_s) for engine_id, engine in self._engines.items()})

    def ready(self, engine_id: EngineId, now_s: float) -> None:
        """Note that an engine works from now on."""
        engine = self._engines.setdefault(engine_id, _Engine())
        engine.ready_s, engine.was_ready = now_s, True

    def lost(self, engine_id: EngineId, failure: Failure, now_s: float) -> float | None:
        """Return after how many seconds to start it again; None: not at all, and it is forgotten.

        One that never was ready is not started again where it said itself why it cannot be.
        """
        engine = self._engines.setdefault(engine_id, _Engine())
        if engine.ready_s is not None and now_s - engine.ready_s >= STEADY_S:
            engine.num_quick = 0
        engine.ready_s = None
        while engine.lost_s and engine.lost_s[0] <= now_s - BUDGET_WITHIN_S:
            engine.lost_s.popleft()
        is_hopeless = failure.code in _FOR_GOOD or (not engine.was_ready and failure.code == EngineStartFailed.code)
        if is_hopeless or len(engine.lost_s) >= BUDGET:
            del self._engines[engine_id]
            return None
        engine.lost_s.append(now_s)
        engine.num_quick += 1
        return float(min(FIRST_PAUSE_S * 2 ** (engine.num_quick - 1), LAST_PAUSE_S))

    def moved(self, engine_id: EngineId) -> None:
        """Note that it was ended on purpose, to begin again elsewhere: nothing is held against it."""
        if (engine := self._engines.get(engine_id)) is not None:
            engine.ready_s = None
