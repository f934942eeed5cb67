"""What functions of users print on a node, by task: gathered line by line until the node's member sends it.

Knows no connection. Printing never waits for anybody: what is more than may be kept is counted and left out, and the
log of the node has it.
"""

import io
import os
import threading
from collections.abc import Callable
from typing import TextIO

from cluster.node.sinks import MAX_LINE_CHARS, NUM_LINES
from cluster.runtime.at_work import AtWork, at_work
from cluster.runtime.control_printed import PrintedTo, RunPrinted
from cluster.runtime.messages import JobStopped, JobTaskEnded, NodeFact

MAX_WAITING_CHARS = 1024 * 1024
"""That are kept between two times that the member sends; a line counts for one more than it has."""

SEND_EVERY_S = 0.1
"""With MAX_WAITING_CHARS this bounds what a node sends of it: 10 MiB a second."""

_From = tuple[AtWork, PrintedTo]


class Printed:
    """Written to by any thread of the process that made it, taken by one: `every_s` after a knock."""

    every_s = SEND_EVERY_S

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._knock: Callable[[], object] | None = None
        self._begun: dict[_From, str] = {}  # lines without their end
        self._lines: list[tuple[_From, str]] = []
        self._num_left_out: dict[_From, int] = {}
        self._num_chars = 0

    def knock_by(self, knock: Callable[[], object]) -> None:
        """Have `knock` called, on any thread, with the first line that waits; it must not wait."""
        self._knock = knock

    def write(self, task: AtWork, to: PrintedTo, text: str) -> None:
        """Take text that a task has printed; that of a process forked off this one is passed over."""
        if os.getpid() != self._pid:  # our lock may be held for ever there
            return
        with self._lock:
            was_empty = self._is_empty
            *lines, rest = (self._begun.pop((task, to), "") + text).split("\n")
            for line in lines:
                self._add((task, to), line)
            if len(rest) > MAX_LINE_CHARS:  # what has no end for so long is cut as lines are
                self._add((task, to), rest)
            elif rest:
                self._begun[task, to] = rest
            is_first = was_empty and not self._is_empty
        if is_first and self._knock is not None:
            self._knock()

    def take(self, fact: NodeFact | None = None) -> list[RunPrinted]:
        """Return what waits, in order, as messages. With the `fact` that a task has ended its last line is whole."""
        with self._lock:
            for of in [of for of in self._begun if _has_ended(of[0], fact)]:
                self._add(of, self._begun.pop(of))
            lines = [*self._lines, *((of, _left_out(num)) for of, num in self._num_left_out.items())]
            self._lines, self._num_left_out, self._num_chars = [], {}, 0
        return _messages(lines)

    @property
    def _is_empty(self) -> bool:
        return not self._lines and not self._num_left_out

    def _add(self, of: _From, line: str) -> None:
        line = line[:MAX_LINE_CHARS]
        if self._num_chars + len(line) < MAX_WAITING_CHARS:
            self._num_chars += len(line) + 1
            self._lines.append((of, line))
        else:
            self._num_left_out[of] = self._num_left_out.get(of, 0) + 1


def _has_ended(task: AtWork, fact: NodeFact | None) -> bool:
    match fact:
        case JobTaskEnded(task_id=task_id):
            return task.task_id == task_id
        case JobStopped(job_id=run_id):
            return task.run_id == run_id
        case _:
            return False


def _left_out(num: int) -> str:
    return f"[{num:,} lines more were printed too fast to be sent; the log of the node has them]"


def _messages(lines: list[tuple[_From, str]]) -> list[RunPrinted]:
    """Return the lines as messages, of one task each, at most NUM_LINES long."""
    parts: list[tuple[_From, list[str]]] = []
    for of, line in lines:
        if not parts or parts[-1][0] != of or len(parts[-1][1]) == NUM_LINES:
            parts.append((of, []))
        parts[-1][1].append(line)
    return [RunPrinted(task.run_id, task.task_id, task.step, to, tuple(part)) for (task, to), part in parts]


class PrintedStream(io.TextIOWrapper):
    """Stands in for a process's stdout or stderr: writes as that does, and gives what a task prints to `printed`."""

    def __init__(self, plain: TextIO, to: PrintedTo, printed: Printed) -> None:
        plain.flush()
        super().__init__(
            plain.buffer,
            encoding=plain.encoding,
            errors="backslashreplace",
            line_buffering=bool(plain.line_buffering),
        )
        self._plain, self._to, self._printed = plain, to, printed  # `plain` lives as long: it would close the buffer

    def write(self, text: str, /) -> int:
        task = at_work()
        if task is not None:
            self._printed.write(task, self._to, text)
        return super().write(text)
