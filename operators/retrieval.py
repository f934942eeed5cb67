"""Filling an index and asking it, as stages of a chain. Knows nothing of how an index searches."""

from collections.abc import Sequence
from typing import Any

from operators.chunks import Chunks
from operators.codegen import Operation
from operators.failure import Failures
from operators.fields import getter, setter, text_getter
from operators.index import VectorIndex
from operators.loop import Loop
from operators.state import StepState
from sage.flow.graph import Step
from sage.flow.spec import IndexInto, Map, Retrieve


class IndexPart:
    """What one task has added to an index, as the state of its step: `(vector, text, source)` of each, in order."""

    def __init__(self, index: VectorIndex, part: str) -> None:
        self._index = index
        self._part = part

    def snapshot(self) -> StepState:
        return StepState(grown=self._index.entries(self._part))

    def restore(self, state: StepState) -> None:
        if entries := list(state.grown):
            vectors = [self._index.checked(vector, settles=True) for vector, _, _ in entries]
            self._index.add(self._part, _stacked(vectors), [(text, source) for _, text, source in entries])


def filling_stages(
    step: Step, spec: IndexInto, index: VectorIndex, part: str, failures: Failures
) -> list[Loop | Chunks]:
    """Return what adds records to `index`: each is read alone, so that a bad one fails alone; all are added at once."""
    vector_of, text_of = getter(spec.vector), text_getter(spec.text)
    source_of = getter(spec.source) if spec.source is not None else lambda record: ""

    def read(record: Any) -> tuple[Any, tuple[str, str]]:
        source = source_of(record)
        return index.checked(vector_of(record), settles=True), (text_of(record), "" if source is None else str(source))

    def add(entries: list[tuple[Any, tuple[str, str]]]) -> Sequence[Any]:
        index.add(part, _stacked([vector for vector, _ in entries]), [passage for _, passage in entries])
        return entries

    return [Loop([Operation(step, Map(read))], failures), Chunks(step, add, None, failures)]


def asking_stages(step: Step, spec: Retrieve, index: VectorIndex, failures: Failures) -> list[Loop | Chunks]:
    """Return what gives each record its `k` best passages: one search for all records of a batch."""
    vector_of, put = getter(spec.vector), setter(spec.into)

    def search(entries: list[tuple[Any, Any]]) -> Sequence[Any]:
        found = index.search(_stacked([vector for _, vector in entries]), spec.k)
        return [(record, passages) for (record, _), passages in zip(entries, found, strict=True)]

    read = Operation(step, Map(lambda record: (record, index.checked(vector_of(record)))))
    give = Operation(step, Map(lambda entry: put(entry[0], entry[1])), is_paired=True)
    return [Loop([read], failures), Chunks(step, search, None, failures, is_paired=True), Loop([give], failures)]


def _stacked(rows: Sequence[Any]) -> Any:
    import numpy as np

    return np.stack(rows)
