"""What users give that is of a wrong type: refused where it is written, by the name of the parameter."""

from collections.abc import Callable
from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.testing import rehearse

_SAGE: Any = sage
_REHEARSE: Any = rehearse
"""Without their types, which say already what is wrong here."""

SOURCES: dict[str, Callable[[Any, Any], Any]] = {
    "path is None (NoneType); it is a path": lambda f, _: f.read_text(_),
    "path is 5 (int); it is a path": lambda f, _: f.read_jsonl(5),
    "path is b'x' (bytes); it is a path": lambda f, _: f.read_csv(b"x"),
    "path is '' (str); it is a path": lambda f, _: f.read_parquet(""),
    "follow is 'yes' (str); it is True or False": lambda f, _: f.read_text("x", follow="yes"),
    "follow is 1 (int); it is True or False": lambda f, _: f.read_text("x", follow=1),
    "until_end is 'no' (str); it is True or False": lambda f, _: f.from_kafka("b:1", "t", until_end="no"),
    "servers is '' (str); it is a text": lambda f, _: f.from_kafka(_, "t"),
    "topics are names, each once, got 5": lambda f, _: f.from_kafka("b:1", 5),
    "config is 5 (int); it is a dict": lambda f, _: f.from_kafka("b:1", "t", config=5),
    "a delimiter is one character, got None": lambda f, _: f.read_csv("x", delimiter=_),
    "columns are names, each once, got 5": lambda f, _: f.read_parquet("x", columns=5),
    "url is 5 (int); it is a text": lambda f, _: f.from_sql(5, table="t", order_by="id"),
    "query is 5 (int); it is a text": lambda f, _: f.from_sql("x:///", query=5, order_by="id"),
    "order_by is 5 (int); it is a text": lambda f, _: f.from_sql("x:///", table="t", order_by=5),
    "a period is a number of seconds above 0, got 'x'": lambda f, _: f.ticks("x"),
    "a chat model needs a name, got 5": lambda f, _: f.from_chat(5),
    "max_body_bytes is None": lambda f, _: f.from_http("x", max_body_bytes=_),
    "an index needs a name, got 5": lambda f, _: _SAGE.Index(5),
    "folder is None (NoneType); it is a path": lambda f, _: _SAGE.Checkpoint(_),
    "savepoint is 5 (int); it is a path": lambda f, _: _SAGE.Checkpoint("x", savepoint=5),
    "drop are names, each once, got 'count'": lambda f, _: _SAGE.Checkpoint("x", drop="count"),
    "checkpoints is 'no' (str); it is True or False": lambda f, _: _REHEARSE(f, checkpoints="no"),
    "batch_records is 'x' (str); it is a whole number": lambda f, _: _REHEARSE(f, batch_records="x"),
    "progress is 'yes' (str); it is True or False": lambda f, _: running(f).run(progress="yes"),
}


def running(flow: sage.Flow) -> Any:
    flow.from_collection([1]).collect()
    return flow


SINKS: dict[str, Callable[[Any, Any], Any]] = {
    "path is None (NoneType); it is a path": lambda s, _: s.write_jsonl(_),
    "path is 5 (int); it is a path": lambda s, _: s.write_parquet(5),
    "table is 5 (int); it is a text": lambda s, _: s.to_sql("x:///", 5, key="id"),
    "key are names, each once, got None": lambda s, _: s.to_sql("x:///", "t", key=_),
    "topic is '' (str); it is a text": lambda s, _: s.to_kafka("b:1", _),
    "value is 5 (int); it is a function of the record": lambda s, _: s.to_kafka("b:1", "t", value=5),
    "url is 5 (int); it is a text": lambda s, _: s.to_http(5),
    "body is 'x' (str); it is a function of the record": lambda s, _: s.to_http("http://a", body="x"),
    "headers is 5 (int); it is a dict": lambda s, _: s.to_http("http://a", headers=5),
    "retries is '' (str); it is a whole number": lambda s, _: s.to_http("http://a", retries=""),
    "max_bytes is 'x' (str); it is a whole number": lambda s, _: s.map_async(_call, cache=_SAGE.CallCache("x", "x")),
    "name is 5 (int); it is a text": lambda s, _: s.map_async(_call, cache=_SAGE.CallCache("x", name=5)),
}


async def _call(record: Any) -> Any:
    return record


@pytest.mark.parametrize("said", SOURCES)
def test_what_a_flow_is_given_is_of_its_type(said: str) -> None:
    with pytest.raises(FlowInvalid) as raised:
        SOURCES[said](sage.Flow("f"), None)
    assert said in raised.value.what
    assert __file__ in raised.value.what


@pytest.mark.parametrize("said", SINKS)
def test_what_a_sink_is_given_is_of_its_type(said: str) -> None:
    with pytest.raises(FlowInvalid) as raised:
        SINKS[said](sage.Flow("f").from_collection([1]), None)
    assert said in raised.value.what
    assert __file__ in raised.value.what
