"""Whether, and when, what failed is asked again. Knows neither threads nor clocks.

New tries are safe before the first token only, and bounded twice: a number for each inquiry, and for all inquiries
together a budget that grows with what is asked, so that many who try again do not hold up what is overloaded.
"""

from sage.base.errors import EngineLost, Overloaded, QuotaExceeded, SageError

MAX_RETRY_AFTER_S = 60.0
"""Who is to wait for longer is told at once: the error says for how long."""

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 5.0
BUDGET = 20.0
EARNED = 0.1  # source: Finagle's RetryBudget and the AWS SDKs allow 10 to 20 % of new tries above a reserve

_PASSING = (Overloaded, QuotaExceeded, EngineLost)


class RetryBudget:
    """New tries that may still be made: `BUDGET` at first and at most, and one more for every tenth inquiry."""

    def __init__(self) -> None:
        self._left = BUDGET

    def asked(self) -> None:
        """Take note of an inquiry asked for the first time."""
        self._left = min(BUDGET, self._left + EARNED)

    def take(self) -> bool:
        """Take one new try; False where none is left."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def wait_before_retry_s(error: SageError, num_before: int, drawn: float) -> float | None:
    """Return in how many seconds to ask again, None: not at all. `drawn`: of [0, 1); `num_before`: new tries so far.

    >>> wait_before_retry_s(Overloaded("full", retry_after_s=2.0), 0, 0.5)
    2.0
    >>> wait_before_retry_s(QuotaExceeded("used up", retry_after_s=3600.0), 0, 0.5) is None
    True
    """
    if not isinstance(error, _PASSING):
        return None
    own_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0**num_before) * (0.5 + drawn)
    if error.retry_after_s is None:
        return own_s
    return None if error.retry_after_s > MAX_RETRY_AFTER_S else max(own_s, error.retry_after_s)
