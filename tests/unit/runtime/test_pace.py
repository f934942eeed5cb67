"""How many records a source is asked for."""

from cluster.runtime.pace import ReadPace


def test_a_fast_source_is_soon_asked_for_whole_batches() -> None:
    pace = ReadPace(1000)
    for _ in range(12):
        pace.was_read(pace.num_records, 0.0001)
    assert pace.num_records == 1000


def test_a_slow_source_is_asked_for_one_record_at_a_time() -> None:
    pace = ReadPace(1000)
    pace.was_read(1, 0.005)
    assert pace.num_records == 1


def test_a_source_that_becomes_slow_is_asked_for_less() -> None:
    pace = ReadPace(1000)
    for _ in range(4):
        pace.was_read(pace.num_records, 0.0001)
    pace.was_read(16, 0.5)
    assert pace.num_records == 8


def test_a_source_that_gives_less_than_it_was_asked_for_is_not_asked_for_more() -> None:
    pace = ReadPace(1000)
    pace.was_read(1, 0.0001)
    pace.was_read(1, 0.0001)
    assert pace.num_records == 2
