"""How a stream ends within the house: in a list, a function, the terminal, an index, a reply. Knows no connector."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sage.flow.builder import Builder, StepNumber
from sage.flow.deliveries import Deliveries
from sage.flow.ending import Ending
from sage.flow.index import Index
from sage.flow.model_options import Text, Value
from sage.flow.sinks import ListSink, PrintSink
from sage.flow.spec import ForEach, IndexInto, Reply, Write
from sage.flow.where import refusal

T_co = TypeVar("T_co", covariant=True)


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
            raise refusal(
                f'no run of the flow "{self._builder.name}" has brought anything here yet',
                "Call flow.run() first. Where it was submitted, it is under way: job.wait() waits for its end.",
            )
        return self._sink.items


class Outlet(Deliveries[T_co]):
    """The open end of a stream of `T_co`."""

    __slots__ = ()

    def collect(self) -> Collected[T_co]:
        """End the stream in a list in memory, to be read from `.items` after the run.

        Of several instances each has a list, and `.items` is all of them; those on nodes are in one, as records come.

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


def index_name(index: object) -> str:
    """Return the name of `index`; raises FlowInvalid for anything else, a bare name included."""
    if isinstance(index, Index):
        return index.name
    raise refusal(f"an index is a sage.Index, got {index!r:.80}", 'Write sage.Index("docs").', param="index")
