"""The stream workloads: one computation each, as a flow and as the plain loop that is its limit, with an oracle.

Knows nothing of clocks, runners or files. The loop calls the user functions of the flow;
it has no key function, because a loop needs none.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import sage
from benchmarks.integers import grow, halve, is_even
from benchmarks.texts import Corpus, words_of

Outcome = object
"""What a run came to; two forms agree when their outcomes are equal."""


class Workload(Protocol):
    """One computation on one input. `data` says what the input is; `num_records` is what rates are counted in."""

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> str: ...

    @property
    def num_records(self) -> int: ...

    def plain(self) -> Outcome:
        """Compute in a plain loop."""
        ...

    def flow(self) -> "tuple[sage.Flow, Callable[[], Outcome]]":
        """Return a flow that computes, and what reads its outcome once it has ended."""
        ...

    def expected(self) -> Outcome:
        """Compute in a third way, that has nothing in common with the other two."""
        ...


@dataclass(slots=True)
class Counted:
    """Counts and sums what ends a stream, a batch a call."""

    num: int = 0
    total: int = 0

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.num += len(batch)
        self.total += sum(batch)
        return []


@dataclass(frozen=True, slots=True)
class Stateless:
    """W1: map, filter, map over integers; what comes out is counted and summed."""

    num_records: int
    name: str = "W1"

    @property
    def data(self) -> str:
        return f"integers below {self.num_records:,}"

    def plain(self) -> Outcome:
        num = total = 0
        for value in range(self.num_records):
            grown = grow(value)
            if is_even(grown):
                num += 1
                total += halve(grown)
        return num, total

    def flow(self) -> tuple[sage.Flow, Callable[[], Outcome]]:
        totals = Counted()
        flow = sage.Flow("w1-stateless")
        numbers = flow.from_collection(range(self.num_records))
        numbers.map(grow).filter(is_even).map(halve).map_batches(totals).collect()
        return flow, lambda: (totals.num, totals.total)

    def expected(self) -> Outcome:
        """Only odd values grow into even ones: 3v + 1 halves to (3v + 1) / 2."""
        odd = range(1, self.num_records, 2)
        return len(odd), (3 * sum(odd) + len(odd)) // 2


@dataclass(slots=True)
class _Latest:
    """Keeps the latest count of every word, a batch a call."""

    counts: dict[str, int] = field(default_factory=dict)
    num_updates: int = 0

    def __call__(self, batch: Sequence[tuple[str, int]]) -> list[int]:
        self.counts.update(batch)
        self.num_updates += len(batch)
        return []


def same(word: str) -> str:
    return word


@dataclass(frozen=True, slots=True)
class WordCount:
    """W2: a running count a word; every update leaves the stream."""

    corpus: Corpus
    name: str = "W2"

    @property
    def data(self) -> str:
        return self.corpus.name

    @property
    def num_records(self) -> int:
        return self.corpus.num_words

    def plain(self) -> Outcome:
        state: dict[str, int] = {}
        latest: dict[str, int] = {}
        num_updates = 0
        for line in self.corpus.lines:
            for word in words_of(line):
                count = state.get(word, 0) + 1
                state[word] = count
                latest[word] = count
                num_updates += 1
        return num_updates, latest

    def flow(self) -> tuple[sage.Flow, Callable[[], Outcome]]:
        latest = _Latest()
        flow = sage.Flow("w2-word-count")
        lines = flow.from_collection(self.corpus.lines)
        lines.flat_map(words_of).key_by(same).count().map_batches(latest).collect()
        return flow, lambda: (latest.num_updates, latest.counts)

    def expected(self) -> Outcome:
        counts = Counter(words_of(" ".join(self.corpus.lines)))
        return counts.total(), dict(counts)
