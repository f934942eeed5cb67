"""Where each step of a flow keeps what it holds of keys, in words. Decides nothing."""

from sage.flow.checkpoint import StateKept
from sage.flow.graph import Graph
from sage.flow.spec import holds_keys


def state_lines(graph: Graph, state: StateKept) -> tuple[str, ...]:
    """Return a line a step that keeps something of keys; `state`: as the checkpoints say."""
    where = "RocksDB" if state == "rocksdb" else "memory"
    return tuple(f"{step.name}: in {where}" for step in graph.steps if holds_keys(step.spec))
