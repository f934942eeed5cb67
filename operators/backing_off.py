"""When a call that failed is made again. Knows nothing of what is called."""

from random import Random

from sage.base.clock import Clock, SystemClock
from sage.base.retry_after import seconds_of_retry_after

MAX_BACKOFF_S = 30.0
"""How long the doubling goes on."""

MAX_RETRY_AFTER_S = 300.0
"""An error that asks for more time than this will not be mended while the stream waits."""


_CLOCK = SystemClock()


def wait_before_retry_s(
    error: BaseException, num_failed: int, backoff_s: float, rng: Random, clock: Clock = _CLOCK
) -> float | None:
    """Return how long to wait before a call that failed `num_failed` times is made again; None: not at all.

    What the error says comes first. Else `backoff_s`, doubled with each failure and drawn from its upper half, so that
    calls that failed together do not come back together.
    """
    asked_s = retry_after_s(error, clock)
    if asked_s is not None:
        return asked_s if asked_s <= MAX_RETRY_AFTER_S else None
    if not backoff_s:
        return 0.0
    return float(min(MAX_BACKOFF_S, backoff_s * 2.0 ** min(num_failed - 1, 60)) * rng.uniform(0.5, 1.0))


def retry_after_s(error: BaseException, clock: Clock) -> float | None:
    """Return when `error` says that a new try makes sense, or None.

    It is read from `error.retry_after_s`, which every SageError has, or from the header Retry-After (seconds,
    or a date) of `error.response`, as the clients of HTTP have it.
    """
    said = getattr(error, "retry_after_s", None)
    if said is None:
        headers = getattr(getattr(error, "response", None), "headers", None)
        get = getattr(headers, "get", None)
        said = get("retry-after", get("Retry-After")) if callable(get) else None
    return seconds_of_retry_after(said, clock)
