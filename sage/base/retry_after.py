"""The header Retry-After of HTTP, as RFC 9110 has it (section 10.2.3). Knows nothing of requests."""

from sage.base.clock import Clock


def seconds_of_retry_after(said: object, clock: Clock) -> float | None:
    """Return for how many seconds from now a Retry-After asks to wait: a number of them, or a date.

    0 for a date that has passed; None for what is neither, or is below 0. A date without a zone is in UTC.

    >>> from sage.base.clock import ManualClock
    >>> seconds_of_retry_after("Thu, 01 Jan 1970 00:01:30 GMT", ManualClock(unix_s=60.0))
    30.0
    """
    try:
        seconds = float(said)  # type: ignore[arg-type]  # what is no number is told by what is raised
    except (TypeError, ValueError, OverflowError):
        return _until(said, clock) if isinstance(said, str) else None
    return seconds if seconds >= 0 else None


def _until(date: str, clock: Clock) -> float | None:
    """The server's date against our clock; a jump of it makes one wait longer or shorter, and the caller bounds it."""
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # heavy, and seldom wanted

    try:
        at = parsedate_to_datetime(date)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return max(0.0, at.timestamp() - clock.unix_s())
    except (TypeError, ValueError, OverflowError):
        return None
