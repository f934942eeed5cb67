"""Steps over records that are due at some time: users' functions see values, and what comes of a record is as due.

Knows nothing of how steps run, nor of what being due means.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from operators.fields import getter, setter
from operators.listed import FLAT_MAP, listed
from operators.twins import key_function
from sage.base.dues import DueRecord, like, value_of
from sage.base.errors import InternalError
from sage.flow.graph import Step
from sage.flow.spec import (
    Again,
    AssignTimestamps,
    Embed,
    Filter,
    FlatMap,
    Generate,
    KeyBy,
    Map,
    MapAsync,
    MapBatches,
    Read,
    Retrieve,
    Spec,
    Split,
    TakeSide,
    Union,
)


def on_dues(step: Step) -> Step:
    """Return `step` over records that are due, or not, instead of their values; of model steps what they call alone."""
    return replace(step, spec=_on_dues(step.spec))


def _on_dues(spec: Spec) -> Spec:
    match spec:
        case Union() | TakeSide() | Again() | Embed():
            return spec
        case Read(time=time):
            return spec if time is None else replace(spec, time=_timed(time))
        case AssignTimestamps():
            return _timed(spec)
        case Map(fn):
            return Map(lambda record: like(record, fn(value_of(record))))
        case Filter(fn):
            return Filter(_of_value(fn))
        case KeyBy(fn):
            return KeyBy(_of_value(fn))
        case Split(predicates=predicates):
            return replace(spec, predicates=tuple(_of_value(predicate) for predicate in predicates))
        case FlatMap(fn):
            return FlatMap(_parting(fn))
        case MapAsync(dedup=dedup):  # its machine calls with values
            key_of = key_function(dedup)
            return spec if key_of is None else replace(spec, dedup=_of_value(key_of))
        case MapBatches(fn=fn):
            return replace(spec, fn=_in_lists(fn))
        case Retrieve(vector=vector, into=into):
            put = setter(into)
            return replace(
                spec,
                vector=_of_value(getter(vector)),
                into=lambda record, found: like(record, put(value_of(record), found)),
            )
        case Generate(on_token=on_token):
            return spec if on_token is None else replace(spec, on_token=_hearing(on_token))
        case spec:
            raise InternalError(f"records that are due come to a {type(spec).__name__}")


def _timed(spec: AssignTimestamps) -> AssignTimestamps:
    partition = None if spec.partition is None else _of_value(spec.partition)
    return replace(spec, fn=_of_value(spec.fn), partition=partition)


def _parting(fn: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda record: [like(record, value) for value in listed(fn(value_of(record)), by=FLAT_MAP)]


def _of_value(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda record: fn(value_of(record))


def _hearing(on_token: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    return lambda record, text: on_token(value_of(record), text)


def _in_lists(fn: Callable[[list[Any]], Any]) -> Callable[[list[Any]], list[Any]]:
    """One for one each is as due as the record it was made of; else all are as due as the first of them is."""

    def each(records: list[Any]) -> list[Any]:
        values: Sequence[Any] = listed(fn([value_of(record) for record in records]))
        if len(values) == len(records):
            return [like(record, value) for record, value in zip(records, values, strict=True)]
        dues = [record for record in records if type(record) is DueRecord]
        first = min(dues, key=lambda record: record.due_unix_s, default=None)
        return [like(first, value) for value in values]

    return each
