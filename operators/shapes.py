"""Which windows a shape has. The one place that knows every shape."""

from typing import Any

from operators.alarms import Alarms
from operators.aligned import AlignedWindows
from operators.counted import CountedWindows
from operators.failure import Failures
from operators.sessions import SessionWindows
from operators.sides import Add
from operators.stored_counted import StoredCountedWindows
from operators.stored_sessions import StoredSessions
from operators.stored_windows import StoredAlignedWindows
from operators.tables import Table
from operators.timed_state import TimedState
from sage.flow.graph import Step
from sage.flow.spec import Window
from sage.flow.windows import CountWindow, Session, Sliding, Tumbling, WindowResult


def windows_for(
    step: Step, spec: Window, failures: Failures, late: Add, alarms: Alarms, *, table: Table | None
) -> TimedState:
    """Return new windows for one instance of `step`; `late` takes what comes too late."""
    match spec.shape:
        case Tumbling() | Sliding() as shape if table is not None:
            return StoredAlignedWindows(step, shape, spec, failures, late, alarms, table=table)
        case Tumbling() | Sliding() as shape:
            return AlignedWindows(step, shape, spec, failures, late, alarms)
        case Session() as shape if table is not None:
            return StoredSessions(step, shape, spec, failures, late, alarms, table=table)
        case Session() as shape:
            return SessionWindows(step, shape, spec, failures, late, alarms)
        case CountWindow() as shape if table is not None:
            return StoredCountedWindows(step, shape, spec.over, failures, table)
        case CountWindow() as shape:
            return CountedWindows(step, shape, spec.over, failures)


def pairs_of_window(result: WindowResult[Any, list[tuple[int, Any]]]) -> list[WindowResult[Any, tuple[Any, Any]]]:
    """Return a result for each pair of a record of the first and one of the second input."""
    first = [record for side, record in result.value if side == 0]
    second = [record for side, record in result.value if side == 1]
    return [WindowResult(result.key, result.start, result.end, (left, right)) for left in first for right in second]
