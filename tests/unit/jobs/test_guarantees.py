"""What a job promises of its sinks: exactly once where a lost run is never seen, at least once elsewhere."""

import sage
from cluster.jobs.guarantees import guarantees_of


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
