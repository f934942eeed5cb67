"""What steps hold between two batches, as plain values. Knows nothing of files, nor of when it is taken.

A snapshot is taken between two calls of a machine and belongs to whoever took it: the machine changes none of its
containers any more. Values of keys are the users' own and may change in place; whoever saves them sees to that.
"""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, overload, runtime_checkable

from operators.marks import Marks
from operators.tables import Stored
from sage.base.errors import UnknownState

T = TypeVar("T")

Values = Mapping[Hashable, Any]
KEYED = ""
"""The pane of what stands under no other."""


@dataclass(frozen=True, slots=True)
class StepState:
    """What one instance of a step holds.

    | field | what | where another number of instances goes on |
    | --- | --- | --- |
    | keyed | the value of each key | each key goes where its records go |
    | panes | the value of each key in each of several panes | each key goes where its records go |
    | heard | what all instances know | each instance hears it from all |
    | grown | what is only ever added to, at its end | dealt out in pieces, in order |
    | held | records on their way, in order | dealt out in pieces, in order, and `is_dealt` says so |
    | shared | what every instance has alike | each has all of it |
    | stored | tables that were laid down | each takes up the rows of its keys |
    | fixed | anything else that is plain | only as it is: such a step keeps its number of instances |

    `touched` names, by pane, the keys that may have another value than in the machine's snapshot before: all others
    have the same; of a pane that it does not name (`keyed` is KEYED) nobody knows.

    `is_dealt`: `held` was of other instances. A watermark in it is true of what was held where it was, and of nothing
    that stands before it now; the task hears the last one once more, behind all.

    `has_undeclared`: `stored` holds states that the process declares no more, which may be let go.

    `settle` is no part of it: it makes durable what `fixed` counts on, and is called once, on any thread, before the
    rest is saved; raises SinkUnwritable. Neither is `commit`: it shows what `fixed` says once that is saved for good.
    """

    keyed: Values | None = None
    grown: Sequence[Any] = ()
    held: Sequence[Any] = ()
    fixed: Any = None
    shared: Mapping[tuple[str, Hashable], Any] | None = None
    panes: Mapping[str, Values] = field(default_factory=dict)
    heard: Sequence[Any] = ()
    stored: Stored = ()
    is_dealt: bool = False
    has_undeclared: bool = False
    touched: Mapping[str, Collection[Hashable]] = field(default_factory=dict, compare=False)
    settle: Callable[[], None] | None = field(default=None, compare=False)
    commit: Callable[[], None] | None = field(default=None, compare=False)

    def all_panes(self) -> Mapping[str, Values]:
        """Return the values of keys by pane, `keyed` among them."""
        return self.panes if self.keyed is None else {KEYED: self.keyed, **self.panes}


State = Mapping[str, StepState]
"""What the steps of a chain hold, by their names; steps that hold nothing are absent."""


class Stateful(Protocol):
    """A part of a machine that holds something."""

    def snapshot(self) -> StepState: ...

    def restore(self, state: StepState) -> None:
        """Hold what `state` says; called once, before any record."""
        ...


@runtime_checkable
class KeptByKey(Protocol):
    """A part of a machine that keeps something for each key."""

    def value_of(self, key: Hashable) -> Any:
        """Return what is kept of a key now, not copied; None where nothing is."""
        ...


def not_kept(step: str) -> UnknownState:
    """Return the error for a step of which no state can be asked for."""
    return UnknownState(
        f"step {step!r} keeps nothing by key that could be asked for",
        "Ask for the state of an aggregate, a window, a join or a process: job.states() lists them.",
    )


class SavedRows:
    """What is saved of each key, made anew for keys that were touched since the snapshot before."""

    def __init__(self, row_of: Callable[[Hashable], Any]) -> None:
        """`row_of` gives what is saved of a key; None: nothing."""
        self.marks = Marks()
        self._row_of = row_of
        self._rows: dict[Hashable, Any] = {}

    def snapshot(self, keys: Collection[Hashable]) -> StepState:
        """Return the rows of all `keys`; takes as long as there are keys that were touched, and copies a dict."""
        touched = self.marks.take()
        for key in keys if touched is None else touched:
            row = self._row_of(key) if key in keys else None
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row
        return StepState(keyed=self._rows.copy(), touched={} if touched is None else {KEYED: touched})


class Prefix(Sequence[T]):
    """The first `num` items of a list that only grows: nothing is copied."""

    def __init__(self, items: Sequence[T], num: int) -> None:
        self._items = items
        self._num = num

    def __len__(self) -> int:
        return self._num

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            start, stop, step = at.indices(self._num)
            return self._items[start:stop:step]
        return self._items[range(self._num)[at]]
