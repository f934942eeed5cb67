"""Flows that cannot run are refused when built or submitted, naming the user's line."""

import re
import sys
from dataclasses import replace

import pytest

from sage.base.errors import FlowInvalid
from sage.base.inference import Kind, ServiceClass
from sage.flow.check_graph import graph_from_steps
from sage.flow.flow import Flow
from sage.flow.graph import Graph, OnError, Step, Where, models_of
from sage.flow.index import Index
from sage.flow.process import CoProcess, KeyedProcess, ProcessContext, ValueState
from sage.flow.sources import TextSource
from sage.flow.spec import Aggregate, Embed, ForEach, Map, Read, Spec, Union
from sage.flow.stream import Stream
from sage.flow.windows import CountWindow, Session, Tumbling

HERE = Where("user.py", 7)


def step(name: str, spec: Spec, *inputs: str) -> Step:
    return Step(name, spec, inputs, HERE)


READ = step("read", Read(TextSource("x")))


def line_now() -> int:
    return sys._getframe(1).f_lineno


def refused(flow: Flow) -> FlowInvalid:
    with pytest.raises(FlowInvalid) as caught:
        flow.graph()
    return caught.value


def test_a_flow_without_steps_is_refused() -> None:
    assert "no steps" in refused(Flow("f")).what


def test_a_flow_without_a_sink_is_refused_at_the_line_of_its_last_step() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str)
    line = line_now() - 1
    error = refused(flow)
    assert error.what.startswith(f"{__file__}:{line}: ")
    assert "no sink" in error.what
    assert "collect()" in error.do


def test_an_output_that_nobody_uses_is_refused_at_its_line() -> None:
    flow = Flow("f")
    numbers = flow.from_collection([1])
    numbers.map(str).named("lost")
    line = line_now() - 1
    numbers.collect()
    error = refused(flow)
    assert f'{__file__}:{line}: nothing uses what the step "lost" gives' in error.what


def test_two_steps_of_one_name_are_refused_naming_both_lines() -> None:
    flow = Flow("f")
    flow.from_collection([1]).named("same").map(str).named("same").collect()
    error = refused(flow)
    assert len(re.findall(re.escape(__file__) + r":\d+", error.what)) == 2


def test_names_given_by_the_user_and_by_us_never_meet() -> None:
    flow = Flow("f")
    flow.from_collection([1]).map(str).map(str).map(str).named("map-2").map(str).named("map").collect()
    assert [step.name for step in flow.graph().steps] == [
        "from_collection", "map-3", "map-4", "map-2", "map", "collect",
    ]  # fmt: skip


def test_streams_of_two_flows_do_not_mix() -> None:
    ours, theirs = Flow("ours").from_collection([1]), Flow("theirs").from_collection([2])
    with pytest.raises(FlowInvalid, match='"ours" and "theirs"'):
        ours.union(theirs)


def test_a_circle_of_steps_is_refused_naming_its_steps() -> None:
    steps = [READ, step("u", Union(), "read", "m"), step("m", Map(str), "u"), step("end", ForEach(print), "m")]
    with pytest.raises(FlowInvalid, match=r"user.py:7: .* circle: (u -> m -> u|m -> u -> m)"):
        graph_from_steps("f", steps)


def test_a_step_that_reads_from_nowhere_is_refused() -> None:
    with pytest.raises(FlowInvalid, match='reads from "ghost"'):
        graph_from_steps("f", [READ, step("m", Map(str), "ghost")])


def test_nothing_reads_from_a_sink() -> None:
    with pytest.raises(FlowInvalid, match="where a stream has ended"):
        graph_from_steps("f", [READ, step("end", ForEach(print), "read"), step("m", Map(str), "end")])


def test_a_step_with_the_wrong_number_of_inputs_is_refused() -> None:
    with pytest.raises(FlowInvalid, match="map has 0 inputs"):
        graph_from_steps("f", [READ, step("m", Map(str))])
    with pytest.raises(FlowInvalid, match="two or more streams"):
        graph_from_steps("f", [READ, step("u", Union(), "read")])


def test_two_steps_do_not_write_one_file() -> None:
    flow = Flow("f")
    numbers = flow.from_collection([1])
    numbers.write_jsonl("out.jsonl")
    numbers.map(str).write_jsonl("out.jsonl")
    assert "two steps write out.jsonl" in refused(flow).what


def test_neither_do_sinks_of_two_kinds() -> None:
    flow = Flow("f")
    texts = flow.from_collection(["a"])
    texts.write_text("out.csv")
    texts.map(lambda text: {"text": text}).write_csv("out.csv")
    assert "two steps write out.csv" in refused(flow).what


def test_a_stream_is_not_united_with_itself() -> None:
    flow = Flow("f")
    numbers = flow.from_collection([1])
    numbers.union(numbers).collect()
    assert "each once" in refused(flow).what


def test_an_aggregate_without_a_key_is_refused() -> None:
    with pytest.raises(FlowInvalid, match="count needs a key"):
        graph_from_steps("f", [READ, step("c", Aggregate("count"), "read"), step("end", ForEach(print), "c")])


def test_steps_in_any_order_come_out_in_topological_order() -> None:
    graph = graph_from_steps("f", [step("end", ForEach(print), "m"), step("m", Map(str), "read"), READ])
    assert [step.name for step in graph.steps] == ["read", "m", "end"]


def test_hand_made_steps_are_checked_like_written_ones() -> None:
    with pytest.raises(FlowInvalid, match="parallelism is 0"):
        graph_from_steps("f", [READ, replace(step("m", Map(str), "read"), parallelism=0)])


def test_a_retrieval_fed_by_what_fills_its_index_is_refused_because_it_would_wait_for_itself() -> None:
    flow, docs = Flow("f"), Index("docs")
    texts = flow.from_collection([{"text": "a"}]).embed(model="m", text="text", into="vector")
    texts.index_into(docs)
    texts.retrieve(docs).named("ask").collect()
    error = refused(flow)
    assert '"ask" waits until "index_into"' in error.what
    assert "second stream" in error.do


def test_a_retrieval_whose_results_fill_its_own_index_is_refused() -> None:
    flow, docs = Flow("f"), Index("docs")
    flow.from_collection([{"vector": 1}]).retrieve(docs).index_into(docs)
    assert "waits for it in turn" in refused(flow).what


def test_two_flows_of_questions_that_wait_for_each_other_are_refused() -> None:
    flow, left, right = Flow("f"), Index("left"), Index("right")
    flow.from_collection([{}]).retrieve(left).index_into(right)
    flow.from_collection([{}]).retrieve(right).index_into(left)
    assert "waits" in refused(flow).what


def test_texts_and_questions_from_two_sources_are_a_good_flow() -> None:
    graph = rag_graph()
    assert [step.name for step in graph.steps][-1] == "collect"


def test_an_index_that_nobody_fills_may_be_asked_since_another_flow_may_have_filled_it() -> None:
    flow = Flow("f")
    flow.from_collection([{"vector": 1}]).retrieve(Index("elsewhere")).collect()
    assert flow.graph().steps[1].name == "retrieve"


def rag_graph() -> Graph:
    flow, docs = Flow("rag"), Index("docs")
    texts = flow.from_collection([{"text": "a", "source": "s"}])
    texts.embed(model="minilm", text="text", into="vector").index_into(docs)
    questions = flow.from_collection([{"q": "a?"}]).embed(model="minilm", text="q", into="vector")
    questions.retrieve(docs).generate(model="smollm2", prompt="{q}", into="answer").collect()
    return flow.graph()


def test_what_a_flow_asks_of_models_is_listed_with_its_steps() -> None:
    uses = [(use.model, use.kind, use.step.name) for use in models_of(rag_graph())]
    assert uses == [
        ("minilm", Kind.EMBED, "embed"),
        ("minilm", Kind.EMBED, "embed-2"),
        ("smollm2", Kind.CHAT, "generate"),
    ]


def test_vectors_that_only_fill_an_index_are_batch_work_and_others_standard() -> None:
    classes = [step.spec.priority for step in rag_graph().steps if isinstance(step.spec, Embed)]
    assert classes == [ServiceClass.BATCH, ServiceClass.STANDARD]


def test_a_priority_that_was_chosen_stays_also_before_an_index() -> None:
    flow = Flow("f")
    flow.from_collection(["a"]).embed(model="m", priority="standard").index_into(Index("i"), text=str, vector=str)
    spec = flow.graph().steps[1].spec
    assert isinstance(spec, Embed)
    assert spec.priority is ServiceClass.STANDARD


def test_vectors_read_by_an_index_and_another_step_are_standard() -> None:
    flow = Flow("f")
    vectors = flow.from_collection(["a"]).embed(model="m")
    vectors.index_into(Index("i"), text=str, vector=str)
    vectors.collect()
    spec = flow.graph().steps[1].spec
    assert isinstance(spec, Embed)
    assert spec.priority is ServiceClass.STANDARD


def test_every_handle_of_a_step_sees_what_was_set_on_it() -> None:
    flow = Flow("f")
    before = flow.from_collection([1]).map(str)
    after = before.named("text").on_error("retry", retries=2)
    before.collect()
    after.collect()
    named = flow.graph().steps[1]
    assert (named.name, named.on_error, named.retries) == ("text", OnError.RETRY, 2)
    assert [step.inputs for step in flow.graph().steps[2:]] == [("text",), ("text",)]


def test_retry_without_a_number_tries_three_times_more_and_dead_letter_none() -> None:
    numbers: Stream[int] = Flow("f").from_collection([1])
    retried, dead = numbers.map(str).on_error("retry"), numbers.map(str).on_error("dead_letter")
    assert retried._builder.step(retried._number).retries == 3
    assert dead._builder.step(dead._number).retries == 0


def test_a_window_without_event_time_is_refused_at_its_line_and_names_who_gives_none() -> None:
    flow = Flow("f")
    source = flow.from_collection([1])
    at = line_now() - 1
    source.key_by(str).window(Tumbling(1)).count().collect()
    error = refused(flow)
    assert error.what.startswith(f"{__file__}:{at + 2}: window needs event time")
    assert f'"from_collection" ({__file__}:{at})' in error.what
    assert ".assign_timestamps(fn)" in error.do


def test_event_time_comes_with_a_source_or_later_and_must_come_to_every_branch() -> None:
    flow = Flow("f")
    timed = flow.from_collection([1], timestamp=float)
    timed.map(abs).key_by(str).window(Session(1)).count().collect()
    untimed = flow.from_collection([1]).map(abs)
    untimed.assign_timestamps(float).key_by(str).window(Tumbling(1)).count().collect()
    untimed.key_by(str).window(CountWindow(2)).count().collect()
    flow.graph()
    timed.union(untimed).key_by(str).window(Tumbling(1)).count().collect()
    assert '"from_collection-2"' in refused(flow).what


def test_what_a_final_aggregate_gives_has_no_event_time() -> None:
    flow = Flow("f")
    counts = flow.from_collection([1], timestamp=float).key_by(str).count(final=True)
    counts.key_by(str).window(Tumbling(1)).count().collect()
    assert 'what "count" (' in refused(flow).what


def test_a_source_told_of_disorder_must_know_what_time_is() -> None:
    with pytest.raises(FlowInvalid, match="nothing says what their time is"):
        Flow("f").from_collection([1], max_out_of_order_s=2)
    with pytest.raises(FlowInvalid, match="partition is about the time of records"):
        Flow("f").from_collection([1], partition=str)
    with pytest.raises(FlowInvalid, match="idle_after_s is about the time of records"):
        Flow("f").from_collection([1], idle_after_s=1.0)


def test_a_source_with_event_time_takes_a_policy_for_records_without() -> None:
    flow = Flow("f")
    flow.from_collection(["x"], timestamp=float).on_error("dead_letter").collect()
    flow.graph()


def test_a_side_is_taken_where_there_is_one_and_every_side_is_taken() -> None:
    flow = Flow("f")
    parts = flow.from_collection([1]).split({"odd": bool, "even": bool})
    parts.side("odd").collect()
    assert "nothing uses the side 'even' of \"split\"" in refused(flow).what
    parts.side("even").collect()
    flow.graph()
    parts.side("prime").collect()
    assert "\"split\" has no side 'prime'; its sides: 'odd', 'even'" in refused(flow).what


class Counting(KeyedProcess[str, int, int]):
    def on_record(self, record: int, context: ProcessContext[str]) -> list[int]:
        return [record]


class Fading(Counting):
    seen = ValueState(False, ttl_s=5)


def test_a_state_that_expires_needs_event_time_and_others_do_not() -> None:
    flow = Flow("f")
    flow.from_collection([1]).key_by(str).process(Counting).collect()
    flow.from_collection([1], timestamp=float).key_by(str).process(Fading).collect()
    flow.graph()
    flow.from_collection([1]).key_by(str).process(Fading()).collect()
    assert "a state that expires needs event time" in refused(flow).what


def test_a_process_without_its_methods_is_refused_with_their_names() -> None:
    class Forgot(KeyedProcess[str, int, int]):
        seen = ValueState(False)

    keyed = Flow("f").from_collection([1]).key_by(str)
    with pytest.raises(FlowInvalid, match=r"Define on_record\(self, record, context\) in it"):
        keyed.process(Forgot)
    with pytest.raises(FlowInvalid, match=r"Define on_first.* and on_second"):
        keyed.connect(keyed).process(CoProcess)


def test_a_process_is_a_keyed_process() -> None:
    with pytest.raises(FlowInvalid, match=r"process takes a sage.KeyedProcess, got <class 'int'>"):
        Flow("f").from_collection([1]).key_by(str).process(int)  # type: ignore[arg-type]  # that is the mistake


def test_a_join_takes_keyed_streams_of_one_flow_with_event_time() -> None:
    flow = Flow("f")
    timed = flow.from_collection([1], timestamp=float).key_by(str)
    with pytest.raises(FlowInvalid, match="join takes a keyed stream"):
        timed.join(flow)  # type: ignore[arg-type]  # that is the mistake
    with pytest.raises(FlowInvalid, match='connect mixes streams of the flows "f" and "g"'):
        timed.connect(Flow("g").from_collection([1]).key_by(str))
    with pytest.raises(FlowInvalid, match="a join takes windows of event time"):
        timed.join(timed).window(CountWindow(2))
    with pytest.raises(FlowInvalid, match="from 0 s before to -1 s after is no time at all"):
        timed.join(timed).within(0, -1)
    timed.join(timed).within(0, 1).collect()
    flow.graph()
    untimed = flow.from_collection([1]).key_by(str)
    timed.join(untimed).within(0, 1).collect()
    assert "join needs event time" in refused(flow).what
