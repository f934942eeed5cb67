"""A cluster in tables for people: its nodes, jobs and engines. Knows nothing of how they are asked for."""

from collections.abc import Iterable, Sequence

from cluster.jobs.mended_journal import Mending
from cluster.runtime.control_clients import JobAnswer
from cluster.runtime.states import JobState, NodeState, TenantState
from sage.base.amounts import megabytes
from sage.base.inference import ModelCard
from sage.flow.event_time_shown import shown_lag, shown_watermark
from sage.flow.runner import DeadLetterRecord, EngineStatus

Rows = list[tuple[str, ...]]
"""The first is the heading."""


def node_rows(nodes: Iterable[NodeState]) -> Rows:
    """Return a row a node: what it has, what of it is free, how it is."""
    rows: Rows = [
        ("NODE", "STATE", "CPUS FREE", "GPUS FREE", "MEMORY FREE", "TASKS", "ENGINES", "HEARD", "HOST", "PID")
    ]
    for node in sorted(nodes, key=lambda node: node.view.node_id):
        total, free = node.view.total, node.view.free
        rows.append(
            (
                node.view.node_id,
                node.state,
                f"{free.cpus:g} of {total.cpus:g}",
                f"{free.gpus:g} of {total.gpus:g}",
                f"{megabytes(free.memory_bytes)} of {megabytes(total.memory_bytes)}",
                str(node.view.num_tasks),
                ", ".join(name.removeprefix("engine ") for name in node.view.engines),
                f"{node.silent_s:.1f} s ago",
                node.host,
                str(node.pid),
            )
        )
    return rows


def tenant_rows(tenants: Iterable[TenantState]) -> Rows:
    """Return a row a tenant: its share, what is left of its quotas, what it waits for."""
    rows: Rows = [("TENANT", "WEIGHT", "TOKENS LEFT", "REQUESTS LEFT", "BUDGET LEFT", "OPEN", "WAIT")]
    for tenant in tenants:
        tokens = _left(tenant.tokens_left, tenant.tokens_per_minute)
        requests = _left(tenant.requests_left, tenant.requests_per_minute)
        budget = _left(tenant.budget_left, tenant.budget_tokens)
        waits = (
            f"{tenant.num_waiting}" if tenant.max_waiting is None else f"{tenant.num_waiting} of {tenant.max_waiting}"
        )
        rows.append((tenant.name, f"{tenant.weight:g}", tokens, requests, budget, str(tenant.num_open), waits))
    return rows


def _left(left: float | None, per_minute: int | None) -> str:
    return "no limit" if left is None or per_minute is None else f"{left:,.0f} of {per_minute:,}"


def job_rows(jobs: Iterable[JobState], now_unix_s: float) -> Rows:
    """Return a row a job: how it is and how far, and how far the step furthest behind is behind the clock."""
    rows: Rows = [("JOB", "FLOW", "STATUS", "IN", "OUT", "DEAD LETTERS", "RESTARTS", "TIME", "LAG")]
    for job in jobs:
        rows.append(
            (
                job.job_id,
                job.name,
                job.metrics.status_shown,
                f"{job.metrics.records_in:,}",
                f"{job.metrics.records_out:,}",
                f"{job.num_dead_letters:,}",
                str(job.num_restarts),
                f"{job.metrics.duration_s:.1f} s",
                "" if job.is_over else shown_lag(_furthest_behind(job), now_unix_s),
            )
        )
    return rows


def _furthest_behind(job: JobState) -> float | None:
    return min((c.watermark_s for c in job.metrics.chains if c.watermark_s is not None), default=None)


def inside_of(engine: EngineStatus) -> str:
    """Return what an engine says of itself: `2 wait, 40 % of KV used, 75 % of prompts cached, cache exact`."""
    said = [f"{engine.num_waiting} wait"] if engine.num_waiting is not None else []
    said += [f"{100 * engine.kv_used:.0f} % of KV used"] if engine.kv_used is not None else []
    said += [f"{100 * engine.prefix_hit:.0f} % of prompts cached"] if engine.prefix_hit is not None else []
    said += [f"cache {engine.cache_belief}"] if engine.cache_belief else []
    return ", ".join(said)


def engine_rows(engines: Iterable[EngineStatus]) -> Rows:
    """Return a row an engine: what it serves and how much of it was asked."""
    rows: Rows = [("ENGINE", "KIND", "STATE", "NODE", "DEVICE", "MODELS", "RUNNING", "REQUESTS", "TOKENS", "INSIDE")]
    for engine in engines:
        kind = f"{engine.kind} (simulated)" if engine.simulated and engine.kind != "simulated" else engine.kind
        rows.append(
            (
                engine.engine_id,
                kind,
                engine.state,
                engine.node,
                engine.device,
                ", ".join(map(_model, engine.models)),
                str(engine.num_running),
                f"{engine.num_requests:,}",
                f"{engine.prompt_tokens + engine.completion_tokens:,}",
                engine.why or inside_of(engine),
            )
        )
    return rows


def _model(card: ModelCard) -> str:
    """Return the name of a model; of an adapter with that of the one that it changes.

    >>> _model(ModelCard("sql", (), 2048, parent="qwen3"))
    'sql (on qwen3)'
    """
    return card.name if card.parent is None else f"{card.name} (on {card.parent})"


def chain_rows(answer: JobAnswer, now_unix_s: float) -> Rows:
    """Return a row a chain of a job: where it runs, how far it is, and how far behind the clock."""
    metrics = answer.state.metrics
    rows: Rows = [
        ("STEPS", "TASKS", "NODES", "IN", "IN/S", "OUT", "WAITING", "REQUESTS", "BUSY", "WATERMARK", "LAG"),
    ]
    for chain in metrics.chains:
        rows.append(
            (
                " > ".join(chain.steps),
                str(chain.num_tasks),
                ", ".join(chain.nodes),
                f"{chain.records_in:,}",
                f"{chain.records_in / metrics.duration_s:,.0f}" if metrics.duration_s > 0 else "",
                f"{chain.records_out:,}",
                f"{chain.num_waiting:,}",
                f"{chain.num_requests:,}",
                f"{chain.busy_s:.1f} s",
                shown_watermark(chain.watermark_s),
                shown_lag(chain.watermark_s, now_unix_s),
            )
        )
    return rows


def rate_of(now: Sequence[JobState], before: Sequence[JobState]) -> float:
    """Return the records a second that jobs read between two looks, by the clocks of the jobs themselves."""
    older = {job.job_id: job.metrics for job in before}
    total = 0.0
    for job in now:
        was = older.get(job.job_id)
        took_s = job.metrics.duration_s - (was.duration_s if was is not None else 0.0)
        num = job.metrics.records_in - (was.records_in if was is not None else 0)
        total += num / took_s if took_s > 0 and num > 0 and not job.is_over else 0.0
    return total


def letter_lines(letters: Sequence[DeadLetterRecord]) -> list[str]:
    """Return what people want of dead letters, some lines each, the newest last.

    >>> letter = DeadLetterRecord("j/1", "parse", "'x'", "ValueError: no", "", lineage="record 7", node="node-2")
    >>> print(*letter_lines([letter]), sep="\\n")
    j/1: parse failed on 'x'
        ValueError: no
        record 7
        again, on the machine of node-2: sage replay j/1
    """
    lines: list[str] = []
    for letter in letters:
        key = f", key {letter.key}" if letter.key else ""
        time = f", time {letter.timestamp_s:g} s" if letter.timestamp_s is not None else ""
        again = f"again, on the machine of {letter.node}" if letter.node else "again"
        about = [letter.error, *([letter.lineage] if letter.lineage else []), f"{again}: sage replay {letter.id}"]
        lines.append(f"{letter.id}: {letter.step} failed on {letter.value[:200]}{key}{time}")
        lines += [f"    {line}" for line in about]
    return lines


def mended_lines(mending: Mending) -> list[str]:
    """Return what became of the jobs of a damaged journal, in words."""
    lines = [f"the journal of jobs was damaged; its files as they were: {mending.aside}"]
    lines += [f"  whole    {len(mending.ended)} that were over"]
    lines += [f"  failed   {job_id}: it was not over, and may have gone on since" for job_id in mending.failed]
    lines += [f"  lost     {job_id}" for job_id in mending.lost]
    if mending.num_missing is None:
        return [*lines, "  how many there were besides is not known"]
    return [*lines, f"  lost     {mending.num_missing} of unknown names"] if mending.num_missing else lines
