"""How long the answers of a lane take at least, once they have begun. Knows no queue, no engine and no prompt.

Whoever says by when an answer is to be whole is refused at the door only where not even a short one would be: nine of
ten answers were longer, and nine of ten had their tokens no faster. What nobody has asked for lately counts no more, so
that a model whose engines have become quicker is tried again.
"""

import math
from dataclasses import dataclass, field

_LEAST = 0.1  # of the answers seen were shorter, or had their tokens faster
_BUCKETS_AN_OCTAVE = 4
_MIN_SEEN = 20
_MOST_SEEN = 1_024.0  # then all that was seen counts half
_FRESH_S = 60.0


@dataclass(slots=True)
class _Spread:
    """Positive numbers, by quarters of an octave."""

    _by_size: dict[int, float] = field(default_factory=dict)
    num: float = 0.0

    def saw(self, number: float) -> None:
        size = math.floor(_BUCKETS_AN_OCTAVE * math.log2(number))
        self._by_size[size] = self._by_size.get(size, 0.0) + 1.0
        self.num += 1.0
        if self.num > _MOST_SEEN:
            self._by_size = {size: num / 2 for size, num in self._by_size.items() if num > 0.01}
            self.num = sum(self._by_size.values())

    def least(self) -> float:
        """Return what all but `_LEAST` of them are above, a quarter of an octave less at most. O(sizes seen)."""
        left = _LEAST * self.num
        for size in sorted(self._by_size):
            left -= self._by_size[size]
            if left <= 0.0:
                return float(2.0 ** (size / _BUCKETS_AN_OCTAVE))
        return 0.0


@dataclass(slots=True)
class WholeAnswers:
    """Of the answers of one lane. Costs O(1) an answer."""

    _tokens: _Spread = field(default_factory=_Spread)
    _token_s: _Spread = field(default_factory=_Spread)
    _seen_s: float = -math.inf

    def answered(self, tokens: int, took_s: float, now_s: float) -> None:
        """Learn that an answer of so many tokens took so long from its first token to its last."""
        self._tokens.saw(max(1, tokens))
        if tokens > 1 and took_s > 0.0:
            self._token_s.saw(took_s / (tokens - 1))
        self._seen_s = now_s

    def least_s(self, most_tokens: float, now_s: float) -> float:
        """Return in how many seconds after its first token a short answer of at most `most_tokens` is whole; 0 where
        too little is known."""
        if now_s - self._seen_s > _FRESH_S or self._token_s.num < _MIN_SEEN:
            return 0.0
        return max(0.0, min(self._tokens.least(), most_tokens) - 1.0) * self._token_s.least()
