"""What jobs print on nodes, on its way to the head and from there to clients. Knows no socket and no actor."""

from enum import StrEnum

import msgspec

from cluster.runtime.control_message import ControlMessage
from sage.base.ids import JobId, NodeId, TaskId


class PrintedTo(StrEnum):
    """PRINT: by a step `print()`; the others by functions of the user, to what Python has under these names."""

    PRINT = "print"
    STDOUT = "stdout"
    STDERR = "stderr"


class LogLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line that a job printed. `step`: where several are fused in one task, all of them, with " > " between."""

    text: str
    node: NodeId
    step: str
    to: PrintedTo


class RunPrinted(ControlMessage, frozen=True):
    """Lines that functions in a task printed; the node bounds how much of it is on its way: it takes no credit."""

    run_id: JobId
    task_id: TaskId
    step: str
    to: PrintedTo
    lines: tuple[str, ...]
