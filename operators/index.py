"""Indexes as a port, and where the tasks of one process find them by name. Knows no way to search.

The rule for threads: each task that writes an index has a part of its own, named after it; an index is read only once
the tasks that write it have ended (the plan's completion channel sees to it). So an index takes no lock.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from sage.base.ids import TaskId
from sage.flow.index import Passage

if TYPE_CHECKING:  # numpy is loaded by flows that have an index, not by the others
    import numpy as np
    from numpy.typing import NDArray


class VectorIndex(Protocol):
    """Vectors with their texts and sources; finds the nearest by cosine."""

    def __len__(self) -> int:
        """Return how many vectors it holds."""
        ...

    def checked(self, vector: Any, *, settles: bool = False) -> "NDArray[np.float32]":
        """Return `vector` as float32 [dim]; where it `settles`, the first ever sets `dim`. Raises InvalidRequest."""
        ...

    def add(self, part: str, vectors: "NDArray[np.float32]", passages: Sequence[tuple[str, str]]) -> None:
        """Add checked vectors [num, dim] and the `(text, source)` of each, in order, to the part of one writer."""
        ...

    def drop(self, part: str) -> None:
        """Forget what an earlier run of the same task has added, if one has."""
        ...

    def entries(self, part: str) -> "Sequence[tuple[NDArray[np.float32], str, str]]":
        """Return `(vector, text, source)` of what the part holds now, in order; not changed by what is added later."""
        ...

    def search(self, vectors: "NDArray[np.float32]", k: int) -> list[list[Passage]]:
        """Return, for each checked vector of [num, dim], at most `k` passages: best first, then as they were added."""
        ...


def part_of_task(task_id: TaskId) -> str:
    """Return the name of the part that a task writes: the same in every run of its job (`job-x~2` is the second)."""
    run, _, task = task_id.partition("/")
    return f"{run.partition('~')[0]}/{task}"


class IndexStore:
    """The indexes of one process, by name: made when first named, kept until the store goes."""

    def __init__(self, new_index: Callable[[str], VectorIndex] | None = None) -> None:
        """`new_index` makes an index of a name; by default an ExactIndex."""
        self._new_index = new_index or _exact_index
        self._indexes: dict[str, VectorIndex] = {}

    def index(self, name: str) -> VectorIndex:
        """Return the index of this name; safe from any thread."""
        found = self._indexes.get(name)
        return found if found is not None else self._indexes.setdefault(name, self._new_index(name))


def _exact_index(name: str) -> VectorIndex:
    from operators.exact import ExactIndex

    return ExactIndex(name)
