"""What users call each kind of step. Knows nothing of what a step does."""

from sage.flow.spec import (
    Again,
    Aggregate,
    AsOf,
    AssignTimestamps,
    Embed,
    Filter,
    FlatMap,
    Fold,
    ForEach,
    Generate,
    IndexInto,
    Iterate,
    JoinWindows,
    KeyBy,
    Map,
    MapAsync,
    MapBatches,
    Process,
    Read,
    Reduce,
    Reply,
    Rerank,
    Retrieve,
    Spec,
    Split,
    TakeSide,
    ToAll,
    Union,
    Window,
    Within,
    Write,
)

NAMES = {
    Read: "read",
    Map: "map",
    Filter: "filter",
    FlatMap: "flat_map",
    MapBatches: "map_batches",
    MapAsync: "map_async",
    AssignTimestamps: "assign_timestamps",
    KeyBy: "key_by",
    Reduce: "reduce",
    Fold: "fold",
    Window: "window",
    Process: "process",
    Within: "join",
    JoinWindows: "join",
    AsOf: "join",
    Split: "split",
    TakeSide: "side",
    ToAll: "broadcast",
    Union: "union",
    Iterate: "iterate",
    Again: "again",
    Generate: "generate",
    Embed: "embed",
    IndexInto: "index_into",
    Retrieve: "retrieve",
    Rerank: "rerank",
    Write: "write",
    ForEach: "for_each",
    Reply: "reply",
}


def kind_of_step(spec: Spec) -> str:
    """Return what users call a step of this kind: "map", "count", "index_into".

    >>> kind_of_step(Aggregate("count"))
    'count'
    """
    return spec.kind if isinstance(spec, Aggregate) else NAMES[type(spec)]
