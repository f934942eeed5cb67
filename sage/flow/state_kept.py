"""Where each step of a flow keeps what it holds of keys, in words. Decides nothing."""

from sage.flow.checkpoint import StateKept
from sage.flow.graph import Graph
from sage.flow.spec import Aggregate, AsOf, Fold, JoinWindows, Process, Reduce, Window, Within

Spillable = Aggregate | Reduce | Fold | Process
"""Steps whose state may be larger than memory."""


def state_lines(graph: Graph, state: StateKept) -> tuple[str, ...]:
    """Return a line a step that keeps something of keys; `state`: as the checkpoints say."""
    where = "RocksDB" if state == "rocksdb" else "memory"
    return tuple(
        f"{step.name}: in {where if isinstance(step.spec, Spillable) else 'memory'}"
        for step in graph.steps
        if isinstance(step.spec, Spillable | Window | Within | JoinWindows | AsOf)
    )
