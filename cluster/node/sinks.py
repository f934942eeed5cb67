"""Sinks as a node has them: what is kept in memory or printed goes to the head; all others ask the lease first.

Whatever others can see happens only while the lease is held: a node that was paused, or cut off, does nothing that
another does in its place by then. Knows nothing of sockets.
"""

from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, replace
from typing import Any

from cluster.jobs.lease import Lease
from cluster.node.untaken import Gathered, Untaken
from cluster.runtime.control import RunCollected, RunLogged
from cluster.runtime.messages import TaskSpec
from cluster.runtime.packed import Piece, pack_records
from cluster.runtime.record_types import RecordTypes
from sage.base.ids import JobId, TaskId
from sage.flow.graph import Step
from sage.flow.ports import ResumableSink, ResumableWriter, Sink, SinkWriter, Written
from sage.flow.shares import share_of
from sage.flow.sinks import ListSink, PrintSink
from sage.flow.spec import ForEach, Write

MAX_LINE_CHARS = 8_000
NUM_SENT_AGAIN = 1_000
NUM_LINES = 250  # that travel together: 2 million characters at most


@dataclass(frozen=True, slots=True)
class SinkPorts:
    """What the sinks of one task are lent. `send` takes a message for the head, on any thread, without waiting.

    `keeps`: checkpoints are taken, so that what was sent may have to be sent again.
    """

    run_id: JobId
    task_id: TaskId
    types: RecordTypes
    lease: Lease
    untaken: Untaken
    send: Callable[[RunCollected | RunLogged], object]
    keeps: bool = False


def with_sinks_here(task: TaskSpec, ports: SinkPorts) -> TaskSpec:
    """Return `task` with the sinks that it has on a node."""
    steps = tuple(_step_here(step, ports) for step in task.chain.steps)
    return replace(task, chain=replace(task.chain, steps=steps))


def _step_here(step: Step, ports: SinkPorts) -> Step:
    match step.spec:
        case Write(sink=ListSink()):
            return replace(step, spec=Write(CollectingSink(step.name, ports)))
        case Write(sink=PrintSink()):
            return replace(step, spec=Write(LoggingSink(step.name, ports)))
        case Write(sink=sink):
            return replace(step, spec=Write(leased(sink, ports.lease)))
        case ForEach(fn=fn):
            return replace(step, spec=ForEach(_leased(fn, ports.lease)))
        case _:
            return step


def _leased(fn: Callable[[Any], object], lease: Lease) -> Callable[[Any], object]:
    def call(record: Any) -> object:
        lease.check()
        return fn(record)

    return call


@dataclass(frozen=True, slots=True)
class LeasedSink:
    """A sink of the user's that writes and commits only while the lease is held."""

    sink: Sink[Any]
    lease: Lease

    def share(self, number: int, num_shares: int) -> "LeasedSink | ResumableLeasedSink":
        return leased(share_of(self.sink, number, num_shares), self.lease)

    def open(self) -> "LeasedWriter":
        self.lease.check()
        return LeasedWriter(self.sink.open(), self.lease)


@dataclass(frozen=True, slots=True)
class ResumableLeasedSink:
    """A LeasedSink that can be gone on with."""

    sink: ResumableSink[Any]
    lease: Lease

    def share(self, number: int, num_shares: int) -> "LeasedSink | ResumableLeasedSink":
        return leased(share_of(self.sink, number, num_shares), self.lease)

    def open(self) -> "ResumableLeasedWriter":
        self.lease.check()
        writer: Any = self.sink.open()
        return ResumableLeasedWriter(writer, self.lease)

    def resume(self, position: Any, contents: Sequence[Any]) -> "ResumableLeasedWriter":
        self.lease.check()
        return ResumableLeasedWriter(self.sink.resume(position, contents), self.lease)


def leased(sink: Sink[Any], lease: Lease) -> LeasedSink | ResumableLeasedSink:
    """Return `sink` as it writes and commits only while the lease is held."""
    return ResumableLeasedSink(sink, lease) if isinstance(sink, ResumableSink) else LeasedSink(sink, lease)


@dataclass(frozen=True, slots=True)
class LeasedWriter:
    writer: SinkWriter[Any]
    lease: Lease

    def write(self, records: Sequence[Any]) -> None:
        self.lease.check()
        self.writer.write(records)

    def close(self, *, complete: bool) -> None:
        """Commit only while the lease is held; else let go, and raise MembershipOver."""
        if complete and self.lease.left_s() <= 0.0:
            self.writer.close(complete=False)
            self.lease.check()
        self.writer.close(complete=complete)


class ResumableLeasedWriter(LeasedWriter):
    """A LeasedWriter that says how far it is."""

    __slots__ = ()
    writer: ResumableWriter[Any]

    def written(self) -> Written:
        self.lease.check()
        written = self.writer.written()
        commit = written.commit
        return written if commit is None else replace(written, commit=lambda: self._commit(commit))

    def _commit(self, commit: Callable[[], None]) -> None:
        self.lease.check()
        commit()


@dataclass(frozen=True, slots=True)
class CollectingSink:
    """Sends records to the head, for the client that collects them."""

    step: str
    ports: SinkPorts

    def share(self, number: int, num_shares: int) -> "CollectingSink":
        """What a task brings is counted by its id."""
        return self

    def open(self) -> "CollectingWriter":
        return CollectingWriter(self.step, self.ports)

    def resume(self, position: Any, contents: Sequence[Any]) -> "CollectingWriter":
        """Send all again: the client takes what a new run brings in place of what the last one brought."""
        writer = self.open()
        for start in range(0, len(contents), NUM_SENT_AGAIN):
            writer.write(contents[start : start + NUM_SENT_AGAIN])
        return writer


class CollectingWriter:
    """Waits while too much was not taken."""

    def __init__(self, step: str, ports: SinkPorts) -> None:
        self._step = step
        self._ports = ports
        self._gathered = Gathered(self._send)
        self._sent: list[Any] = []

    def write(self, records: Sequence[Any]) -> None:
        ports = self._ports
        for piece in pack_records(records, ports.types, where=f"step {self._step!r}"):
            ports.untaken.bring(piece, self._gathered)
        if ports.keeps:
            self._sent.extend(records)

    def written(self) -> Written:
        return Written(contents=self._sent)

    def close(self, *, complete: bool) -> None:
        """Send what waits: it is on its way before the task's end is. Of a run that was stopped nobody wants it."""
        if complete or not self._ports.untaken.is_over:
            self._ports.untaken.bring_rest(self._gathered)

    def _send(self, piece: Piece) -> None:
        ports = self._ports
        ports.send(RunCollected(ports.run_id, ports.task_id, self._step, piece.packed, piece.num_records))


@dataclass(frozen=True, slots=True)
class LoggingSink:
    """Prints to the node's log and sends the lines to the head."""

    step: str
    ports: SinkPorts

    def share(self, number: int, num_shares: int) -> "LoggingSink":
        return self

    def open(self) -> "LoggingSink":
        return self

    def write(self, records: Sequence[Any]) -> None:
        lines = [str(record)[:MAX_LINE_CHARS] for record in records]
        Context().run(print, "\n".join(lines), flush=True)  # as of no task: it is sent here, and at the job's pace
        for first in range(0, len(lines), NUM_LINES):
            self.ports.untaken.take()
            part = tuple(lines[first : first + NUM_LINES])
            self.ports.send(RunLogged(self.ports.run_id, self.ports.task_id, self.step, part))

    def close(self, *, complete: bool) -> None:
        """Nothing to finish."""
