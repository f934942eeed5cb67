"""What came of all injections: a row a kind with percentiles, the promises they are held to, a table. Runs nothing."""

import math
from collections.abc import Iterable, Sequence

from benchmarks.document import Result
from tests.nemesis.injections import Kind
from tests.nemesis.strike import Outcome

LOST_S = 3.0
"""faults.md: a lost node is detected within 3 s, ..."""

RESUMED_S = 8.0
"""... its jobs are at work again within 8 s (p99) ..."""

HEAD_RESUMED_S = 15.0
"""... a head that was killed is started again by a command, and waits until every lease of before is over ..."""

BACK_S = 5.0
"""... and where the fault is over, it is a member again within 5 s."""


class Percentiles(Result, frozen=True, kw_only=True):
    """`n` injections of one kind (`workload`), in seconds after each struck; None where there is nothing to measure."""

    lost_s_p50: float | None
    lost_s_p99: float | None
    lost_s_max: float | None
    resumed_s_p50: float | None
    resumed_s_p99: float | None
    resumed_s_max: float | None
    back_s_p50: float | None
    back_s_p99: float | None
    back_s_max: float | None
    restarts_max: int
    stale_commits: int
    wrong: tuple[str, ...]


def rows_of(outcomes: Sequence[Outcome]) -> list[Percentiles]:
    """Return a row for each kind of injection that was done."""
    kinds = [kind for kind in Kind if any(outcome.injection.kind is kind for outcome in outcomes)]
    return [_row(kind, [outcome for outcome in outcomes if outcome.injection.kind is kind]) for kind in kinds]


def _row(kind: Kind, outcomes: Sequence[Outcome]) -> Percentiles:
    lost = [outcome.lost_s for outcome in outcomes]
    resumed = [outcome.resumed_s for outcome in outcomes]
    back = [outcome.back_s for outcome in outcomes]
    return Percentiles(
        engine="cluster",
        workload=kind.value,
        n=len(outcomes),
        checked=True,
        simulated=False,
        lost_s_p50=percentile(lost, 50),
        lost_s_p99=percentile(lost, 99),
        lost_s_max=percentile(lost, 100),
        resumed_s_p50=percentile(resumed, 50),
        resumed_s_p99=percentile(resumed, 99),
        resumed_s_max=percentile(resumed, 100),
        back_s_p50=percentile(back, 50),
        back_s_p99=percentile(back, 99),
        back_s_max=percentile(back, 100),
        restarts_max=max(outcome.num_restarts for outcome in outcomes),
        stale_commits=sum(outcome.num_stale for outcome in outcomes),
        wrong=tuple(wrong for outcome in outcomes for wrong in outcome.wrong),
    )


def percentile(values: Iterable[float | None], percent: int) -> float | None:
    """Return the nearest-rank percentile of those that are not None, to the millisecond.

    >>> percentile([3.0, None, 1.0, 2.0], 50)
    2.0
    """
    known = sorted(value for value in values if value is not None)
    return round(known[math.ceil(len(known) * percent / 100) - 1], 3) if known else None


def broken_promises(rows: Iterable[Percentiles]) -> list[str]:
    """Return what was promised and is not so, a line each."""
    broken = []
    for row in rows:
        broken += [f"{row.workload}: {wrong}" for wrong in row.wrong]
        resumed_s = HEAD_RESUMED_S if row.workload == Kind.HEAD else RESUMED_S
        for name, measured_s, promised_s in (
            ("lost_s_max", row.lost_s_max, LOST_S),
            ("resumed_s_p99", row.resumed_s_p99, resumed_s),
            ("back_s_p99", row.back_s_p99, BACK_S),
        ):
            if measured_s is not None and measured_s > promised_s:
                broken.append(f"{row.workload}: {name} is {measured_s:g}, and {promised_s:g} is promised")
    return broken


def table(rows: Iterable[Percentiles]) -> str:
    """Return the rows for people."""
    lines = [
        f"{'fault':8} {'n':>4} {'given up, s':>20} {'at work again, s':>20} {'back, s':>20} {'stale':>6} {'wrong':>6}",
        f"{'':13} {'p50/p99/max':>20} {'p50/p99/max':>20} {'p50/p99/max':>20}",
    ]
    for row in rows:
        lost, resumed, back = (
            "/".join("-" if value is None else f"{value:.2f}" for value in values)
            for values in (
                (row.lost_s_p50, row.lost_s_p99, row.lost_s_max),
                (row.resumed_s_p50, row.resumed_s_p99, row.resumed_s_max),
                (row.back_s_p50, row.back_s_p99, row.back_s_max),
            )
        )
        found = f"{row.stale_commits:6} {len(row.wrong):6}"
        lines.append(f"{row.workload:8} {row.n:4} {lost:>20} {resumed:>20} {back:>20} {found}")
    return "\n".join(lines)
