"""Times as keys: what Python calls equal has equal bytes in any zone, what differs by a microsecond has others."""

from datetime import UTC, datetime, time, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.keycode import bytes_of_key, exact_bytes_of_key

MICROSECOND = timedelta(microseconds=1)
ZONES: st.SearchStrategy[tzinfo] = st.integers(-7, 7).map(
    lambda quarters: timezone(timedelta(minutes=quarters * 15, seconds=quarters % 2))
)
TIMES = st.builds(time, st.sampled_from([0, 1, 23]), st.sampled_from([0, 15, 30, 45]), tzinfo=ZONES)
MOMENTS = st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001 - hypothesis adds the zone


class NoZone(tzinfo):
    """A zone that does not say how far it is from UTC: what is in it counts as naive."""

    def utcoffset(self, at: datetime | None) -> None:
        return None

    def dst(self, at: datetime | None) -> None:
        return None

    def tzname(self, at: datetime | None) -> None:
        return None


@given(MOMENTS, st.integers(-1, 1), ZONES)
def test_moments_have_equal_bytes_where_they_are_equal_and_only_there(
    moment: datetime, steps: int, zone: tzinfo
) -> None:
    other = (moment + steps * MICROSECOND).astimezone(zone)
    assert (exact_bytes_of_key(moment) == exact_bytes_of_key(other)) == (moment == other)
    assert (bytes_of_key(moment) == bytes_of_key(other)) == (moment == other)


@given(TIMES, TIMES)
def test_times_of_day_have_equal_bytes_where_they_are_equal_and_only_there(left: time, right: time) -> None:
    assert (exact_bytes_of_key(left) == exact_bytes_of_key(right)) == (left == right)


@pytest.mark.parametrize("year", [1, 1600, 2243, 9999])
def test_moments_far_from_today_that_differ_by_a_microsecond_have_bytes_of_their_own(year: int) -> None:
    moments = [datetime(year, 6, 1, 0, 0, 0, number, tzinfo=UTC) for number in range(100)]
    assert len({exact_bytes_of_key(moment) for moment in moments}) == 100


def test_a_time_of_day_is_the_same_key_in_every_zone_unless_that_is_another_day() -> None:
    def at(hour: int, zone_h: int) -> bytes:
        return exact_bytes_of_key(time(hour, tzinfo=timezone(timedelta(hours=zone_h))))

    assert at(10, 2) == at(8, 0) == at(3, -5)
    assert at(1, 2) == at(0, 1) != at(23, 0)


def test_what_is_in_a_zone_that_says_nothing_is_naive() -> None:
    moment = datetime(2026, 1, 1, 12)  # noqa: DTZ001 - a naive time is a key too
    assert bytes_of_key(moment.replace(tzinfo=NoZone())) == bytes_of_key(moment)
    assert bytes_of_key(moment.time().replace(tzinfo=NoZone())) == bytes_of_key(moment.time())


def test_bytes_that_were_right_stay_what_they_were() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    assert exact_bytes_of_key(moment) == b"d1767315845.678901"
    assert exact_bytes_of_key(moment.replace(tzinfo=None)) == b"d2026-01-02T03:04:05.678901"
    assert exact_bytes_of_key(datetime(2026, 1, 1, tzinfo=UTC)) == b"d1767225600.0"
    assert exact_bytes_of_key(moment.date()) == b"d2026-01-02"
    assert exact_bytes_of_key(moment.time()) == b"d03:04:05.678901"
    assert exact_bytes_of_key(time(3, 4, tzinfo=UTC)) == b"d03:04:00+00:00"
