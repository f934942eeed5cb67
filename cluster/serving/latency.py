"""How long an engine will take, learned from how long it took. Knows nothing of queues or requests.

The time to work off a prompt is a line over its tokens for each of a few batch sizes: with each chunk of it all that
decode get a token too, so the line is steeper the more there are. The time of a token is a table over the batch size,
since the measured times are no line (a plain linear model of the first token explained 0.14-0.35 of the variance where
decoding binds: simulation over measured tables, 2026-11-22).
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence

_FORGET = 0.98  # weight of what was seen before, with each new observation: about the last fifty count
_OUTLIER = 3.0  # residuals beyond so many mean residuals count as if they were as large as that
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
_NUM_KEPT = 256
_BESIDE = (0, 4, 16, 32, 64, 96, 128)  # sequences beside a prompt: up to so many share a line
_MIN_SEEN = 8  # prompts before a line is trusted


class DecodeTable:
    """Seconds for one token of each of so many sequences; between the sizes that were seen, joined by lines."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}
        self._seen: list[int] = []  # its sizes, rising

    def observe(self, num_sequences: float, token_s: float) -> None:
        """Note that sequences decoded together, `num_sequences` on average, got a token every `token_s` seconds."""
        at = bisect_left(_SIZES, num_sequences)
        size = _SIZES[at] if at < len(_SIZES) else _SIZES[-1]
        before = self._seconds.get(size)
        if before is None:
            insort(self._seen, size)
        self._seconds[size] = token_s if before is None else 0.9 * before + 0.1 * token_s

    def token_s(self, num_sequences: float) -> float | None:
        """Return seconds a token; None before anything was seen. Beyond what was seen, the nearest that was."""
        seen = self._seen
        if not seen or num_sequences <= 0.0:
            return 0.0 if seen else None
        at = bisect_left(seen, num_sequences)
        if at == 0 or at == len(seen):
            return self._seconds[seen[min(at, len(seen) - 1)]]
        low, high = seen[at - 1], seen[at]
        share = (num_sequences - low) / (high - low)
        return self._seconds[low] + share * (self._seconds[high] - self._seconds[low])


class RobustLine:
    """`y = fixed + slope * x`, by least squares over what was seen lately; one outlier does not bend it."""

    __slots__ = ("_mean_x", "_mean_y", "_n", "_residual", "_slope", "_x", "_xx", "_xy", "_y", "num_seen")

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        self._mean_x = self._mean_y = 0.0
        self._slope: float | None = None  # None where all x were alike
        self._residual = 0.0
        self.num_seen = 0

    def observe(self, x: float, y: float) -> None:
        guess = self.at(x)
        if guess is not None:
            residual = abs(y - guess)
            if self.num_seen >= 8 and residual > _OUTLIER * self._residual:
                y = guess + math.copysign(_OUTLIER * self._residual, y - guess)
            self._residual = residual if not self._residual else 0.9 * self._residual + 0.1 * residual
        self.num_seen += 1
        self._n = n = _FORGET * self._n + 1.0
        self._x = sum_x = _FORGET * self._x + x
        self._y = sum_y = _FORGET * self._y + y
        self._xx = sum_xx = _FORGET * self._xx + x * x
        self._xy = sum_xy = _FORGET * self._xy + x * y
        self._mean_x, self._mean_y = mean_x, mean_y = sum_x / n, sum_y / n
        square = mean_x * mean_x
        spread = sum_xx / n - square
        if spread <= (1e-9 * square if square > 1.0 else 1e-9):
            self._slope = None
        else:
            slope = (sum_xy / n - mean_x * mean_y) / spread
            self._slope = slope if slope > 0.0 else 0.0

    def at(self, x: float) -> float | None:
        """Return the value at `x`, never below zero; None before anything was seen."""
        if not self.num_seen:
            return None
        mean_x, slope = self._mean_x, self._slope
        if slope is None:
            y = self._mean_y * x / mean_x if mean_x > 0.0 and x > mean_x else self._mean_y
        else:
            y = self._mean_y + slope * (x - mean_x)
        return y if y > 0.0 else 0.0


class PromptLines:
    """Seconds for a prompt beside so many sequences: a line for each of a few batch sizes, and one for all."""

    def __init__(self) -> None:
        self._lines = [RobustLine() for _ in range(len(_BESIDE) + 1)]
        self._all = RobustLine()

    def observe(self, tokens: float, num_decoding: float, took_s: float) -> None:
        self._lines[bisect_left(_BESIDE, num_decoding)].observe(tokens, took_s)
        self._all.observe(tokens, took_s)

    def at(self, tokens: float, num_decoding: float) -> float | None:
        """Return the seconds by the line of this batch size, or by that of all where it has seen too little."""
        line = self._lines[bisect_left(_BESIDE, num_decoding)]
        return (line if line.num_seen >= _MIN_SEEN else self._all).at(tokens)


class LatencyModel:
    """One engine's times. Costs O(1) an observation and a forecast."""

    def __init__(self) -> None:
        self._prompts = PromptLines()
        self._decode = DecodeTable()
        self.saw_decode = self._decode.observe
        self.first_token_s = self._prompts.at
        """Returns how long so many prompt tokens take beside so many sequences; None before any were seen."""
        self._errors: deque[float] = deque(maxlen=_NUM_KEPT)

    def saw_first_token(self, tokens: int, num_decoding: float, took_s: float, *, error: float | None = None) -> None:
        """Note that so many prompt tokens that were not cached were worked off in `took_s`, while `num_decoding`
        sequences decoded. `error`: by how much of it a forecast of the first token was wrong; else this model's own."""
        if error is not None:
            self._errors.append(error)
        elif (guess_s := self.first_token_s(tokens, num_decoding)) is not None:
            self._errors.append(abs(guess_s - took_s) / max(took_s, 1e-3))
        self._prompts.observe(float(tokens), num_decoding, took_s)

    def token_s(self, num_sequences: float) -> float | None:
        return self._decode.token_s(num_sequences)

    def errors(self) -> tuple[float, float] | None:
        """Return the relative error of forecasts of the first token, p50 and p90 of the last 256; None without any."""
        if not self._errors:
            return None
        ordered = sorted(self._errors)
        return _quantile(ordered, 0.5), _quantile(ordered, 0.9)


def _quantile(values: Sequence[float], share: float) -> float:
    return values[min(int(share * len(values)), len(values) - 1)]
