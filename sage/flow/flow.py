"""Flows: where streams begin, and what is run. Knows nothing of how it runs."""

from collections.abc import Iterable
from typing import Any, TypeVar, Unpack

from sage.flow.builder import Builder
from sage.flow.chat import ChatSource
from sage.flow.checkpoint import Checkpoint, Resume, checked_resume
from sage.flow.explained import Explained, explain
from sage.flow.graph import Graph
from sage.flow.origins import Origins
from sage.flow.picture import html_from_steps, mermaid_from_steps, svg_from_steps
from sage.flow.plan import plan_from_graph
from sage.flow.ports import PartitionedSource, Source
from sage.flow.run import run_graph
from sage.flow.runner import JobResult
from sage.flow.sources import source_from_collection
from sage.flow.stream import Stream
from sage.flow.time_options import TimeOptions
from sage.flow.where import refusal

T = TypeVar("T")


class Flow(Origins):
    """A passive value: steps from sources to sinks, under a name. Writing it down runs nothing; `run` does.

    >>> import sage
    >>> flow = sage.Flow("word-count")
    >>> counts = flow.from_collection(["to be", "or not to be"]).flat_map(str.split).key_by(str).count().collect()
    >>> print(flow.to_mermaid())
    flowchart LR
        s0(["from_collection"])
        s1["flat_map"]
        s2["key_by"]
        s3["count"]
        s4[("collect")]
        s0 --> s1
        s1 --> s2
        s2 --> s3
        s3 --> s4
    """

    def __init__(self, name: str) -> None:
        given: object = name
        if not isinstance(given, str) or not given:
            what = "a flow's name is not empty" if not given else f"a flow's name is a text, not {given!r:.80}"
            raise refusal(what, 'Write sage.Flow("word-count").', param="name")
        super().__init__(Builder(name))

    def __repr__(self) -> str:
        return f'<Flow "{self.name}" of {len(self._builder.steps())} steps>'

    @property
    def name(self) -> str:
        return self._builder.name

    def from_collection(self, items: Iterable[T], **time: Unpack[TimeOptions[T]]) -> Stream[T]:
        """Begin a stream with the items of a list, or of anything that can be iterated.

        An iterator, being used up by its first run, refuses a second one. As in every source, `timestamp=fn` gives
        each record an event time in seconds, for windows; `max_out_of_order_s=` is by how much a record may come after
        one that is later; `partition=` and `idle_after_s=` are as in `assign_timestamps`.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> numbers = flow.from_collection(range(3)).collect()
        >>> _ = flow.run(); numbers.items
        [0, 1, 2]
        """
        if not isinstance(items, Iterable):
            raise refusal(f"from_collection takes what can be iterated, got {items!r:.80}", param="items")
        return self._begin(source_from_collection(items), "from_collection", time)

    def from_source(self, source: Source[T] | PartitionedSource[T], **time: Unpack[TimeOptions[T]]) -> Stream[T]:
        """Begin a stream with a source of your own: a value whose `open()` gives a reader (see sage.flow.ports).

        One that has `partitions()` and `open_partition(name, position)` can be read by several instances.

        >>> import sage
        >>> from sage.flow.sources import TextSource
        >>> lines = sage.Flow("f").from_source(TextSource("corpus.txt"))
        """
        if not callable(getattr(source, "open", None)) and not isinstance(source, PartitionedSource):
            advice = (
                "Give a value whose open() returns a reader with read(max_records) and close(); or from_collection."
            )
            raise refusal(f"from_source takes a source, got {source!r:.80}", advice, param="source")
        return self._begin(source, "from_source", time)

    def from_chat(self, name: str) -> Stream[dict[str, Any]]:
        """Begin a stream with the chat requests to the model `name`, for as long as the job runs.

        Submitted to a cluster, the flow is listed by its gateways as a model of this name. End the stream in `reply`.

        A record is a dict: "question" is the text of the user's last message, "messages" are all of them ("role" and
        "content" each), "tenant" is on whose account; "temperature", "top_p", "seed" and "max_tokens" are what the
        caller asked for, and the flow decides what it makes of them. Each record stays with its request through map,
        filter, flat_map, map_async, retrieve and the model steps; what these ask of models has the request's class,
        tenant and deadline, and ends when the caller leaves.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> end = flow.from_chat("shy").generate(model="smollm2", prompt="{question}", max_tokens=32).reply()
        """
        given: object = name
        if not isinstance(given, str) or not given or given != given.strip():
            raise refusal(
                f"a chat model needs a name, got {name!r:.80}", 'Write flow.from_chat("rag-bot").', param="name"
            )
        return self._begin(ChatSource(name), "from_chat")

    def graph(self) -> Graph:
        """Return the flow as a checked value; raises FlowInvalid, naming the line at fault, where it cannot run."""
        return self._builder.graph()

    def run(
        self,
        address: str | None = None,
        *,
        timeout_s: float | None = None,
        progress: bool | None = None,
        checkpoint: Checkpoint | None = None,
        resume: Resume = "auto",
    ) -> JobResult:
        """Run the flow to its end, in this process or at `address`, and return what came of it.

        `progress` True shows it on standard error, False does not; None shows it on a terminal, and elsewhere only
        where sources listen. Ctrl-C cancels the
        job, waits until it has stopped and raises KeyboardInterrupt; after `timeout_s` JobTimeout is raised likewise.
        Raises what made the job fail: RecordFailed, SourceUnreadable, ...

        With a `checkpoint`, a run that ended early, killed or failed, is gone on from where it was by the next one:
        `resume="auto"` does so where there is a checkpoint, `"must"` insists, `"never"` begins anew.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> end = flow.from_collection(range(10)).for_each(abs)
        >>> result = flow.run(timeout_s=60)
        >>> result.status.value, result.records_in
        ('finished', 10)
        """
        return run_graph(
            self.graph(),
            address,
            timeout_s=timeout_s,
            progress=progress,
            checkpoint=checkpoint,
            resume=checked_resume(resume, checkpoint),
        )

    def explain(self, checkpoint: Checkpoint | None = None) -> Explained:
        """Return how the flow would run: what is fused into one task, the ways between tasks, what sinks are promised.

        `sage run FILE --explain` prints the same, and where each task would be. `checkpoint`: says where state is
        kept. Raises FlowInvalid as `graph` does.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> counts = flow.from_collection("abba").key_by(str).count().with_parallelism(2).collect()
        >>> explained = flow.explain()
        >>> [(" > ".join(chain.steps), chain.parallelism) for chain in explained.chains]
        [('from_collection > key_by', 1), ('count', 2), ('collect', 1)]
        >>> print("\\n".join(str(explained).splitlines()[7:10]))
        FROM             TO       ROUTING
        from_collection  count    keyed
        count            collect  round_robin
        """
        return explain(plan_from_graph(self.graph()), state=checkpoint.state if checkpoint is not None else "memory")

    def to_mermaid(self) -> str:
        """Return the flow, finished or not, as a Mermaid flowchart."""
        return mermaid_from_steps(self._builder.steps())

    def to_svg(self) -> str:
        """Return the flow, finished or not, as an SVG picture: to be written to a file, or put into a page.

        >>> import sage
        >>> flow = sage.Flow("f")
        >>> end = flow.from_collection([1]).map(abs).print()
        >>> flow.to_svg()[:38]
        '<svg xmlns="http://www.w3.org/2000/svg'
        """
        return svg_from_steps(self.name, self._builder.steps())

    def _repr_html_(self) -> str:
        return html_from_steps(self.name, self._builder.steps())
