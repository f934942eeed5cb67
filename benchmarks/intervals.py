"""How far a mean can be trusted that is of a few runs: Student's t, 95 %. Knows nothing of what was run."""

from collections.abc import Sequence
from math import exp, log, sqrt
from statistics import mean, stdev

# fmt: off
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)
# fmt: on
"""The 0.975 quantile of Student's distribution with 1, 2, ... 30 degrees of freedom."""


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of the mean; None of fewer than two values.

    >>> low, high = interval([1.0, 2.0, 3.0])
    >>> round(low, 3), round(high, 3)
    (-0.484, 4.484)
    """
    if len(values) < 2:
        return None
    half = _t(len(values) - 1) * stdev(values) / sqrt(len(values))
    return mean(values) - half, mean(values) + half


def interval_of_share(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the same of shares, cut where no share can be: of few seeds Student's goes below 0 and beyond 1.

    >>> interval_of_share([0.4, 0.6])
    (0.0, 1.0)
    """
    found = interval(values)
    return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))


def ratio(values: Sequence[float], limits: Sequence[float]) -> tuple[float, tuple[float, float] | None]:
    """Return the geometric mean of `values` over `limits`, which are of the same runs, and its 95 % interval.

    >>> ratio([2.0, 8.0], [1.0, 4.0])
    (2.0, (2.0, 2.0))
    """
    logs = [log(value / limit) for value, limit in zip(values, limits, strict=True)]
    found = interval(logs)
    return exp(mean(logs)), None if found is None else (exp(found[0]), exp(found[1]))


def _t(freedom: int) -> float:
    return _T_975[freedom - 1] if freedom <= len(_T_975) else 1.96
