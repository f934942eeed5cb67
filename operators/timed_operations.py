"""The operations of a step that keeps records as event time passes: windows, processes, joins. Knows no batch."""

from typing import Any

from operators.alarms import Alarms
from operators.broadcasting import Broadcasting
from operators.codegen import Operation
from operators.failure import Failures
from operators.interval_join import IntervalJoin
from operators.processing import Processing
from operators.shapes import pairs_of_window, windows_for
from operators.sides import Add, Sides
from operators.stored_interval_join import StoredIntervalJoin
from operators.stored_table_join import StoredTableJoin
from operators.table_join import TableJoin
from operators.tables import Table
from operators.timed_state import TimedState
from sage.flow.broadcast_process import BroadcastProcess
from sage.flow.graph import Step
from sage.flow.process import KeyedProcess
from sage.flow.spec import AsOf, FlatMap, Gather, JoinWindows, Process, Window, Within

TimedSpec = Window | Process | Within | JoinWindows | AsOf


def timed_operations(
    step: Step,
    spec: TimedSpec,
    failures: Failures,
    alarms: Alarms,
    leave_out: Add,
    *,
    table: Table | None,
) -> list[Operation]:
    """Return what one instance of `step` does; `leave_out` is told of records that come too late.

    `table`: where the step keeps what memory has no room for; None: it keeps all in memory.
    """
    match spec:
        case Window(late_to=str() as tag):
            sides = Sides(step.name, [tag])
            windows = windows_for(step, spec, failures, sides.adder(tag), alarms, table=table)
            return [Operation(step, spec, timed=windows, sides=sides)]
        case Window():
            return [Operation(step, spec, timed=windows_for(step, spec, failures, leave_out, alarms, table=table))]
        case Process(make=make, sides=tags):
            sides = Sides(step.name, tags)
            timed = _processing(step, make(), failures, sides, alarms, table)
            return [Operation(step, spec, timed=timed, sides=sides)]
        case Within(before_s=before_s, after_s=after_s):
            return [Operation(step, spec, timed=_interval_join(before_s, after_s, leave_out, table))]
        case AsOf(is_outer=is_outer):
            return [Operation(step, spec, timed=_table_join(leave_out, table, is_outer=is_outer))]
        case JoinWindows(shape=shape):
            gather = Window(shape, Gather())
            windows = windows_for(step, gather, failures, leave_out, alarms, table=table)
            return [Operation(step, gather, timed=windows), Operation(step, FlatMap(pairs_of_window))]


def _interval_join(before_s: float, after_s: float, late: Add, table: Table | None) -> TimedState:
    if table is None:
        return IntervalJoin(before_s, after_s, late)
    return StoredIntervalJoin(before_s, after_s, late, table)


def _table_join(late: Add, table: Table | None, *, is_outer: bool) -> TimedState:
    if table is None:
        return TableJoin(late, is_outer=is_outer)
    return StoredTableJoin(late, table, is_outer=is_outer)


def _processing(
    step: Step,
    process: KeyedProcess[Any, Any, Any],
    failures: Failures,
    sides: Sides,
    alarms: Alarms,
    table: Table | None,
) -> Processing:
    if isinstance(process, BroadcastProcess):
        return Broadcasting(step, process, failures, sides, alarms, table)
    return Processing(step, process, failures, sides, alarms, table)
