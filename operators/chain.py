"""Cuts a chain of inline steps into phases and stages. Knows nothing of batches."""

from collections.abc import Sequence

from operators.alarms import Alarms
from operators.by_key import ByKey
from operators.chunks import Chunks
from operators.codegen import Operation
from operators.context import Context
from operators.event_clock import EventClock
from operators.failure import Failures
from operators.fuse import FusedMachine, Phase, Stage
from operators.index import part_of_task
from operators.loop import Loop
from operators.machine import Counts
from operators.marks import Marks
from operators.partition_clock import PartitionClock, PlaceOf, apart_by_place
from operators.retrieval import IndexPart, asking_stages, filling_stages
from operators.sides import Sides
from operators.spilled import Spilled
from operators.split_clock import SplitClock
from operators.state import Stateful
from operators.tables import Table
from operators.timed_operations import timed_operations
from operators.writing import Writing
from sage.base.errors import InternalError
from sage.flow.graph import Step
from sage.flow.ports import PartitionedSource
from sage.flow.spec import (
    SINKS,
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
    holds_keys,
)

_AT_ONCE = (Map, Filter, FlatMap, KeyBy, Split, MapBatches, AssignTimestamps)
"""What gives at once all that comes of a batch, and of nothing else."""


def fused_machine(steps: Sequence[Step], context: Context) -> FusedMachine:
    """Return one machine for `steps`: an optional Read or Union, then inline steps."""
    cutter = _Cutter(context)
    for step in steps:
        cutter.take(step)
    ends = isinstance(steps[-1].spec, SINKS)
    return FusedMachine(
        cutter.phases(),
        cutter.failures,
        counts=cutter.counts,
        stateful=cutter.stateful,
        sides=cutter.sides,
        alarms=cutter.alarms,
        tables=cutter.tables,
        ends=ends,
        batch_records=context.batch_records,
        source_clocks=cutter.source_clocks,
    )


def _is_split(source: object, time: AssignTimestamps) -> bool:
    """Say whether event time may go by the partitions in which a source is read."""
    return time.partition is None and isinstance(source, PartitionedSource)


def _values_of(spec: Spec, table: Table | None) -> ByKey:
    """Return where an aggregate keeps its values: what begins as a new container is likely to change in place."""
    if table is not None:
        return ByKey(Spilled(table))
    return ByKey(marks=Marks() if isinstance(spec, Fold) and callable(spec.initial) else None)


class _Cutter:
    """Takes steps one by one: record-wise ones gather in a loop until something ends it."""

    def __init__(self, context: Context) -> None:
        self.failures = Failures()
        self.counts = Counts()
        self.alarms = Alarms()
        self.stateful: dict[str, Stateful] = {}
        self.sides: list[Sides] = []
        self.tables: list[Table] = []
        self.source_clocks: list[SplitClock | PartitionClock] = []
        self._reads = False  # the records of a batch are still what was read together
        self._context = context
        self._phases: list[Phase] = []
        self._stages: list[Stage] = []
        self._operations: list[Operation] = []
        self._len_part = context.batch_records

    def take(self, step: Step) -> None:
        self._reads = isinstance(step.spec, Read) or (self._reads and isinstance(step.spec, _AT_ONCE))
        match step.spec:
            case Read(time=AssignTimestamps() as time, source=source):
                self._take_time_of_source(step, time, source)
            case Read() | Union() | TakeSide() | Again() | ToAll():
                pass  # the task reads or takes; union, broadcast and the way back change nothing
            case Split(tags=tags) as spec:
                self._take_operation(Operation(step, spec, sides=Sides(step.name, tags)))
            case AssignTimestamps() as spec:
                self._take_operation(Operation(step, spec, clock=self._clock(spec)))
            case Window() | Process() | Within() | AsOf() | JoinWindows() as spec:
                table = self._table(step)
                for operation in timed_operations(step, spec, self.failures, self.alarms, self._left_out, table=table):
                    self._take_operation(operation)
            case Map() | Filter() | FlatMap() | KeyBy() | ForEach() as spec:
                self._take_operation(Operation(step, spec))
            case Aggregate() | Reduce() | Fold() as spec:
                self._take_operation(Operation(step, spec, state=_values_of(spec, self._table(step))))
            case MapBatches(fn=fn, max_records=max_records, max_wait_s=None):
                self._len_part = max(self._len_part, self._whole_lists(max_records or 1))
                self._take_stages([Chunks(step, fn, max_records, self.failures)])
            case Retrieve(index=name) as spec:
                self._take_stages(asking_stages(step, spec, self._context.indexes.index(name), self.failures))
            case IndexInto(index=name) as spec:
                index, part = self._context.indexes.index(name), part_of_task(self._context.task_id)
                index.drop(part)
                self._take_stages(filling_stages(step, spec, index, part, self.failures))
                self.stateful[step.name] = IndexPart(index, part)
            case Write(sink=sink):
                writing = Writing(step, sink, self.failures, self._context.instance)
                self._take_stages([writing])
                self.stateful[step.name] = writing
            case Reply():
                raise InternalError(f"step {step.name!r} replies to chat requests, and its records are none")
            case Generate() | Embed() | Rerank() | MapAsync() | MapBatches() | Iterate() as spec:
                raise InternalError(f"a {type(spec).__name__} stands alone and cannot be fused: step {step.name!r}")

    def _take_time_of_source(self, step: Step, time: AssignTimestamps, source: object) -> None:
        if _is_split(source, time):
            self.source_clocks.append(clock := SplitClock(time, self.alarms))
            self._take_operation(Operation(step, time, clock=clock))
        else:
            time, place_of = apart_by_place(time, getattr(source, "place_of", None))
            self._take_operation(Operation(step, time, clock=self._clock(time, place_of)))

    def _table(self, step: Step) -> Table | None:
        """Return where a step keeps what memory has no room for; None: it keeps all in memory."""
        if self._context.tables is None or not holds_keys(step.spec):
            return None
        self.tables.append(self._context.tables.open(step.name))
        return self.tables[-1]

    def _clock(self, time: AssignTimestamps, place_of: PlaceOf | None = None) -> EventClock | PartitionClock:
        if time.partition is None:
            return EventClock(time.max_out_of_order_s)
        clock = PartitionClock(time, self.alarms, place_of=place_of)
        if self._reads:
            self.source_clocks.append(clock)
        return clock

    def _left_out(self, record: object, timestamp_s: float | None) -> None:
        self.counts.records_late += 1

    def _whole_lists(self, max_records: int) -> int:
        """Return a batch's size, rounded up so that it is cut into full lists."""
        return -(-self._context.batch_records // max_records) * max_records

    def phases(self) -> list[Phase]:
        self._end_loop()
        return [*self._phases, Phase(self._stages, None, self._len_part)]

    def _take_operation(self, operation: Operation) -> None:
        self._operations.append(operation)
        if operation.sides is not None:
            self.sides.append(operation.sides)
        if (stateful := operation.stateful()) is not None:
            self.stateful[operation.step.name] = stateful
        if operation.ends_loop():
            self._end_loop()
        if operation.holds_back():
            self._phases.append(Phase(self._stages, operation.state.values, self._len_part))
            self._stages = []

    def _take_stages(self, stages: Sequence[Stage]) -> None:
        self._end_loop()
        self._stages.extend(stages)

    def _end_loop(self) -> None:
        if self._operations:
            self._stages.append(Loop(self._operations, self.failures))
            self._operations = []
