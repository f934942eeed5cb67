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


def test_a_sink_of_several_instances_says_what_it_keeps_of_the_order() -> None:
    flow = sage.Flow("flow")
    numbers = flow.from_collection([1, 2])
    numbers.collect().named("alone")
    numbers.collect().named("spread").with_parallelism(3)
    numbers.key_by(abs).for_each(abs).named("keyed").with_parallelism(2)
    counts = numbers.key_by(abs).count().with_parallelism(2).map(str).with_parallelism(2)
    counts.print().named("counted").with_parallelism(2)
    counts.map_async(echoed, ordered=False).with_parallelism(2).print().named("mixed").with_parallelism(2)
    counts.union(numbers.map(str)).with_parallelism(2).print().named("met").with_parallelism(2)
    numbers.to_sql("sqlite:///a.db", "t", key="id").named("rows").with_parallelism(2)
    said = {line.split(":")[0]: line.partition("; by ")[2] for line in guarantees_of(flow.graph(), 0)}
    none, kept = "no order between them", "the order within a key"
    assert said == {
        "alone": "",
        "spread": f"3 instances, which keep {none}",
        "keyed": f"2 instances, which keep {kept}",
        "counted": f"2 instances, which keep {kept}",
        "mixed": f"2 instances, which keep {none}",
        "met": f"2 instances, which keep {none}",
        "rows": f"2 instances, which keep {kept}",
    }
    said = {line.split(":")[0]: line.partition("; by ")[2] for line in guarantees_of(flow.graph(), 0, is_kept=True)}
    assert said["keyed"].endswith(kept)


async def echoed(text: str) -> str:
    return text


class OneByOne:
    """A source that cannot say where it is."""

    def open(self) -> "OneByOne":
        return self

    def read(self, max_records: int) -> list[int] | None:
        return None

    def close(self) -> None:
        pass
