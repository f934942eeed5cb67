"""How records add up: the lines that put one into what there is so far, how two parts are joined, what comes of all.

Knows nothing of where it is kept: running, or by windows.
"""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

from sage.flow.spec import Aggregate, Combine, Fold, Gather, Over, Reduce

MISSING = object()
"""What there is before the first record."""

Join = Callable[[Any, Any], Any]


def update_lines(
    over: Over | Fold, number: int, names: dict[str, Any], *, old: str, keep: str, gives_value: bool = False
) -> list[str]:
    """Return the lines that add `x` to `old`, an expression, give `v`, and then `keep` it: a failure changes nothing.

    In `old`, `{}` is what it gives before the first record; an expression without gives MISSING. Binds what they call
    in `names`, under names that end in `number`. Where `v` is not wanted (`gives_value`), nothing is kept that is
    kept already.
    """
    fn, counted = f"f{number}", old.format(0)
    has_default, old = old != counted, old.format("MISSING")
    match over:
        case Aggregate(kind="count") if has_default:
            return [f"v = {counted} + 1", keep]
        case Aggregate(kind="count"):
            return [f"v = {old}", "v = 1 if v is MISSING else v + 1", keep]
        case Aggregate(kind=kind, of=of):
            if of is not None:
                names[fn] = of
            wins = {
                "sum": "if old is not MISSING: v = old + v",
                "min": "if old is not MISSING and not v < old: v = old",
                "max": "if old is not MISSING and not v > old: v = old",
            }[kind]
            if kind != "sum" and not gives_value:
                wins, keep = f"if old is MISSING or v {'<' if kind == 'min' else '>'} old:", f"    {keep}"
            return ["v = x" if of is None else f"v = {fn}(x)", f"old = {old}", wins, keep]
        case Reduce():
            names[fn] = over.fn
            return [f"old = {old}", f"v = x if old is MISSING else {fn}(old, x)", keep]
        case Fold(initial=initial):
            names[fn], names[f"m{number}"] = over.fn, initial if callable(initial) else lambda: initial
            return [f"old = {old}", f"if old is MISSING: old = m{number}()", f"v = {fn}(old, x)", keep]
        case Combine():
            names[fn], names[f"m{number}"] = over.add, over.create
            return [f"old = {old}", f"if old is MISSING: old = m{number}()", f"v = {fn}(old, x)", keep]
        case Gather():
            return [f"v = {old}", "if v is MISSING: v = [x]", "else: v.append(x)", keep]


def join_of(over: Over) -> Join | None:
    """Return what joins two parts, the earlier first, and changes neither; None where nobody knows how."""
    match over:
        case Aggregate(kind="count" | "sum") | Gather():
            return operator.add
        case Aggregate(kind="min"):
            return _least
        case Aggregate():
            return _greatest
        case Reduce(fn=fn):
            return fn
        case Combine(merge=merge):
            return merge


def finish_of(over: Over) -> Callable[[Any], Any] | None:
    """Return what makes the result of what there is at the end; None where that is the result."""
    match over:
        case Gather():
            return list  # its own: what is kept may still grow
        case Combine(result=result):
            return result
        case _:
            return None


def added_up(over: Combine) -> Callable[[list[Any]], Any]:
    """Return what makes the result of a list of records: where parts cannot be joined, records are kept themselves."""

    def result(records: list[Any]) -> Any:
        whole = reduce(over.add, records, over.create())
        return whole if over.result is None else over.result(whole)

    return result


def _least(first: Any, second: Any) -> Any:
    return second if second < first else first


def _greatest(first: Any, second: Any) -> Any:
    return second if second > first else first
