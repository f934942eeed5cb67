"""Two result documents side by side: what is of the same kind in both, and by how much the second is more.

Knows no benchmark: results are of the same kind where all that names them is alike, but for what is one thing
throughout the first document and another throughout the second.
"""

from collections.abc import Mapping, Sequence

import msgspec

from benchmarks.document import Document
from benchmarks.intervals import ratio
from sage.base.aligned import aligned
from sage.base.errors import SourceUnreadable

_NAMING = (
    "workload", "trace", "engine", "policy", "route", "admission", "prompts", "num_engines", "load", "tenant", "beside",
    "data", "latency", "batch_records", "waiting", "engines", "chat_load", "mode", "goodput_wanted", "num_instances",
    "num_in_flight", "num_nodes", "num_shapes",
)  # fmt: skip
_NO_FIGURES = frozenset((*_NAMING, "n", "num_rounds", "num_seeds"))

Row = Mapping[str, object]


class Comparison(msgspec.Struct, frozen=True):
    """One figure of a kind of results: `ratio` is that of `other` by `first`; `low` and `high` are its 95 % interval by
    the seeds that both have, None where they have none."""

    kind: dict[str, str]
    figure: str
    first: float
    other: float
    ratio: float
    low: float | None
    high: float | None


def compare(first: Document, other: Document) -> list[Comparison]:
    """Return every figure that both documents have of the same kind of results; raises SourceUnreadable without any,
    and where two results of a document are of one kind: then nobody could say which is meant."""
    names = [name for name in _NAMING if any(name in row for row in (*first.results, *other.results))]
    names = [name for name in names if not _is_apart(name, first.results, other.results)]
    _by_kind(first.results, names)
    others = _by_kind(other.results, names)
    found = [
        comparison
        for row in first.results
        if (beside := others.get(_kind(row, names))) is not None
        for comparison in _figures(dict(_kind(row, names)), row, beside)
    ]
    if not found:
        raise SourceUnreadable("the two documents have no results of the same kind", "Name files of the same command.")
    return found


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """Return a line a figure; what names a result stands before it."""
    named = [name for name in _NAMING if any(each.kind.get(name) for each in comparisons)]
    told = [name for name in named if len({each.kind.get(name) for each in comparisons}) > 1]
    rows = [[*told, "figure", "first", "other", "ratio", "low", "high"]]
    for each in comparisons:
        numbers = (each.first, each.other, each.ratio, each.low, each.high)
        kind = [each.kind.get(name, "") for name in told]
        rows.append([*kind, each.figure, *("" if number is None else f"{number:.4g}" for number in numbers)])
    return aligned(rows, num_left=len(told) + 1)


def _is_apart(name: str, first: Sequence[Row], other: Sequence[Row]) -> bool:
    ours, theirs = ({row.get(name) for row in rows} for rows in (first, other))
    return len(ours) == len(theirs) == 1 and ours != theirs


def _by_kind(rows: Sequence[Row], names: Sequence[str]) -> dict[tuple[tuple[str, str], ...], Row]:
    found: dict[tuple[tuple[str, str], ...], Row] = {}
    for row in rows:
        if (kind := _kind(row, names)) in found:
            which = ", ".join(f"{name} {value}" for name, value in kind)
            raise SourceUnreadable(f"a document has several results of one kind ({which})", "Compare others.")
        found[kind] = row
    return found


def _kind(row: Row, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(row[name])) for name in names if row.get(name) is not None)


def _figures(kind: dict[str, str], row: Row, beside: Row) -> list[Comparison]:
    found = []
    for name, value in row.items():
        there = beside.get(name)
        if name in _NO_FIGURES or not (_is_number(value) and _is_number(there)):
            continue
        first, other = float(str(value)), float(str(there))
        if first > 0.0:
            low, high = _seeds_interval(name, row, beside) or (None, None)
            found.append(Comparison(kind, name, first, other, other / first, low, high))
    return found


def _seeds_interval(name: str, row: Row, beside: Row) -> tuple[float, float] | None:
    ours, theirs = (_seeds(each, name) for each in (row, beside))
    if len(ours) != len(theirs) or not ours or min(*ours, *theirs) <= 0.0:
        return None
    return ratio(theirs, ours)[1]


def _seeds(row: Row, name: str) -> list[float]:
    seeds = row.get("seeds")
    return [float(value) for value in seeds.get(name, ())] if isinstance(seeds, dict) else []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
