"""An index that compares with every vector it holds: exact, and fast enough to some 100,000. Knows nothing of flows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sage.base.errors import InternalError, InvalidRequest
from sage.flow.index import Passage

_MAX_SCORES = 1 << 24
"""Scores held at once while searching: 64 MiB of float32; more questions are searched in turn."""

_ROUNDED_DIGITS = 6
"""Scores nearer than this are one: float32 sums differ in the last digits with the order of addition."""


class ExactIndex:
    """Cosine over float32 rows: one matrix product for all questions of a batch."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._dim: int | None = None
        self._parts: dict[str, _Part] = {}

    def __len__(self) -> int:
        return sum(len(part.passages) for part in tuple(self._parts.values()))

    def checked(self, vector: Any, *, settles: bool = False) -> NDArray[np.float32]:
        """Return `vector` as float32 [dim]; where it `settles`, the first ever sets `dim`. Raises InvalidRequest."""
        try:
            row = np.asarray(vector, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise InvalidRequest(f"a {type(vector).__name__} is no vector: {error}", _DO_EMBED) from error
        if row.ndim != 1 or len(row) == 0:
            raise InvalidRequest(f"a vector is one row of numbers, but this has shape {row.shape}", _DO_EMBED)
        if not np.isfinite(row).all():
            raise InvalidRequest("the vector has a number that is infinite or not a number", _DO_EMBED)
        if self._dim is None and settles:
            self._dim = len(row)
        if self._dim is not None and len(row) != self._dim:
            raise InvalidRequest(
                f"the vector has {len(row)} numbers, but those of the index {self._name!r} have {self._dim}",
                "Embed questions and texts with the same model.",
            )
        return row

    def add(self, part: str, vectors: NDArray[np.float32], passages: Sequence[tuple[str, str]]) -> None:
        """Add checked vectors [num, dim] and the `(text, source)` of each, in order, to the part of one writer."""
        if self._dim is None or vectors.shape != (len(passages), self._dim):
            raise InternalError(f"{vectors.shape} vectors for {len(passages)} passages of dim {self._dim}")
        if part not in self._parts:
            self._parts[part] = _Part(self._dim)
        self._parts[part].add(_normalised(vectors), passages)

    def drop(self, part: str) -> None:
        """Forget what an earlier run of the same task has added, if one has."""
        self._parts.pop(part, None)

    def entries(self, part: str) -> Sequence[tuple[NDArray[np.float32], str, str]]:
        """Return `(vector, text, source)` of what the part holds now, in order; not changed by what is added later."""
        return self._parts[part].entries() if part in self._parts else ()

    def search(self, vectors: NDArray[np.float32], k: int) -> list[list[Passage]]:
        """Return, for each checked vector of [num, dim], at most `k` passages: best first, then as they were added.

        Raises InvalidRequest where the index is empty.
        """
        parts = [self._parts[name] for name in sorted(self._parts)]
        num_rows = sum(len(part.passages) for part in parts)
        if num_rows == 0:
            raise InvalidRequest(
                f"the index {self._name!r} is empty", "Fill it first: index_into in this flow, or in one run before."
            )
        num_at_once = max(1, _MAX_SCORES // num_rows)
        found: list[list[Passage]] = []
        for start in range(0, len(vectors), num_at_once):
            found.extend(_nearest(parts, _normalised(vectors[start : start + num_at_once]), k))
        return found


class _Part:
    """What one writer added: rows in a buffer that doubles when it is full."""

    def __init__(self, dim: int) -> None:
        self._buffer: NDArray[np.float32] = np.empty((256, dim), np.float32)
        self.passages: list[tuple[str, str]] = []

    @property
    def rows(self) -> NDArray[np.float32]:
        return self._buffer[: len(self.passages)]

    def entries(self) -> "_Entries":
        return _Entries(self.rows, self.passages, len(self.passages))

    def add(self, rows: NDArray[np.float32], passages: Sequence[tuple[str, str]]) -> None:
        num_old, num_new = len(self.passages), len(self.passages) + len(passages)
        if num_new > len(self._buffer):
            grown = np.empty((max(num_new, 2 * len(self._buffer)), self._buffer.shape[1]), np.float32)
            grown[:num_old] = self.rows
            self._buffer = grown
        self._buffer[num_old:num_new] = rows
        self.passages.extend(passages)


class _Entries(Sequence[tuple[NDArray[np.float32], str, str]]):
    """The first `num` rows and passages of a part: what is added later is beyond them, so nothing is copied."""

    def __init__(self, rows: NDArray[np.float32], passages: list[tuple[str, str]], num: int) -> None:
        self._rows = rows
        self._passages = passages
        self._num = num

    def __len__(self) -> int:
        return self._num

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._entry(number) for number in range(*at.indices(self._num))]
        return self._entry(range(self._num)[at])

    def _entry(self, number: int) -> tuple[NDArray[np.float32], str, str]:
        return (self._rows[number], *self._passages[number])


def _nearest(parts: Sequence[_Part], questions: NDArray[np.float32], k: int) -> list[list[Passage]]:
    scores = np.concatenate([questions @ part.rows.T for part in parts], axis=1)
    passages = [passage for part in parts for passage in part.passages] if len(parts) > 1 else parts[0].passages
    return [[Passage(passages[at][0], score, passages[at][1]) for at, score in _best(row, k)] for row in scores]


def _best(scores: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
    """Return the `k` best positions of a row and their scores: a partition finds the least of them, then few remain."""
    least = np.partition(scores, -k)[-k] if k < len(scores) else -2.0
    positions = np.flatnonzero(scores >= least - 10.0**-_ROUNDED_DIGITS)
    rounded = np.round(scores[positions].astype(np.float64), _ROUNDED_DIGITS)
    order = np.argsort(-rounded, kind="stable")[:k]
    return list(zip(positions[order].tolist(), rounded[order].tolist(), strict=True))


def _normalised(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return rows of length 1; a row of zeros stays one, and its cosine with everything is 0."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths == 0.0, 1.0, lengths)).astype(np.float32, copy=False)


_DO_EMBED = "Let an embed step make it, and name the field it is in: vector=..."
