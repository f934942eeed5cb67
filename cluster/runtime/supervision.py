"""How often an actor may be restarted. Pure; knows no actor."""

from collections import deque


class RestartBudget:
    """At most `num_restarts` within any `within_s` seconds."""

    def __init__(self, *, num_restarts: int = 5, within_s: float = 60.0) -> None:
        self._num_restarts = num_restarts
        self._within_s = within_s
        self._at_s: deque[float] = deque()

    def allows(self, now_s: float) -> bool:
        """Count a restart at `now_s` and return True, or return False where the budget is spent."""
        while self._at_s and self._at_s[0] <= now_s - self._within_s:
            self._at_s.popleft()
        if len(self._at_s) >= self._num_restarts:
            return False
        self._at_s.append(now_s)
        return True
