"""What the turns of a set-up come to, and how much better one is than another. Pure; runs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import fmean

NUM_SAMPLES = 2000  # of the bootstrap
MOST_P99 = 1.1
"""Of chat's p99 between two tokens, against chat alone: what a set-up may cost it."""
MOST_P50 = 1.5
TARGET_P99 = 1.2
"""The same where embeddings have a target too."""
TARGET_EMBEDDING_MS = 150.0


@dataclass(slots=True)
class SetUpTurns:
    """All turns of one set-up at one load. `works`: of each turn, shares of what chat and embeddings can do alone."""

    gaps_ms: list[float] = field(default_factory=list)
    embedding_ms: list[float] = field(default_factory=list)
    works: list[float] = field(default_factory=list)
    embedding_tokens: int = 0
    seconds: float = 0.0
    num_tokens: int = 0

    def gap_ms(self, share: float) -> float:
        return percentile(self.gaps_ms, share)

    @property
    def embedding_tokens_per_s(self) -> float:
        return self.embedding_tokens / self.seconds if self.seconds else 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile; 0.0 of nothing.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 0.5)
    2.0
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0.0


def keeps_chat(turns: SetUpTurns, alone: SetUpTurns, *, most_p99: float = MOST_P99, most_p50: float = MOST_P50) -> bool:
    """Say whether chat is about as fast in this set-up as alone."""
    is_even = turns.gap_ms(0.5) <= most_p50 * alone.gap_ms(0.5)
    return is_even and turns.gap_ms(0.99) <= most_p99 * alone.gap_ms(0.99)


def best_of(separate: Mapping[str, SetUpTurns], alone: SetUpTurns) -> str:
    """Return the set-up with the most work among those that keep chat; where none does, the one nearest to it."""
    keeping = [name for name, turns in separate.items() if keeps_chat(turns, alone)]
    if keeping:
        return max(keeping, key=lambda name: fmean(separate[name].works))
    return min(separate, key=lambda name: separate[name].gap_ms(0.99))


def ratio_of(ours: Sequence[float], theirs: Sequence[float], *, seed: int) -> tuple[float, float, float]:
    """Return the ratio of the means with its 95 % interval, by resampling turns taken side by side.

    >>> ratio_of([2.0, 2.0, 2.0], [1.0, 1.0, 1.0], seed=1)
    (2.0, 2.0, 2.0)
    """
    rng, pairs = Random(seed), list(zip(ours, theirs, strict=True))
    ratios = []
    for _ in range(NUM_SAMPLES):
        sample = rng.choices(pairs, k=len(pairs))
        below = sum(their for _, their in sample)
        ratios.append(sum(our for our, _ in sample) / below if below else 0.0)
    whole = sum(theirs)
    return (sum(ours) / whole if whole else 0.0, percentile(ratios, 0.025), percentile(ratios, 0.975))
