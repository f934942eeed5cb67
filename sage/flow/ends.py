"""How a stream ends: in a list, a function, the terminal, a file, an index. Knows nothing of what comes before."""

import os
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sage.flow.builder import Builder, StepNumber
from sage.flow.handle import Handle
from sage.flow.index import Index
from sage.flow.model_options import Text, Value
from sage.flow.sinks import JsonLinesSink, ListSink, PrintSink
from sage.flow.spec import ForEach, IndexInto, Reply, Spec, Write
from sage.flow.where import refusal

T_co = TypeVar("T_co", covariant=True)


class Ending(Handle):
    """The last step of a stream: it can be named and set, but nothing comes after it."""

    __slots__ = ()


class Collected(Ending, Generic[T_co]):
    """What `collect` gives: `items` is the list of records, in order of arrival, once the flow ran."""

    __slots__ = ("_sink",)

    def __init__(self, builder: Builder, number: StepNumber, sink: ListSink[Any]) -> None:
        super().__init__(builder, number)
        self._sink = sink

    @property
    def items(self) -> list[T_co]:
        """The records of the last run, or what came of it before it failed; raises FlowInvalid before the first run."""
        if self._sink.items is None:
            raise refusal(f'the flow "{self._builder.name}" has not run yet', "Call flow.run() first.")
        return self._sink.items


class Outlet(Handle, Generic[T_co]):
    """The open end of a stream of `T_co`."""

    __slots__ = ()

    def collect(self) -> Collected[T_co]:
        """End the stream in a list in memory, to be read from `.items` after the run.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> doubled = flow.from_collection([1, 2]).map(lambda n: 2 * n).collect()
        >>> _ = flow.run(); doubled.items
        [2, 4]
        """
        sink: ListSink[Any] = ListSink()
        return Collected(self._builder, self._then(Write(sink), "collect"), sink)

    def for_each(self, fn: Callable[[T_co], object]) -> Ending:
        """End the stream by calling `fn` with every record, on the task's thread.

        >>> import sage
        >>> flow, seen = sage.Flow("f"), []
        >>> end = flow.from_collection(["a", "b"]).for_each(seen.append)
        >>> _ = flow.run(); seen
        ['a', 'b']
        """
        return self._end(ForEach(fn))

    def print(self) -> Ending:
        """End the stream by printing one record a line.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> end = flow.from_collection(["a", "b"]).print()
        >>> _ = flow.run()
        a
        b
        """
        return self._end(Write(PrintSink()), "print")

    def write_jsonl(self, path: str | os.PathLike[str]) -> Ending:
        """End the stream in a file of one JSON value a line, which appears, whole, when the job ends well.

        Records may be what JSON knows, dataclasses, Structs, dates, NumPy numbers and arrays.

        >>> import sage
        >>> end = sage.Flow("f").from_collection([{"id": 1}]).write_jsonl("out.jsonl")
        """
        return self._end(Write(JsonLinesSink(os.fspath(path))), "write_jsonl")

    def index_into(
        self,
        index: Index,
        *,
        text: Text[T_co] = "text",
        vector: Value[T_co] = "vector",
        source: Value[T_co] | None = "source",
    ) -> Ending:
        """End the stream by adding each record's vector, text and source to `index`.

        `text` is a field's name, a template of them or a function of the record; `vector` (float32 [dim]) and `source`
        are names of fields or functions. With `source=None` passages have the source "".

        >>> import sage
        >>> docs, flow = sage.Index("docs"), sage.Flow("f")
        >>> texts = flow.from_collection([{"text": "Pythons eat.", "source": "zoo"}])
        >>> end = texts.embed(model="minilm", text="text", into="vector").index_into(docs)
        """
        return self._end(IndexInto(index_name(index), text, vector, source))

    def reply(self, text: Text[T_co] | None = None) -> Ending:
        """End a chat stream by answering: each record's text goes to the request that the record came of.

        `text` is a field's name, a template of them or a function of the record; without it the record is the text.
        What a `generate` right before it says is sent as it comes. Where several records come of one request, their
        texts make one answer, in order; where none does, the caller is told so.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> end = flow.from_chat("echo").map(lambda turn: turn["question"].upper()).reply()
        """
        return self._end(Reply(text))

    def _then(self, spec: Spec, kind: str | None = None) -> StepNumber:
        return self._builder.add(spec, self._number, kind=kind)

    def _end(self, spec: Spec, kind: str | None = None) -> Ending:
        return Ending(self._builder, self._then(spec, kind))


def index_name(index: object) -> str:
    """Return the name of `index`; raises FlowInvalid for anything else, a bare name included."""
    if isinstance(index, Index):
        return index.name
    raise refusal(f"an index is a sage.Index, got {index!r:.80}", 'Write sage.Index("docs").', param="index")
