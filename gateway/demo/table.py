"""The table of what ran where and how fast, from the figures of a job and its engines. Pure; knows no terminal."""

from collections.abc import Sequence

from sage.base.aligned import aligned
from sage.flow.runner import ChainMetrics, EngineStatus, JobMetrics

_HEAD = ("what ran", "where", "in", "out", "batches", "requests", "tokens in", "tokens out", "busy s")


def what_ran_where(metrics: JobMetrics, engines: Sequence[EngineStatus]) -> str:
    """Return the table: a line a chain of fused steps, a line an engine.

    `busy s` is what a chain computed itself; while it waits for engines it is not busy.
    """
    rows = [*map(_chain_row, metrics.chains), *map(_engine_row, engines)]
    return aligned([_HEAD, *rows], num_left=2)


def _chain_row(chain: ChainMetrics) -> tuple[str, ...]:
    return (
        " > ".join(chain.steps),
        ", ".join(chain.nodes),
        f"{chain.records_in:,}",
        f"{chain.records_out:,}",
        f"{chain.num_batches:,}",
        _count(chain.num_requests),
        _count(chain.prompt_tokens),
        _count(chain.completion_tokens),
        f"{chain.busy_s:.2f}",
    )


def _engine_row(engine: EngineStatus) -> tuple[str, ...]:
    models = ", ".join(card.name for card in engine.models)
    label = f"{models} ({'simulated' if engine.simulated else engine.kind})"
    return (
        label,
        engine.device,
        "",
        "",
        "",
        _count(engine.num_requests),
        _count(engine.prompt_tokens),
        _count(engine.completion_tokens),
        "",
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
