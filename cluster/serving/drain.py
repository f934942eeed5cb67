"""How fast engines work off what comes, and so when to try again. Knows nothing of what it is that ends."""

import math

_MEMORY_S = 10.0  # what was done counts less by 1/e every so many seconds
_UNKNOWN_S = 1.0  # what is answered while nothing has left yet
_SHORTEST_S = 0.1
_LONGEST_S = 60.0


class DrainRate:
    """An exponentially forgetting rate of what is done."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._since_s: float | None = None
        self._last_s = 0.0

    def left(self, num: float, now_s: float) -> None:
        """Note that `num` requests, or so much work, were done at `now_s`."""
        if self._since_s is None:
            self._since_s = now_s
        elif now_s > self._last_s:  # as `_weight_at`, without a call: each pick comes by here
            self._weight *= math.exp((self._last_s - now_s) / _MEMORY_S)
        self._weight += num
        self._last_s = now_s

    def goes_on(self, now_s: float) -> None:
        """Note that work begins where there was none: the time without any says nothing of the rate."""
        if self._since_s is None:
            self._since_s = now_s
        else:
            self._since_s += now_s - self._last_s
        self._last_s = now_s

    def per_s(self, now_s: float) -> float:
        """Return how much is done a second, over about the last ten seconds or since the first."""
        if self._since_s is None:
            return 0.0
        seen_s = max(now_s - self._since_s, _SHORTEST_S)
        # The weights of a constant rate r since `seen_s` sum to r * memory * (1 - exp(-seen / memory)).
        return self._weight_at(now_s) / (_MEMORY_S * -math.expm1(-seen_s / _MEMORY_S))

    def retry_after_s(self, num_waiting: int, now_s: float) -> float:
        """Return when half of what waits will have left: late enough to find room, early enough to find work."""
        rate_per_s = self.per_s(now_s)
        if rate_per_s <= 0.0:
            return _UNKNOWN_S
        return min(max(num_waiting / 2 / rate_per_s, _SHORTEST_S), _LONGEST_S)

    def _weight_at(self, now_s: float) -> float:
        return self._weight * math.exp(-(now_s - self._last_s) / _MEMORY_S)
