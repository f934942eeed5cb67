"""What a runner offers to whoever has a flow: clusters, jobs, results. Knows no runner."""

import os
from collections.abc import Awaitable, Callable, Hashable
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self

import msgspec

from sage.base.ids import JobId, NodeId
from sage.base.inference import ModelCard
from sage.base.resources import Resources
from sage.flow.checkpoint import Checkpoint, Resume
from sage.flow.graph import Graph
from sage.flow.models import AsyncModels, Models


class JobStatus(StrEnum):
    CREATED = "created"
    RUNNING = "running"
    DRAINING = "draining"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ChainMetrics(msgspec.Struct, frozen=True):
    """What one chain of fused steps has done so far, over all its instances. `busy_s` is time spent computing.

    `records_late` came too late for their windows and were left out. Of model calls that an earlier run had made,
    `num_replayed` were answered from the journal, and `num_repeated` made again: they were out when it was killed.
    `num_cached`: calls that a cache has answered; `num_unreadable`: kept answers that nobody could read: dropped,
    and asked for again.

    `watermark_s` is the event time that all instances have reached, None where there is none, or it is over; the lag of
    a step is how long ago that is. `num_waiting`: batches that have come to the instances and were not taken yet.

    `urls`: where records are posted to the instances of a source that listens.
    """

    chain_id: str
    steps: tuple[str, ...]
    nodes: tuple[NodeId, ...]
    num_tasks: int
    records_in: int = 0
    records_out: int = 0
    num_batches: int = 0
    num_requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    busy_s: float = 0.0
    records_late: int = 0
    num_replayed: int = 0
    num_repeated: int = 0
    num_cached: int = 0
    num_unreadable: int = 0
    watermark_s: float | None = None
    num_waiting: int = 0
    urls: tuple[str, ...] = ()


class JobMetrics(msgspec.Struct, frozen=True):
    """`records_in` left the sources; `records_out` reached the sinks.

    `pause`: what a job waits for that is paused, "" where it is not: a disk that is full, with its folder.
    """

    status: JobStatus
    records_in: int
    records_out: int
    duration_s: float
    chains: tuple[ChainMetrics, ...]
    pause: str = ""

    @property
    def status_shown(self) -> str:
        """Return the status as people are told it, with what a paused job waits for."""
        if not self.pause:
            return self.status.value
        return f"{'' if self.status is JobStatus.PAUSED else f'{self.status.value}, '}paused: {self.pause}"

    @property
    def urls(self) -> dict[str, str]:
        """Return, by the names of their steps, where to post to those sources that listen by now.

        Of several instances it is the first; ChainMetrics has the `urls` of all.
        """
        return {chain.steps[0]: chain.urls[0] for chain in self.chains if chain.urls}


STATE_S = 5.0
"""For the state of a step to be answered, if nobody says otherwise."""


class DeadLetterRecord(msgspec.Struct, frozen=True):
    """A record that a step with `on_error("dead_letter")` set aside; `value` is its repr, cut at 10,000 characters.

    `key` is the repr of its key, "" where it has none; `timestamp_s` its event time. `lineage` says where it came from:
    the source and which record of it, as far as that is known. `sage replay ID` runs the step on it again, on the
    machine of `node`, where it lies.
    """

    id: str
    step: str
    value: str
    error: str
    traceback: str
    key: str = ""
    timestamp_s: float | None = None
    lineage: str = ""
    node: str = ""


class JobResult(msgspec.Struct, frozen=True):
    """How a job ended well. `dead_letters` is their number; `guarantees` says what the run promised, a line a sink.

    `num_replayed`, `num_repeated`, `num_cached` and `num_unreadable` are calls, as in ChainMetrics.
    """

    job_id: JobId
    status: JobStatus
    records_in: int
    records_out: int
    dead_letters: int
    duration_s: float
    guarantees: tuple[str, ...]
    num_replayed: int = 0
    num_repeated: int = 0
    num_cached: int = 0
    num_unreadable: int = 0


class NodeView(msgspec.Struct, frozen=True):
    """A node as the cluster sees it."""

    node_id: NodeId
    total: Resources
    free: Resources
    num_tasks: int
    engines: tuple[str, ...] = ()


class EngineStatus(msgspec.Struct, frozen=True):
    """An engine as the cluster sees it; `state` is "waiting" (for room), "starting", "ready", "draining", "lost".

    `node`: where its host is. `why`: for what it waits, or why it is lost. What some engines say of themselves, else
    None: `num_waiting` requests inside it, `kv_used` of its memory for keys and values, `prefix_hit` of prompt tokens
    that it had cached. `cache_belief`: how the plane knows what of prompts it has cached: "exact" by its own word,
    "learned" from its answers, "" where that is not asked.
    """

    engine_id: str
    kind: str
    state: str
    device: str
    simulated: bool
    models: tuple[ModelCard, ...]
    num_running: int
    num_requests: int
    prompt_tokens: int
    completion_tokens: int
    node: str = ""
    why: str = ""
    num_waiting: int | None = None
    kv_used: float | None = None
    prefix_hit: float | None = None
    cache_belief: str = ""


class Job(Protocol):
    """A flow that was submitted."""

    @property
    def id(self) -> JobId: ...

    @property
    def status(self) -> JobStatus: ...

    @property
    def graph(self) -> Graph: ...

    def wait(
        self, timeout_s: float | None = None, *, on_progress: Callable[[JobMetrics], None] | None = None
    ) -> JobResult:
        """Wait for the end. `on_progress` is called on this thread, at most ten times a second.

        Raises what made the job fail (RecordFailed, SourceUnreadable, ...), JobCancelled, or JobTimeout (the job
        itself goes on).
        """
        ...

    def cancel(self) -> None:
        """Stop it now; returns once every task has ended or is named in TaskStuck."""
        ...

    def metrics(self) -> JobMetrics: ...

    def dead_letters(self) -> list[DeadLetterRecord]: ...

    def states(self) -> tuple[str, ...]:
        """Return the steps that `state` can be asked of."""
        ...

    def state(self, step: str, key: Hashable, *, timeout_s: float = STATE_S) -> Any:
        """Return what a running step keeps of `key` now, between two batches: a copy, or None where it keeps nothing.

        Of an aggregate that is its value, of a process a dict of the key's states by name, of a window a list of a
        WindowResult for each that may still change, with its value so far; of a join, where records wait for others, a
        dict of `(time_s, record)` of its "left" and its "right". Raises UnknownState; StateUnreachable where the job
        is over, has no place or does not answer in `timeout_s`.
        """
        ...

    def savepoint(self, path: str | os.PathLike[str]) -> None:
        """Copy all that the job holds to a new folder, and go on; returns once it is there.

        `sage.Checkpoint(path)` runs the flow from it. Raises CheckpointUnusable where the job takes no checkpoints.
        """
        ...


class Submittable(Protocol):
    """A flow: what a graph can be had from."""

    def graph(self) -> Graph:
        """Return the checked graph; raises FlowInvalid."""
        ...


class TakesFlows(Protocol):
    """What runs flows."""

    def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> Job:
        """Start a flow (or its graph), or go on with it from a checkpoint.

        Raises FlowInvalid, UnknownModel, ModelMissing, NoRoom and CheckpointUnusable before anything runs.
        """
        ...


class AsyncCluster(AsyncModels, Protocol):
    """A cluster for coroutines. A job that is had so is asked as any other: `await asyncio.to_thread(job.wait)`."""

    def submit(
        self, flow: Graph | Submittable, *, checkpoint: Checkpoint | None = None, resume: Resume = "auto"
    ) -> Awaitable[Job]:
        """Start a flow, as `Cluster.submit` does; a task that is cancelled while it waits for that cancels the job."""
        ...

    def jobs(self) -> Awaitable[list[Job]]: ...

    def nodes(self) -> Awaitable[list[NodeView]]: ...


class Cluster(TakesFlows, Models, Protocol):
    """A place where flows run and models answer; a context manager: leaving it stops what was started for it."""

    @property
    def aio(self) -> AsyncCluster:
        """The same for coroutines."""
        ...

    def jobs(self) -> list[Job]: ...

    def nodes(self) -> list[NodeView]: ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


Runner = Callable[[str | None], Cluster]
"""What an entry point of the group `sage.runners` names: takes the address, gives the cluster."""
