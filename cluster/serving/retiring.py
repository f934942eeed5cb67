"""The engines that are to end once they have answered what they work on. Pure; knows no socket and no request."""

import math

from cluster.serving.account import EngineAccount
from sage.base.errors import EngineLost
from sage.base.ids import EngineId
from sage.base.inference import Failure

RETIRE_S = 30.0
"""How long an engine that is to end may still work on what it holds."""

_MOVED = Failure.of(EngineLost("it was ended to begin again elsewhere", "Ask again."))


class Retiring:
    """The accounts of engines that retire, and until when each may work."""

    def __init__(self) -> None:
        self._accounts: dict[EngineId, tuple[EngineAccount, float]] = {}

    def add(self, account: EngineAccount | None, now_s: float) -> None:
        """Have the engine of this account end in time; None is no engine."""
        if account is not None:
            self._accounts.setdefault(account.info.engine_id, (account, now_s + RETIRE_S))

    def remove(self, engine_id: EngineId) -> None:
        self._accounts.pop(engine_id, None)

    def earliest_s(self) -> float:
        """Return when the next has worked long enough; infinite where none retires."""
        return min((due_s for _, due_s in self._accounts.values())) if self._accounts else math.inf

    def over(self, now_s: float) -> dict[EngineId, Failure]:
        """Return the engines that are to end now, each once: they hold nothing, or have worked long enough."""
        over = [
            engine_id for engine_id, (account, due_s) in self._accounts.items() if not account.held or due_s <= now_s
        ]
        for engine_id in over:
            del self._accounts[engine_id]
        return dict.fromkeys(over, _MOVED)
