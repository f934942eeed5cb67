"""Runs the demo: sees that models are here, starts a cluster, runs the flow, shows it. Decides nothing."""

import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from socket import socket

import msgspec

from cluster.commands.pull import ensure_models
from cluster.commands.show import print_json
from cluster.local import LocalCluster
from cluster.serving.driver import HeldLink
from gateway.demo.flow import FOUND_STEP, ChunkVector, demo_flow, docs_flow
from gateway.demo.questions import Question
from gateway.demo.report import DemoReport, Milestones, report_of, text_of
from gateway.demo.show import Show
from sage.base.settings import ModelsSettings, Settings
from sage.flow.runner import JobMetrics

RUN_TIMEOUT_S = 600.0
_READY = "ready"


def run_demo(questions: Sequence[Question], settings: Settings, *, serve: bool, as_json: bool) -> None:
    """Run the demo to its end and print what came of it; with `serve` the gateway takes over the engines.

    As JSON, only the report goes to standard output, the transcript to standard error.

    Raises: ModelMissing where a model is not here and nobody can be asked; UnknownModel; EngineStartFailed; with
    `serve` also ConfigInvalid where the gateway's port is taken, before anything else is done.
    """
    configured = {engine.model for engine in settings.engines}
    ensure_models([name for name in (settings.models.chat, settings.models.embed) if name not in configured])
    with _listening(settings, serve=serve) as bound:
        chunks: list[ChunkVector] | None = [] if serve else None
        engines = _run(questions, settings, chunks, as_json=as_json)
        if bound is not None:
            from gateway.serving import serve as serve_engines

            flow = docs_flow(chunks or (), chat_model=settings.models.chat, embed_model=settings.models.embed)
            serve_engines(engines, settings, bound=bound, flow=flow.graph(), announce=_announce)


def _run(
    questions: Sequence[Question], settings: Settings, chunks: list[ChunkVector] | None, *, as_json: bool
) -> tuple[HeldLink, ...]:
    """Run and show the flow. Where its `chunks` are to be kept, return its engines too, still running."""
    out = sys.stderr if as_json else sys.stdout
    show = Show(len(questions), out=out, err=sys.stderr, width=_width())
    with LocalCluster(settings=settings) as cluster:
        try:
            report = _answer(questions, settings, cluster, show, chunks)
        finally:
            show.close()
        if as_json:
            print_json(report)
        else:
            print(f"\n{text_of(report)}", flush=True)
        return cluster.release_engines() if chunks is not None else ()


@contextmanager
def _listening(settings: Settings, *, serve: bool) -> Iterator[socket | None]:
    """Take the gateway's port first, so that one that is taken is known at once."""
    if not serve:
        yield None
        return
    from gateway.keyed import listen_keyed

    with listen_keyed(settings.gateway) as bound:
        yield bound


def _announce(line: str) -> None:
    print(f"\n{line}\nCtrl-C ends it.", flush=True)


def _width() -> int:
    """Return how long a line may be: the terminal's width, 100 characters where there is none."""
    return max(80, min(120, shutil.get_terminal_size((100, 0)).columns))


def _answer(
    questions: Sequence[Question],
    settings: Settings,
    cluster: LocalCluster,
    show: Show,
    chunks: list[ChunkVector] | None,
) -> DemoReport:
    models = settings.models
    job = cluster.submit(
        demo_flow(
            questions,
            show.listeners(),
            chat_model=models.chat,
            embed_model=models.embed,
            keep=chunks.append if chunks is not None else None,
        ).graph()
    )
    watch = _Watch(cluster, show, models)
    try:
        job.wait(RUN_TIMEOUT_S, on_progress=watch)
    except BaseException:
        job.cancel()
        raise
    metrics = job.metrics()
    milestones = msgspec.structs.replace(watch.milestones, answered_s=metrics.duration_s)
    return report_of(show.answers, milestones, metrics, cluster.engines())


class _Watch:
    """Hears how the job goes, and notes when it reached what."""

    def __init__(self, cluster: LocalCluster, show: Show, models: ModelsSettings) -> None:
        self._cluster = cluster
        self._show = show
        self._models = models
        self.milestones = Milestones()

    def __call__(self, metrics: JobMetrics) -> None:
        self._show.on_progress(metrics)
        ready = {card.name for engine in self._cluster.engines() if engine.state == _READY for card in engine.models}
        num_found = sum(chain.records_out for chain in metrics.chains if FOUND_STEP in chain.steps)
        now = {
            "embedding_s": self._models.embed in ready,
            "chat_s": self._models.chat in ready,
            "indexed_s": num_found > 0,
        }
        reached = {
            name: metrics.duration_s for name, is_so in now.items() if is_so and not getattr(self.milestones, name)
        }
        self.milestones = msgspec.structs.replace(self.milestones, **reached)
