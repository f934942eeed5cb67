"""Event time as people read it: where a step is, and how far behind the clock. Knows no job."""

from datetime import UTC, datetime

_LONG_AGO_S = 1e8  # 1973: what is less is a time of a test, or counts from the start of something


def shown_watermark(watermark_s: float | None) -> str:
    """Return an event time, in UTC where it is one of the calendar.

    >>> shown_watermark(1763857800.25), shown_watermark(12.5), shown_watermark(None)
    ('2025-11-23 00:30:00', '12.5', '')
    """
    if watermark_s is None:
        return ""
    if not _LONG_AGO_S < watermark_s < 1e11:
        return f"{watermark_s:g}"
    return f"{datetime.fromtimestamp(watermark_s, UTC):%Y-%m-%d %H:%M:%S}"


def shown_lag(watermark_s: float | None, now_unix_s: float) -> str:
    """Return how far an event time is behind the clock; nothing where it is no time of the calendar.

    >>> [shown_lag(1763857800.0, 1763857800.0 + behind_s) for behind_s in (0.25, 75, 7200, 864000)]
    ['0.2 s', '75.0 s', '2.0 h', '10.0 d']
    """
    if watermark_s is None or not _LONG_AGO_S < watermark_s < 1e11:
        return ""
    lag_s = now_unix_s - watermark_s
    if lag_s < 600:
        return f"{lag_s:.1f} s"
    return f"{lag_s / 3600:.1f} h" if lag_s < 48 * 3600 else f"{lag_s / 86400:.1f} d"
