"""Settings that a step cannot honour are refused where they are written."""

from collections.abc import Callable
from typing import Any

import pytest

from sage.base.errors import FlowInvalid
from sage.flow.check_step import MAX_PARALLELISM
from sage.flow.flow import Flow
from sage.flow.index import Index
from sage.flow.windows import CountWindow, Session, Sliding, Tumbling
from sage.testing import rehearse

NOT_CALLABLE: Any = 3
WRONG: Any = "wrong"
NOTHING: Any = None
HALF_A_BYTE: Any = 0.5
NO_TEXTS: Any = {"gpu": True}


async def awaited(record: object) -> object:
    return record


DOCS = Index("docs")


def joined(stream: Any) -> Any:
    other = stream.map(str).assign_timestamps(float).key_by(str)
    return stream.assign_timestamps(float).key_by(str).join(other)


class OneWriter:
    def open(self) -> Any:
        raise AssertionError("nobody opens it")


BAD: dict[str, Callable[[Any], object]] = {
    "map takes a function, got 3 (int)": lambda s: s.map(NOT_CALLABLE),
    "map takes a function that returns, and nobody would await": lambda s: s.map(awaited),
    "filter takes a function that returns, and nobody would await": lambda s: s.filter(awaited),
    "filter takes a function, got 3": lambda s: s.filter(NOT_CALLABLE),
    "flat_map takes a function": lambda s: s.flat_map(NOT_CALLABLE),
    "for_each takes a function": lambda s: s.for_each(NOT_CALLABLE),
    "key_by takes a function": lambda s: s.key_by(NOT_CALLABLE),
    "map_batches takes a function": lambda s: s.map_batches(NOT_CALLABLE),
    "max_records is 0": lambda s: s.map_batches(list, max_records=0),
    "max_records is 2.5; it is a whole number": lambda s: s.map_batches(list, max_records=2.5),
    "num_records is True; it is a whole number": lambda s: s.key_by(str).window(CountWindow(True)).count(),
    "parallelism is 1.5; it is a whole number": lambda s: s.map(str).with_parallelism(1.5),
    "retries is 1.5; it is a whole number": lambda s: s.map_async(str, retries=1.5),
    "max_in_flight is 2.5; it is a whole number": lambda s: s.map_async(str, max_in_flight=2.5),
    "ordered is 'wrong' (str); it is True or False": lambda s: s.map_async(str, ordered=WRONG),
    "dedup is 'wrong' (str); it is True or False": lambda s: s.map_async(str, dedup=WRONG),
    "final is 'wrong' (str); it is True or False": lambda s: s.key_by(str).count(final=WRONG),
    "final is 'wrong' (str); it is True": lambda s: s.key_by(str).reduce(max, final=WRONG),
    "dedup is 'wrong' (str); it is True": lambda s: s.embed(model="m", dedup=WRONG),
    "dedup is 'wrong' (str)": lambda s: s.rerank(model="m", query="q", dedup=WRONG),
    "tenant is '' (str); it is a text": lambda s: s.embed(model="m", tenant=None),
    "retries is '' (str); it is a whole number": lambda s: s.generate(model="m", prompt="{}", retries=""),
    "outer is 'wrong' (str); it is True or False": lambda s: joined(s).as_of(outer=WRONG),
    "raw is 'wrong' (str); it is True or False": lambda s: s.generate(model="m", prompt="{}", raw=WRONG),
    "split takes a predicate for each side, got ['a']": lambda s: s.split(["a"]),
    "tag is '' (str); it is a text": lambda s: s.split({"": bool}),
    "late_to is 3 (int); it is a text": lambda s: s.key_by(str).window(Tumbling(1)).late_to(3).count(),
    "a step's name is a text, not 3": lambda s: s.map(str).named(3),
    "a record would be in more than 100,000 windows": lambda s: s.key_by(str).window(Sliding(10, 9e-5)).count(),
    "before_s is '1' (str)": lambda s: s.key_by(str).join(s.map(str).key_by(str)).within("1", 2),
    "max_wait_s is 0": lambda s: s.map_batches(list, max_records=2, max_wait_s=0),
    "max_records is not given": lambda s: s.map_batches(list, max_wait_s=1),
    "map_async takes a function": lambda s: s.map_async(NOT_CALLABLE),
    "max_in_flight is 0": lambda s: s.map_async(str, max_in_flight=0),
    "timeout_s is nan": lambda s: s.map_async(str, timeout_s=float("nan")),
    "retries is -2; it is at least 1": lambda s: s.map_async(str, retries=-2),
    "backoff_s is -1": lambda s: s.map_async(str, backoff_s=-1),
    "backoff_s is nan": lambda s: s.embed(model="m", backoff_s=float("nan")),
    "map_async takes a function that returns": lambda s: s.map_async(str, dedup=awaited),
    "timeout_s is 0": lambda s: s.generate(model="m", prompt="{}", timeout_s=0),
    "dedup shares one": lambda s: s.generate(model="m", prompt="{}", dedup=True, on_token=print),
    "sum takes a function": lambda s: s.key_by(str).sum(NOT_CALLABLE),
    "reduce takes a function": lambda s: s.key_by(str).reduce(NOT_CALLABLE),
    "fold takes a function": lambda s: s.key_by(str).fold(0, NOT_CALLABLE),
    "fold would share one list between all keys": lambda s: s.key_by(str).fold([], print),
    "assign_timestamps takes a function": lambda s: s.assign_timestamps(NOT_CALLABLE),
    "max_out_of_order_s is -1": lambda s: s.assign_timestamps(float, max_out_of_order_s=-1),
    "idle_after_s is 0": lambda s: s.assign_timestamps(float, idle_after_s=0),
    "assign_timestamps takes a function, got 7": lambda s: s.assign_timestamps(float, partition=7),
    "window takes a shape, got 10": lambda s: s.key_by(str).window(10),
    "size_s is 0": lambda s: s.key_by(str).window(Tumbling(0)).count(),
    "size_s is infinite": lambda s: s.key_by(str).window(Tumbling(float("inf"))).count(),
    "every_s is -1": lambda s: s.key_by(str).window(Sliding(1, -1)).count(),
    "a window of 1 s every 2 s would leave records out": lambda s: s.key_by(str).window(Sliding(1, 2)).count(),
    "gap_s is nan": lambda s: s.key_by(str).window(Session(float("nan"))).count(),
    "num_records is 0": lambda s: s.key_by(str).window(CountWindow(0)).count(),
    "nothing is late": lambda s: s.key_by(str).window(CountWindow(2)).allow_late(1).count(),
    "every_records is 0": lambda s: s.key_by(str).window(Tumbling(1)).trigger(every_records=0).count(),
    "every_s is 0; ": lambda s: s.key_by(str).window(Tumbling(1)).trigger(every_s=0).count(),
    "is given when it is full": lambda s: s.key_by(str).window(CountWindow(1)).trigger(every_records=2).count(),
    "trigger is told nothing": lambda s: s.key_by(str).window(Tumbling(1)).trigger(),
    "seconds is -1": lambda s: s.key_by(str).window(Tumbling(1)).allow_late(-1).count(),
    "window takes a function": lambda s: s.key_by(str).window(Tumbling(1)).aggregate(NOT_CALLABLE, max),
    "fold would share one dict between all windows": lambda s: s.key_by(str).window(Tumbling(1)).fold({}, print),
    "split takes a predicate for each side": lambda s: s.split({}),
    "split takes a function": lambda s: s.split({"a": NOT_CALLABLE}),
    "parallelism is 0": lambda s: s.map(str).with_parallelism(0),
    "out.txt is one file, and each instance writes": lambda s: s.write_text("out.txt").with_parallelism(2),
    'Name them apart: "out-{instance}.jsonl.gz"': lambda s: s.write_jsonl("a/out.jsonl.gz").with_parallelism(2),
    "columns of its own first record": lambda s: s.write_csv("out-{instance}.csv").with_parallelism(2),
    "schema of its own first records": lambda s: s.write_parquet("out-{instance}.parquet").with_parallelism(2),
    "OneWriter does not say what each of several": lambda s: s.to(OneWriter()).with_parallelism(2),
    "resources are never negative": lambda s: s.map(str).with_resources(cpus=-1),
    "never infinite": lambda s: s.map(str).with_resources(gpus=float("inf")),
    "gpu_memory_bytes=-1": lambda s: s.map(str).with_resources(gpu_memory_bytes=-1),
    "asks for no GPU": lambda s: s.map(str).with_resources(gpu_type="h100"),
    "got `float` - at `$.memory_bytes`": lambda s: s.map(str).with_resources(memory_bytes=HALF_A_BYTE),
    "got `bool` - at `$.labels": lambda s: s.map(str).with_resources(labels=NO_TEXTS),
    "with_resources: 'str' object": lambda s: s.map(str).with_resources(labels=WRONG),
    "on_error('wrong') is unknown": lambda s: s.map(str).on_error(WRONG),
    "never tries again": lambda s: s.map(str).on_error("fail", retries=1),
    "retries is 0; it is at least 1": lambda s: s.map(str).on_error("retry", retries=0),
    "retries is -1": lambda s: s.map(str).on_error("dead_letter", retries=-1),
    "read takes no on_error": lambda s: s.on_error("dead_letter"),
    "write takes no on_error": lambda s: s.print().on_error("retry"),
    "union takes no on_error": lambda s: s.union(s.map(str)).on_error("retry"),
    "name is not empty": lambda s: s.map(str).named(""),
    "model= takes the name": lambda s: s.generate(model="", prompt="{}"),
    "the template '{a.b}' has the field {a.b}": lambda s: s.generate(model="m", prompt="{a.b}"),
    "malformed": lambda s: s.generate(model="m", prompt="{}", system="{"),
    "prompt= takes a template or a function": lambda s: s.generate(model="m", prompt=NOT_CALLABLE),
    "max_tokens is 0": lambda s: s.generate(model="m", prompt="{}", max_tokens=0),
    "max_tokens is 'wrong' (str); it is a whole number": lambda s: s.generate(model="m", prompt="{}", max_tokens=WRONG),
    "seed is 'wrong' (str)": lambda s: s.generate(model="m", prompt="{}", seed=WRONG),
    "deadline_s is 'wrong' (str); it is more than 0": lambda s: s.embed(model="m", deadline_s=WRONG),
    "max_in_flight is 'wrong' (str)": lambda s: s.embed(model="m", max_in_flight=WRONG),
    "max_tokens is 2.5": lambda s: s.generate(model="m", prompt="{}", max_tokens=2.5),
    "seed is 1.5": lambda s: s.generate(model="m", prompt="{}", seed=1.5),
    "temperature is -1": lambda s: s.generate(model="m", prompt="{}", temperature=-1),
    "deadline_s is 0": lambda s: s.generate(model="m", prompt="{}", deadline_s=0),
    "stop holds an empty text": lambda s: s.generate(model="m", prompt="{}", stop=""),
    "priority='wrong' is unknown": lambda s: s.generate(model="m", prompt="{}", priority=WRONG),
    "a raw prompt has no system message": lambda s: s.generate(model="m", prompt="{}", system="x", raw=True),
    "generate takes a function, got 3": lambda s: s.generate(model="m", prompt="{}", on_token=NOT_CALLABLE),
    "text='no field' names no field": lambda s: s.embed(model="m", text="no field"),
    "text='' names no field": lambda s: s.index_into(DOCS, text=""),
    "the template '{a' is malformed": lambda s: s.index_into(DOCS, text="{a"),
    "text= takes a template": lambda s: s.embed(model="m", text=NOT_CALLABLE),
    "into= takes a field's name": lambda s: s.embed(model="m", into=NOT_CALLABLE),
    "k is 0": lambda s: s.retrieve(DOCS, 0),
    "vector= takes a field's name": lambda s: s.retrieve(DOCS, vector="not a name"),
    "an index is a sage.Index, got 'docs'": lambda s: s.retrieve("docs"),
    "source= takes a field's name": lambda s: s.index_into(DOCS, source=NOT_CALLABLE),
    "parallelism is None; it is a number": lambda s: s.map(str).with_parallelism(None),
    "parallelism is 1000000; a step has at most 1,024 instances": lambda s: s.map(str).with_parallelism(10**6),
    "max_in_flight is None; it is a number": lambda s: s.map_async(str, max_in_flight=None),
    "max_rounds is None; it is a number": lambda s: s.iterate(lambda s: s, until=bool, max_rounds=None),
    "seconds is None; it is a number": lambda s: s.key_by(str).window(Tumbling(1)).allow_late(None).count(),
    "union takes streams, got 'wrong'": lambda s: s.union(WRONG),
}


@pytest.mark.parametrize("text", BAD)
def test_a_setting_that_cannot_be_honoured_is_refused_at_its_line(text: str) -> None:
    flow = Flow("f")
    stream = flow.from_collection([1])
    with pytest.raises(FlowInvalid) as caught:
        BAD[text](stream)
    assert text in str(caught.value)
    assert caught.value.what.startswith(f"{__file__}:")


@pytest.mark.parametrize(
    "begin",
    [
        lambda flow: flow.from_collection(3),
        lambda flow: flow.from_source([1, 2]),
        lambda flow: flow.from_source(lambda: [1]),
        lambda flow: Flow(""),
        lambda flow: Index(""),
    ],
)
def test_a_beginning_that_cannot_be_read_is_refused_with_what_to_do(begin: Callable[[Flow], object]) -> None:
    with pytest.raises(FlowInvalid):
        begin(Flow("f"))


def test_what_is_no_flow_is_not_rehearsed() -> None:
    with pytest.raises(FlowInvalid, match="rehearse takes a flow, got None"):
        rehearse(NOTHING)


def test_a_step_may_have_as_many_instances_as_the_limit_says() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str).with_parallelism(MAX_PARALLELISM).collect()
    assert flow.graph().steps[1].parallelism == MAX_PARALLELISM


def test_a_change_that_is_refused_leaves_the_step_as_it_was() -> None:
    flow = Flow("f")
    mapped = flow.from_collection([1]).map(str)
    with pytest.raises(FlowInvalid):
        mapped.with_parallelism(0)
    mapped.collect()
    assert flow.graph().steps[1].parallelism == 1


@pytest.mark.parametrize("as_type", [5, "Order", [int], object()])
@pytest.mark.parametrize("reads", ["read_jsonl", "read_csv", "read_parquet", "from_http"])
def test_what_records_are_made_into_is_a_type(reads: str, as_type: Any) -> None:
    flow = Flow("typed")
    with pytest.raises(FlowInvalid, match="type") as refused:
        getattr(flow, reads)("orders", as_type=as_type).collect().run()
    assert refused.value.param == "as_type"
