"""What a step does with one record, apart from all others. Knows nothing of debuggers."""

from collections.abc import Callable
from typing import Any

from operators.fields import text_getter
from operators.generation import Generation
from operators.keycode import sound_key
from operators.listed import FLAT_MAP, listed
from operators.reranking import Reranking
from sage.flow.spec import (
    Aggregate,
    AssignTimestamps,
    Embed,
    Filter,
    FlatMap,
    ForEach,
    Generate,
    KeyBy,
    Map,
    MapBatches,
    Read,
    Reply,
    Rerank,
    Spec,
    Split,
    Write,
)


def replaying(spec: Spec) -> Callable[[Any], Any] | None:
    """Return what calls the functions of a step with one record; None where it does something only with several.

    Of a step that asks a model it is what makes the texts; no model is asked. Of a sink that refuses records one by one
    it is what makes the form of one; nothing is written.
    """
    match spec:
        case KeyBy(fn):
            return lambda record: sound_key(fn(record))
        case Map(fn) | Filter(fn) | ForEach(fn) | AssignTimestamps(fn=fn) | Read(time=AssignTimestamps(fn)):
            return fn
        case FlatMap(fn):
            return lambda record: listed(fn(record), by=FLAT_MAP)
        case MapBatches(fn=in_lists):
            return lambda record: listed(in_lists([record]))
        case Aggregate(of=of) if of is not None:
            return of
        case Split(tags=tags, predicates=predicates):
            return lambda record: next(
                (tag for tag, holds in zip(tags, predicates, strict=True) if holds(record)), None
            )
        case Generate():
            return Generation(spec).texts_of
        case Embed(text=text):
            return text_getter(text)
        case Rerank():
            return Reranking(spec).texts_of
        case Reply(text=text) if text is not None:
            return text_getter(text)
        case Write(sink=sink):
            form_of: Callable[[Any], Any] | None = getattr(sink, "form_of", None)
            return form_of
        case _:
            return None
