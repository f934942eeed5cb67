"""How long answers will be, learned from answers to prompts about as long. Knows no queue, no engine and no request.

Short answers end first. Where engines fill up, those that ended say little of those that still run: prompts of 1,100
tokens with answers of 390 were believed to have answers of 80 for half of a trace (simulated, 2026-11-23). So what runs
counts for what it has by now: tokens of all, those that run among them, for each that ended. That is the estimate of
greatest likelihood where the end is as near at any length (Epstein and Sobel, Life testing, 1953: exponential lives,
some of them not over), and the plain mean once all have ended.
"""

import math
from dataclasses import dataclass, field

_KEEP = 0.999  # of what was seen with each answer: as many as run at a time in a few engines must count together
_KEEP_PACE = 0.99
_SIZES_AN_OCTAVE = 4  # prompts about as long: of a quarter of an octave
_MIN_SEEN = 4
_NUM_OF_ALL = 2.0  # answers of the length of all stand beside those to prompts of a size
MOST_TOKENS = 1_024.0
"""Believed of what runs while next to nothing has ended: four times what is assumed where nothing is known."""


@dataclass(slots=True)
class _Seen:
    """Answers that ended, forgetting, and those that run: their number, and when they began, summed."""

    tokens: float = 0.0
    num: float = 0.0
    num_running: int = 0
    begun_s: float = 0.0

    def began(self, now_s: float) -> None:
        self.num_running += 1
        self.begun_s += now_s

    def over(self, first_s: float) -> None:
        if self.num_running > 1:
            self.num_running -= 1
            self.begun_s -= first_s
        else:  # what rounding left goes with the last
            self.num_running, self.begun_s = 0, 0.0

    def answered(self, tokens: int) -> None:
        self.tokens = _KEEP * self.tokens + tokens
        self.num = _KEEP * self.num + 1.0

    def mean(self, now_s: float, token_s: float, *, others: float = 0.0, num_others: float = 0.0) -> float:
        """Return the tokens of an answer, where `num_others` of `others` tokens stand beside those seen."""
        so_far_s = max(0.0, self.num_running * now_s - self.begun_s)
        tokens = self.tokens + so_far_s / token_s + num_others * others
        return min(tokens / (self.num + num_others), MOST_TOKENS)


@dataclass(slots=True)
class AnswerLengths:
    """Of the answers of one tenant. Costs O(1) a request."""

    _by_size: dict[int, _Seen] = field(default_factory=dict)
    _all: _Seen = field(default_factory=_Seen)
    _took_s: float = 0.0
    _tokens: float = 0.0

    def began(self, prompt_tokens: int, now_s: float) -> None:
        """Note that the first token of an answer came."""
        self._all.began(now_s)
        self._of(prompt_tokens).began(now_s)

    def over(self, prompt_tokens: int, first_s: float) -> None:
        """Note that an answer that began at `first_s` runs no more."""
        self._all.over(first_s)
        self._of(prompt_tokens).over(first_s)

    def answered(self, prompt_tokens: int, answer_tokens: int, took_s: float) -> None:
        """Learn how long an answer was, and in how many seconds its tokens came after the first."""
        self._all.answered(answer_tokens)
        self._of(prompt_tokens).answered(answer_tokens)
        self._took_s = _KEEP_PACE * self._took_s + took_s
        self._tokens = _KEEP_PACE * self._tokens + answer_tokens

    def expected(self, prompt_tokens: int, now_s: float) -> float | None:
        """Return the tokens of an answer to a prompt of so many; None while too little is known."""
        if self._all.num < _MIN_SEEN - 0.1:  # a few of them, forgotten a little
            return None
        token_s = self._took_s / self._tokens if self._took_s > 0.0 and self._tokens > 0.0 else math.inf
        of_all = self._all.mean(now_s, token_s)
        seen = self._by_size.get(_size(prompt_tokens))
        if seen is None:
            return of_all
        return seen.mean(now_s, token_s, others=of_all, num_others=_NUM_OF_ALL)

    def _of(self, prompt_tokens: int) -> _Seen:
        size = _size(prompt_tokens)
        seen = self._by_size.get(size)
        if seen is None:
            seen = self._by_size[size] = _Seen()
        return seen


def _size(prompt_tokens: int) -> int:
    return int(_SIZES_AN_OCTAVE * math.log2(max(1, prompt_tokens)))
