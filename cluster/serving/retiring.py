"""The engines that are to end once they have answered what they work on. Pure; knows no socket and no request."""

import math

from cluster.serving.account import EngineAccount
from sage.base.errors import EngineLost
from sage.base.ids import EngineId
from sage.base.inference import Failure

_ENDED = Failure.of(EngineLost("it was ended on purpose", "Ask again."))


class Retiring:
    """The accounts of engines that retire, and until when each may work."""

    def __init__(self) -> None:
        self._accounts: dict[EngineId, tuple[EngineAccount | None, float]] = {}

    def add(self, engine_id: EngineId, account: EngineAccount | None, due_s: float) -> None:
        """Have an engine end by `due_s`; one without an account, which is starting, ends at once."""
        _, before_s = self._accounts.get(engine_id, (None, math.inf))
        self._accounts[engine_id] = (account, min(due_s, before_s))

    def remove(self, engine_id: EngineId) -> None:
        self._accounts.pop(engine_id, None)

    def earliest_s(self) -> float:
        """Return when the next has worked long enough; infinite where none retires."""
        return min((due_s for _, due_s in self._accounts.values())) if self._accounts else math.inf

    def over(self, now_s: float) -> dict[EngineId, Failure]:
        """Return the engines that are to end now, each once: they hold nothing, or have worked long enough."""
        over = [
            engine_id
            for engine_id, (account, due_s) in self._accounts.items()
            if account is None or not account.held or due_s <= now_s
        ]
        for engine_id in over:
            del self._accounts[engine_id]
        return dict.fromkeys(over, _ENDED)
