"""A hash of what a graph is and of the plain values in it: do two processes mean the same? Knows no code and no plan.

Functions count by their names, as the files' own hash covers what they do; so do values without bytes of their own.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import fields

import msgspec

from sage.flow.graph import Graph, Step


def graph_sha256(graph: Graph) -> str:
    """Return the same for graphs that are built by the same code from the same values, on whichever machine."""
    whole = hashlib.sha256()
    for step in graph.steps:
        for part in (graph.name.encode(), *_parts(step)):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()


def _parts(step: Step) -> Iterator[bytes]:
    yield step.name.encode()
    yield type(step.spec).__qualname__.encode()
    for field in fields(step.spec):
        yield _bytes_of(getattr(step.spec, field.name))
    yield from (_bytes_of(value) for value in (step.inputs, step.parallelism, step.demand, step.on_error, step.retries))


def _bytes_of(value: object) -> bytes:
    name = getattr(value, "__qualname__", type(value).__qualname__)
    try:
        return msgspec.msgpack.encode(value, order="deterministic")
    except (TypeError, ValueError, OverflowError, RecursionError):
        return str(name).encode()
