"""The table of what ran where and how fast, from the figures of a job and its engines. Pure; knows no terminal."""

from collections.abc import Sequence

from cluster.commands.show import aligned
from sage.flow.runner import ChainMetrics, EngineStatus, JobMetrics

_HEAD = ("what ran", "where", "in", "out", "batches", "requests", "tokens in", "tokens out", "busy s", "per s")


def what_ran_where(metrics: JobMetrics, engines: Sequence[EngineStatus]) -> str:
    """Return the table: a line a chain of fused steps, a line an engine.

    `per s`: for a chain, records a second over the whole job; for an engine, tokens a second over the whole job.
    """
    rows = [_chain_row(chain, metrics.duration_s) for chain in metrics.chains]
    rows += [_engine_row(engine, metrics.duration_s) for engine in engines]
    return aligned([_HEAD, *rows], num_left=2)


def _chain_row(chain: ChainMetrics, duration_s: float) -> tuple[str, ...]:
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
        _rate(chain.records_in, duration_s),
    )


def _engine_row(engine: EngineStatus, duration_s: float) -> tuple[str, ...]:
    models = ", ".join(card.name for card in engine.models)
    label = f"{models} ({'simulated' if engine.simulated else engine.kind})"
    tokens = engine.prompt_tokens + engine.completion_tokens
    return (
        label,
        f"{engine.engine_id} on {engine.device}",
        "",
        "",
        "",
        _count(engine.num_requests),
        _count(engine.prompt_tokens),
        _count(engine.completion_tokens),
        "",
        _rate(tokens, duration_s),
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _rate(number: int, duration_s: float) -> str:
    return f"{number / duration_s:,.0f}" if duration_s > 0 else ""
