"""What users test their flows with does what it says, on the runner as well."""

from pathlib import Path

import pytest

import sage
from sage.base.errors import FlowInvalid, RecordFailed, SourceUnreadable
from sage.testing import Failing, Scripted, failing_async, rehearse

DEADLINE_S = 20.0


async def tenfold(number: int) -> int:
    return 10 * number


def test_a_script_is_read_list_by_list_and_in_parts() -> None:
    reader = Scripted([1, 2, 3], [], [4]).open()
    parts = [reader.read(2) for _ in range(5)]
    assert parts == [[1, 2], [3], [], [4], None]
    assert reader.position() == [3, 0]


def test_an_error_of_the_script_fails_the_job_and_the_records_before_it_have_come() -> None:
    flow = sage.Flow("f")
    seen: list[int] = []
    flow.from_source(Scripted([1, 2], ConnectionError("gone"), [3])).for_each(seen.append)
    with pytest.raises(SourceUnreadable, match="ConnectionError: gone"):
        flow.run(timeout_s=DEADLINE_S)
    assert seen == [1, 2]


def test_a_run_goes_on_where_a_script_had_come_to() -> None:
    source = Scripted([1, 2, 3], [4])
    reader = source.open()
    reader.read(2)
    later = source.open_at(reader.position())
    assert [later.read(10), later.read(10), later.read(10)] == [[3], [4], None]


def test_a_run_with_checkpoints_goes_on_with_a_script_that_does_not_fail(tmp_path: Path) -> None:
    def run(*moves: list[int] | Exception) -> list[int]:
        flow = sage.Flow("scripted")
        found = flow.from_source(Scripted(*moves)).named("script").collect()
        flow.run(timeout_s=DEADLINE_S, checkpoint=sage.Checkpoint(tmp_path, every_s=60.0))
        return found.items

    with pytest.raises(SourceUnreadable):
        run([1], OSError("gone"))
    assert run([1], [2]) == [1, 2]


def test_a_function_fails_as_often_as_it_is_told_for_each_record() -> None:
    flow = sage.Flow("f")
    double = Failing(lambda n: 2 * n, OSError("busy"), times=2, where=lambda n: n > 1)
    found = flow.from_collection([1, 2, 3]).map(double).on_error("retry", retries=2).collect()
    flow.run(timeout_s=DEADLINE_S)
    assert found.items == [2, 4, 6]
    assert double.calls == {"2": 3, "3": 3}


def test_a_function_that_always_fails_fails_the_job() -> None:
    flow = sage.Flow("f")
    flow.from_collection([1]).map(Failing(abs, OSError("down"))).on_error("retry", retries=2).collect()
    with pytest.raises(RecordFailed, match="after 3 tries: OSError: down"):
        flow.run(timeout_s=DEADLINE_S)


def test_a_call_fails_as_often_as_it_is_told_and_is_made_again() -> None:
    flow = sage.Flow("f")
    called = failing_async(tenfold, ConnectionError("busy"), times=1)
    found = flow.from_collection(range(20)).map_async(called, retries=1, backoff_s=0.001, ordered=False).collect()
    flow.run(timeout_s=DEADLINE_S)
    assert sorted(found.items) == [10 * number for number in range(20)]


def test_calls_that_fail_for_good_leave_their_permits_to_those_that_wait() -> None:
    flow = sage.Flow("f")
    called = failing_async(tenfold, ConnectionError("busy"), where=lambda number: number < 50)
    given = flow.from_collection(range(100)).map_async(called, max_in_flight=16).on_error("dead_letter")
    found = given.collect()
    with rehearse(flow) as rehearsal:
        rehearsal.finish()
    assert found.items == [10 * number for number in range(50, 100)]
    flow.run(timeout_s=DEADLINE_S)
    assert found.items == [10 * number for number in range(50, 100)]


def test_a_coroutine_function_is_pointed_to_its_own() -> None:
    with pytest.raises(FlowInvalid, match="failing_async"):
        Failing(tenfold, OSError())
