"""What each kind of step is told: one frozen value a kind, in closed unions. Knows nothing of how steps compute."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal

from sage.base.inference import ServiceClass
from sage.flow.call_cache import CallCache
from sage.flow.iterate import Again as Again
from sage.flow.iterate import Iterate as Iterate
from sage.flow.ports import PartitionedSource, Sink, Source
from sage.flow.reranking import Rerank as Rerank
from sage.flow.two_inputs import AsOf as AsOf
from sage.flow.two_inputs import JoinWindows as JoinWindows
from sage.flow.two_inputs import Process as Process
from sage.flow.two_inputs import Within as Within
from sage.flow.windows import Shape, Trigger

Field = str | Callable[[Any], Any]
"""Where a step finds its input in a record: a field's name, or a function of the record."""

Into = str | Callable[[Any, Any], Any] | None
"""Where a reply goes: a field to set, a function `(record, reply) -> new record`, or None: the reply is the record."""


@dataclass(frozen=True, slots=True)
class AssignTimestamps:
    """Give each record the event time `fn(record)`, in seconds.

    The watermark follows `max_out_of_order_s` behind the latest of them; with `partition`, behind the latest of the
    partition that is furthest behind. After `idle_after_s` without a record a partition, or the step as a whole, holds
    no watermark back until one comes.
    """

    fn: Callable[[Any], float]
    max_out_of_order_s: float = 0.0
    partition: Callable[[Any], Hashable] | None = None
    idle_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """Begin a stream with what `source` gives; `time`, where it has event time.

    `due_in_s`: how long after it was read a record is due at the end of the flow; None: at no time.
    """

    source: Source[Any] | PartitionedSource[Any]
    time: AssignTimestamps | None = None
    due_in_s: float | None = None


@dataclass(frozen=True, slots=True)
class Map:
    fn: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Filter:
    fn: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class FlatMap:
    fn: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class MapBatches:
    """`fn` takes and gives a list. At most `max_records` a call; waits to fill one only where `max_wait_s` is set."""

    fn: Callable[[list[Any]], Any]
    max_records: int | None = None
    max_wait_s: float | None = None


@dataclass(frozen=True, slots=True)
class MapAsync:
    """`fn` is a coroutine function; results leave in the order of the records, or as they come where not `ordered`.

    A call is tried again after `backoff_s`, twice as long each time, or when its error says. `dedup`: records that are
    equal, or for which the function gives equal keys, share one call while it runs.
    """

    fn: Callable[[Any], Any]
    max_in_flight: int = 64
    timeout_s: float | None = None
    ordered: bool = True
    backoff_s: float = 0.0
    dedup: bool | Callable[[Any], Hashable] = False
    cache: CallCache | None = None


@dataclass(frozen=True, slots=True)
class KeyBy:
    fn: Callable[[Any], Hashable]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A running aggregate a key. Emits `(key, value)` at every record, or with `final` once a key at the end.

    `of` maps the record to what is added or compared (sum, min, max); None: the record itself.
    """

    kind: Literal["count", "sum", "min", "max"]
    of: Callable[[Any], Any] | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Reduce:
    fn: Callable[[Any, Any], Any]
    final: bool = False


@dataclass(frozen=True, slots=True)
class Fold:
    """`initial`: a value that is never changed in place, or a function of no argument that makes one a key."""

    initial: Any
    fn: Callable[[Any, Any], Any]
    final: bool = False


@dataclass(frozen=True, slots=True)
class Combine:
    """Add records by `add(so far, record)` to what `create()` gives; `result` makes the value of what came of it.

    `merge` joins two parts of a window, the earlier first. Without it, every window adds its records one by one.
    """

    create: Callable[[], Any]
    add: Callable[[Any, Any], Any]
    merge: Callable[[Any, Any], Any] | None = None
    result: Callable[[Any], Any] | None = None


@dataclass(frozen=True, slots=True)
class Gather:
    """Keep the records themselves, as a list."""


Over = Aggregate | Reduce | Combine | Gather
"""What is computed of the records of a window."""


@dataclass(frozen=True, slots=True)
class Split:
    """Put each record to the side of the first predicate that holds for it; what none holds for stays."""

    tags: tuple[str, ...]
    predicates: tuple[Callable[[Any], object], ...]


@dataclass(frozen=True, slots=True)
class TakeSide:
    """Begin a stream with what the step before puts to the side of this tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class Window:
    """Put each key's records into windows and emit a `WindowResult` for each.

    A window is over when the watermark is `allow_late_s` past its end; from its end on, records change a result that
    was given already, and the new one is given too. What comes later still goes to the side `late_to`, or nowhere.
    `trigger` says when it gives what it has before it is over.
    """

    shape: Shape
    over: Over
    allow_late_s: float = 0.0
    late_to: str | None = None
    trigger: Trigger | None = None


@dataclass(frozen=True, slots=True)
class ToAll:
    """Give every record to every instance of each step that reads this one; it is one instance itself."""


@dataclass(frozen=True, slots=True)
class Union:
    """Several inputs, one stream; order is kept within each input."""


@dataclass(frozen=True, slots=True)
class Generate:
    """`prompt` and `system`: a template of field names (`"{question}"`; `{}` is the record) or a function of it.

    With `system`, or where the model knows chat, the prompt is a user message; `raw` sends it as it is.
    `on_token(record, text)` is called with every piece as it comes, on the task's thread. `timeout_s` bounds each try.
    `dedup`: equal prompts share one request while it is out; None: where equal prompts have equal answers.
    """

    model: str
    prompt: Field
    system: Field | None = None
    raw: bool = False
    max_tokens: int | None = None
    temperature: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    priority: ServiceClass = ServiceClass.STANDARD
    deadline_s: float | None = None
    tenant: str = "default"
    into: Into = None
    on_token: Callable[[Any, str], None] | None = None
    max_in_flight: int = 64
    timeout_s: float | None = None
    ordered: bool = True
    backoff_s: float = 0.0
    dedup: bool | None = False
    cache: CallCache | None = None


@dataclass(frozen=True, slots=True)
class Embed:
    """The reply of each record is its vector: float32 [dim], L2-normalised.

    `text`: a field's name, a template of field names (`"{title}: {body}"`), a function of the record; None: the record.
    """

    model: str
    text: Field | None = None
    priority: ServiceClass = ServiceClass.STANDARD
    deadline_s: float | None = None
    tenant: str = "default"
    into: Into = None
    max_in_flight: int = 1024
    timeout_s: float | None = None
    ordered: bool = True
    backoff_s: float = 0.0
    dedup: bool | None = False
    cache: CallCache | None = None


@dataclass(frozen=True, slots=True)
class IndexInto:
    """A sink: adds `(vector, text, source)` of each record to the index of this name; `text` is as in Embed."""

    index: str
    text: Field
    vector: Field
    source: Field | None = None


@dataclass(frozen=True, slots=True)
class Retrieve:
    """Sets `into` to the `k` best passages. Waits until the steps of the same flow that fill the index have ended."""

    index: str
    k: int
    vector: Field
    into: Into = "passages"


@dataclass(frozen=True, slots=True)
class Write:
    """End a stream in `sink`."""

    sink: Sink[Any]


@dataclass(frozen=True, slots=True)
class ForEach:
    """End a stream by calling `fn` with every record."""

    fn: Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class Reply:
    """End a chat stream: the text of each record answers the chat request that it came of.

    `text`: a template, a field's name, a function of the record; None: the record is the text.
    """

    text: Field | None = None


Inline = (
    Map
    | Filter
    | FlatMap
    | MapBatches
    | AssignTimestamps
    | KeyBy
    | Aggregate
    | Reduce
    | Fold
    | Window
    | Process
    | Within
    | JoinWindows
    | AsOf
    | Split
    | TakeSide
    | Again
    | ToAll
    | IndexInto
    | Retrieve
    | Write
    | ForEach
    | Reply
)
"""Steps that need no wait: a chain of them is fused into one function (MapBatches with `max_wait_s` excepted)."""

ModelStep = Generate | Embed | Rerank
"""Steps that ask a model about each record."""

Waiting = MapAsync | ModelStep
"""Steps that ask somebody and go on when the reply comes."""

Spec = Read | Union | Inline | Waiting | Iterate
HOLDS_KEYS = (Aggregate, Reduce, Fold, Process, Window, Within, JoinWindows, AsOf)
"""Steps that keep something of each key."""

SINKS = (IndexInto, Write, ForEach, Reply)


def holds_keys(spec: Spec) -> bool:
    """Say whether a step keeps something of each key: that may be larger than memory, where the user says so."""
    return isinstance(spec, HOLDS_KEYS)


def sides_of(spec: Spec) -> tuple[str, ...]:
    """Return the tags of what leaves a step beside its main stream."""
    match spec:
        case Split(tags=tags) | Process(sides=tags) | Iterate(sides=tags):
            return tags
        case Window(late_to=str() as tag):
            return (tag,)
        case _:
            return ()
