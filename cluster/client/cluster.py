"""RemoteCluster: a cluster in other processes, as a Cluster. Knows neither sockets nor how code travels."""

import atexit
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from random import Random
from types import TracebackType
from typing import Any, Self

from cluster.client.collecting import Collecting, Unpack
from cluster.client.engine_admin import EngineAdmin
from cluster.client.kept_results import KeptResults, kept_results
from cluster.client.line import HeadLine
from cluster.client.line_desk import LineDesk
from cluster.client.news import JobNewsDesk, ShowLines, print_lines, view_of_state
from cluster.client.subscription import Subscription
from cluster.jobs.outline import outline_from_plan, plan_from_outline
from cluster.local.awaited import AwaitedCluster
from cluster.local.job import JobBoard, SubmittedJob
from cluster.local.models import Asker
from cluster.runtime.control_clients import (
    CancelFlow,
    Done,
    DrainNode,
    EngineList,
    ExplainFlow,
    Explanation,
    GetJob,
    GetLogs,
    Greeting,
    JobAnswer,
    JobList,
    JobSubmitted,
    ListEngines,
    ListJobs,
    ListNodes,
    Logs,
    NodeList,
    StopCluster,
    SubmitFlow,
)
from cluster.runtime.control_plane import ChangePolicy, GetPlane, PlaneShown, ServeModel
from cluster.runtime.control_printed import LogLine
from cluster.runtime.keep_flow import KeepFlow
from cluster.runtime.states import JobState, NodeState, PlaneState
from cluster.runtime.travelling_code import Code
from sage.base.errors import CodeRefused, FlowInvalid, SageError
from sage.base.ids import JobId, NodeId, RequestId, new_id
from sage.base.inference import Kind, ModelCard, ReplyTo, Request
from sage.flow.checkpoint import Checkpoint, Resume, checked_resume
from sage.flow.graph import Graph
from sage.flow.plan import plan_from_graph
from sage.flow.runner import EngineStatus, Job, NodeView, Submittable

SUBMIT_S = 30.0
"""For the head to place a job; code of some megabytes may be on the way."""


@dataclass(frozen=True, slots=True)
class Shipping:
    """How the code of a flow and its records travel: what a runner gives a RemoteCluster.

    `code_where_refused`: how, where it cannot travel so or the cluster does not take it; None: not at all then.
    """

    code: Callable[[Graph, JobId], Code]
    code_where_refused: Callable[[Graph, JobId], Code] | None
    unpack: Callable[[Graph], Unpack]


@dataclass(frozen=True, slots=True)
class LineInference:
    """The models of a cluster elsewhere; an Inference."""

    line: HeadLine

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self.line.submit(requests, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self.line.cancel(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        engines = self.line.ask(ListEngines, EngineList).engines
        return tuple(dict.fromkeys(card for engine in engines if engine.state == "ready" for card in engine.models))


class RemoteCluster(AwaitedCluster):
    """A running cluster; leaving it closes the connection. Jobs of others, and those not waited for, go on."""

    def __init__(
        self,
        line: HeadLine,
        greeting: Greeting,
        shipping: Shipping,
        *,
        where: str,
        show: ShowLines = print_lines,
        on_close: Callable[[], object] = lambda: None,
        rng: Random | None = None,
    ) -> None:
        """`where` is the address, for people; `show` takes what jobs submitted here print; `on_close` comes last."""
        self._line = line
        self._greeting = greeting
        self._shipping = shipping
        self._where = where
        self._show = show
        self._on_close = on_close
        self._rng = rng if rng is not None else Random()
        self._is_closed = False
        self._asker = Asker(self.inference, self._serve_model, self.engines, line.clock, self._rng)
        atexit.register(self.close)

    @property
    def name(self) -> str:
        return self._greeting.cluster

    @property
    def where(self) -> str:
        """The address by which it was reached."""
        return self._where

    @property
    def head_pid(self) -> int:
        return self._greeting.pid

    @property
    def num_refused(self) -> int:
        """How many connections to the head had come to nothing when this one was made."""
        return self._greeting.num_refused

    @property
    def inference(self) -> LineInference:
        """The door to the models of this cluster; usable from any thread."""
        return LineInference(self._line)

    def submit(
        self,
        flow: Graph | Submittable,
        *,
        checkpoint: Checkpoint | None = None,
        resume: Resume = "auto",
        collects: bool = True,
        shows: bool = True,
    ) -> SubmittedJob:
        """Start a flow, or go on with it; every node and the head must reach the folder of the checkpoints.

        Raises FlowInvalid, UnknownModel, NoRoom, CodeRefused, CheckpointUnusable and the like before anything runs.

        Without `collects` what `collect()` brings does not come here, and without `shows` what the job prints: the head
        keeps the newest of it.
        """
        graph = flow if isinstance(flow, Graph) else flow.graph()
        resume = checked_resume(resume, checkpoint)
        keep = _keep_flow(checkpoint, resume) if checkpoint is not None else None
        try:
            return self._submit(graph, self._shipping.code, keep, collects=collects, shows=shows)
        except (CodeRefused, FlowInvalid) as refusal:
            if self._shipping.code_where_refused is None:
                raise
            try:
                return self._submit(graph, self._shipping.code_where_refused, keep, collects=collects, shows=shows)
            except CodeRefused:
                raise refusal from None

    def _submit(
        self,
        graph: Graph,
        code_of: Callable[[Graph, JobId], Code],
        keep: KeepFlow | None,
        *,
        collects: bool,
        shows: bool,
    ) -> SubmittedJob:
        job_id = JobId(new_id("job", self._rng, num_chars=8))
        code = code_of(graph, job_id)
        outline = outline_from_plan(plan_from_graph(graph))
        collecting = Collecting(graph if collects else _EMPTY, self._shipping.unpack(graph))
        subscription = Subscription(self._line, job_id, collects=bool(collecting), logs=shows)
        board, desk = self._listening(subscription, collecting, self._show)
        try:
            self._line.ask(
                lambda number: SubmitFlow(number, job_id, code, outline, bool(collecting), keep),
                JobSubmitted,
                timeout_s=SUBMIT_S,
            )
            subscription.begin(desk)
        except BaseException:  # whoever is told so may submit the flow again: its sinks are not this job's any more
            self._line.listen_no_more(job_id)
            raise
        line = LineDesk(self._line, self._shipping.unpack(graph))
        return SubmittedJob(job_id, graph, board, line, self._line.clock, is_kept=keep is not None)

    def job(self, job_id: JobId) -> SubmittedJob:
        """Return a job of this cluster, whoever submitted it; raises UnknownJob."""
        answer = self.describe(job_id)
        graph = plan_from_outline(answer.outline).graph
        subscription = Subscription(self._line, job_id, collects=False, logs=False)
        board, desk = self._listening(subscription, Collecting(_EMPTY, _no_records), lambda lines: None)
        board.post(view_of_state(answer.state))
        if answer.state.is_over:
            self._line.listen_no_more(job_id)
        else:
            subscription.begin(desk)
        line = LineDesk(self._line, self._shipping.unpack(_EMPTY))
        return SubmittedJob(job_id, graph, board, line, self._line.clock)

    def jobs(self) -> list[Job]:
        return [self.job(state.job_id) for state in self.job_states()]

    def job_states(self) -> tuple[JobState, ...]:
        """Return every job that the head knows, as it is now."""
        return self._line.ask(ListJobs, JobList).jobs

    def describe(self, job_id: JobId) -> JobAnswer:
        """Return how a job is, and its plan; raises UnknownJob."""
        return self._line.ask(lambda number: GetJob(number, job_id), JobAnswer)

    def nodes(self) -> list[NodeView]:
        return [state.view for state in self.node_states()]

    def node_states(self) -> tuple[NodeState, ...]:
        """Return every node, with how its membership is."""
        return self._line.ask(ListNodes, NodeList).nodes

    def explain(self, job_id: JobId) -> tuple[str, ...]:
        """Return a line for each part of a job: where it is and why; none where it has no place. Raises UnknownJob."""
        return self._line.ask(lambda number: ExplainFlow(number, job_id), Explanation).lines

    def results(self, job_id: JobId, flow: Graph | None = None) -> KeptResults:
        """Return what a job collected and no client took, as far as the head keeps it; it stays there.

        `flow`: needed where records are of classes of its own. Raises: UnknownJob; FlowInvalid where it is needed.
        """
        return kept_results(self._line, job_id, self._shipping.unpack(flow if flow is not None else _EMPTY))

    @property
    def engine_admin(self) -> EngineAdmin:
        """The engines, to be started and ended while the cluster runs."""
        return EngineAdmin(self._line)

    def engines(self) -> list[EngineStatus]:
        return list(self._line.ask(ListEngines, EngineList).engines)

    def _serve_model(self, model: str, kind: Kind) -> None:
        """Have engines of a model run, for a call from Python; a flow that answers as it will do."""
        self._line.ask(lambda number: ServeModel(number, model, kind), Done, timeout_s=SUBMIT_S)

    def plane_state(self) -> PlaneState:
        return self._line.ask(GetPlane, PlaneShown).state

    def set_policy(self, policy: str | None = None, *, route: str | None = None) -> PlaneState:
        """Order what waits by a policy, choose engines by a route, at once; raises UnknownPolicy."""
        return self._line.ask(lambda number: ChangePolicy(number, policy, route), PlaneShown).state

    def logs(self, job_id: JobId) -> tuple[LogLine, ...]:
        """Return the newest lines that a job printed; raises UnknownJob."""
        return self._line.ask(lambda number: GetLogs(number, job_id), Logs).lines

    def follow_logs(self, job_id: JobId, show: ShowLines) -> None:
        """Give `show` the newest lines that a job printed and all that come, until it is over. Raises UnknownJob.

        `show` is called on another thread.
        """
        subscription = Subscription(self._line, job_id, collects=False, logs=True)
        board, desk = self._listening(subscription, Collecting(_EMPTY, _no_records), show)
        try:
            subscription.begin(desk)
            board.wait_over(None)
        finally:
            self._line.listen_no_more(job_id)

    def cancel(self, job_id: JobId) -> None:
        """Have a job stopped, whoever submitted it, without waiting until it has. Raises UnknownJob."""
        self._line.ask(lambda number: CancelFlow(number, job_id), Done)

    def drain(self, node_id: NodeId) -> None:
        """Place nothing new on a node; it ends once nothing runs there. Raises UnknownNode."""
        self._line.ask(lambda number: DrainNode(number, node_id), Done)

    def stop(self) -> None:
        """Have the whole cluster end: what runs is cancelled, nodes and engines end."""
        self._line.ask(StopCluster, Done)

    def close(self) -> None:
        """Close the connection, and end what was started for it."""
        if not self._is_closed:
            self._is_closed = True
            atexit.unregister(self.close)
            try:
                self._line.close()
            finally:
                self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _listening(
        self, subscription: Subscription, collecting: Collecting, show: ShowLines
    ) -> tuple[JobBoard, JobNewsDesk]:
        """Return where the news of a job is posted, and who listens to it from now on."""
        board, job_id = JobBoard(self._line.scheduler.condition()), subscription.job_id
        desk = JobNewsDesk(
            board,
            collecting,
            give_credit=self._line.say,
            give_up=lambda: self._line.say(CancelFlow(0, job_id)),
            show=show,
            ask_anew=subscription.begin_anew,
            epoch=self._greeting.epoch,
        )
        self._line.listen(job_id, desk)
        return board, desk

    def _repr_html_(self) -> str:
        try:
            rows = "".join(
                f"<tr><td>{escape(s.job_id)}</td><td>{escape(s.name)}</td><td>{escape(s.metrics.status_shown)}</td></tr>"
                for s in self.job_states()
            )
        except SageError as error:
            return f"<p>Cluster at {escape(self._where)}: {escape(error.what)}</p>"
        return (
            f"<p>Cluster {escape(self.name)} at {escape(self._where)}</p>"
            f"<table><tr><th>job</th><th>flow</th><th>status</th></tr>{rows}</table>"
        )


_EMPTY = Graph("", ())


def _keep_flow(wanted: Checkpoint, resume: Resume) -> KeepFlow:
    """Return how a flow takes checkpoints, with paths that mean the same everywhere."""
    savepoint = os.path.abspath(wanted.savepoint) if wanted.savepoint is not None else None
    folder = os.path.abspath(wanted.folder)
    return KeepFlow(
        folder, wanted.every_s, wanted.num_kept, wanted.timeout_s, wanted.drop, savepoint, resume, wanted.state
    )


def _no_records(data: bytes) -> Sequence[Any]:
    return ()
