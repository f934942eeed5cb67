"""Passages are ranked against the text that they were retrieved for, unless the flow says against what."""

from typing import Any

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.base.inference import Kind
from sage.flow.graph import models_of
from sage.flow.spec import Rerank
from sage.testing import rehearse

DOCS = sage.Index("docs")
RECORDS: list[dict[str, Any]] = [{"question": "why", "passages": ["because", "why not", "x"]}]


def spec_of(stream: sage.Stream[Any]) -> Rerank:
    spec = stream._builder.step(stream._number).spec
    assert isinstance(spec, Rerank)
    return spec


def records(flow: sage.Flow | None = None) -> sage.Stream[dict[str, Any]]:
    return (flow or sage.Flow("f")).from_collection(RECORDS)


def test_after_retrieve_only_the_model_must_be_said() -> None:
    for text in ("question", "{question}?"):
        found = records().embed(model="m", text=text, into="vector").retrieve(DOCS, k=9)
        assert spec_of(found.rerank(model="judge")) == Rerank("judge", text, backoff_s=0.1)
    assert spec_of(found.map(dict).rerank(model="judge", query="other")).query == "other"


def test_without_a_text_embedded_before_the_query_is_asked_for() -> None:
    for stream in (records(), records().embed(model="m", into=lambda record, vector: record)):
        with pytest.raises(FlowInvalid, match="query"):
            stream.rerank(model="judge")


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"k": 0}, "k"),
        ({"k": 1.5}, "k"),
        ({"model": ""}, "model"),
        ({"query": "always the same"}, "query"),
        ({"passages": "not a field"}, "passages"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"priority": "now"}, "priority"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(FlowInvalid) as caught:
        records().rerank(**{"model": "judge", "query": "question", **wrong})
    assert caught.value.param == param


def test_the_flow_says_that_the_model_is_asked_to_score() -> None:
    flow = sage.Flow("f")
    records(flow).rerank(model="judge", query="question").collect()
    [use] = models_of(flow.graph())
    assert (use.model, use.kind) == ("judge", Kind.SCORE)
    assert "judge" in flow.to_mermaid()


def test_a_function_stands_for_the_model_in_a_rehearsal() -> None:
    flow = sage.Flow("f")
    best = records(flow).rerank(model="judge", query="question", k=2).collect()
    judge = {"judge": lambda text: [float(text.count("why")), float(text.count("b")), 0.1]}
    with rehearse(flow, models=judge) as run:
        run.finish()
    assert next(iter(best.items[0]["passages"])).text == "why not"
    assert len(best.items[0]["passages"]) == 2
