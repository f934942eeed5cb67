"""What a job promises of its sinks: exactly once where a lost run is never seen, at least once elsewhere."""

import sage
from sage.flow.guarantees import guarantees_of


def test_a_job_that_lost_no_node_has_written_each_record_once() -> None:
    flow = sage.Flow("flow")
    flow.from_collection([1]).print()
    (line,) = guarantees_of(flow.graph(), 0)
    assert line == "print: each record once in a run that finishes; a failed run is not resumed"


def test_a_job_that_began_anew_says_which_sinks_have_seen_records_twice() -> None:
    flow = sage.Flow("flow")
    numbers = flow.from_collection([1])
    numbers.collect()
    numbers.write_jsonl("out.jsonl")
    numbers.for_each(abs)
    lines = guarantees_of(flow.graph(), 2)
    assert [(line.partition(":")[0], "at least once" in line) for line in lines] == [
        ("collect", False),
        ("write_jsonl", False),
        ("for_each", True),
    ]
    assert all("3 runs" in line for line in lines)


def test_a_job_with_checkpoints_says_which_sinks_may_see_a_record_twice_and_which_source_is_read_again() -> None:
    flow = sage.Flow("flow")
    numbers = flow.from_source(OneByOne())
    numbers.collect()
    numbers.write_jsonl("out.jsonl")
    numbers.for_each(abs)
    lines = dict(line.split(": ", 1) for line in guarantees_of(flow.graph(), 0, is_kept=True))
    assert {name: line.split(":")[0].split(",")[0] for name, line in lines.items()} == {
        "from_source": "read again from its start where a run goes on from a checkpoint",
        "collect": "each record exactly once",
        "write_jsonl": "each record exactly once",
        "for_each": "each record at least once",
    }


class OneByOne:
    """A source that cannot say where it is."""

    def open(self) -> "OneByOne":
        return self

    def read(self, max_records: int) -> list[int] | None:
        return None

    def close(self) -> None:
        pass
