"""Chat streams: which steps may stand on the way from a request to its reply, and what each does there."""

import pytest

import sage
from sage.base.errors import FlowInvalid
from sage.flow.chat import ChatSource
from sage.flow.graph import Graph, OnError, TurnRole
from sage.flow.spec import Read
from sage.flow.turns import chats_of


def roles(graph: Graph) -> dict[str, TurnRole | None]:
    return {step.name: step.turns for step in graph.steps}


def refused(flow: sage.Flow) -> str:
    with pytest.raises(FlowInvalid) as caught:
        flow.graph()
    return str(caught.value)


def num_ways(graph: Graph) -> int:
    source = graph.steps[0].spec
    assert isinstance(source, Read)
    assert isinstance(source.source, ChatSource)
    return source.source.num_ways


def test_steps_before_a_reply_are_on_the_way_and_those_beside_it_leave() -> None:
    flow = sage.Flow("f")
    turns = flow.from_chat("bot")
    turns.map(len).named("to reply").map(str).reply()
    turns.key_by(lambda turn: turn["tenant"]).count().for_each(print).named("aside")
    graph = flow.graph()
    assert chats_of(graph) == {"bot": "from_chat"}
    assert roles(graph) == {
        "from_chat": TurnRole.ON_WAY,
        "to reply": TurnRole.ON_WAY,
        "map": TurnRole.ON_WAY,
        "reply": TurnRole.ON_WAY,
        "key_by": TurnRole.LEAVES,
        "count": None,
        "aside": None,
    }


def test_a_record_that_fails_on_the_way_fails_its_request_and_not_the_job() -> None:
    flow = sage.Flow("f")
    turns = flow.from_chat("bot")
    turns.map(len).on_error("retry", retries=2).map(str).reply()
    turns.map(len).for_each(print)
    policies = {step.name: (step.on_error, step.retries) for step in flow.graph().steps}
    assert policies["map"] == (OnError.DEAD_LETTER, 2)
    assert policies["map-2"] == (OnError.DEAD_LETTER, 0)
    assert policies["map-3"] == (OnError.FAIL, 0)


@pytest.mark.parametrize(
    ("into", "text", "speaks"),
    [
        (None, None, True),
        (None, "{}", True),
        ("answer", "answer", True),
        ("answer", "{answer}", True),
        ("answer", "{answer}!", False),
        ("answer", "{question}", False),
    ],
)
def test_a_model_speaks_where_what_it_says_is_the_reply(into: str | None, text: str | None, speaks: bool) -> None:
    flow = sage.Flow("f")
    turns = flow.from_chat("bot")
    if into is None:
        turns.generate(model="m", prompt="{question}").reply(text)
    else:
        turns.generate(model="m", prompt="{question}", into=into).reply(text)
    assert roles(flow.graph())["generate"] is (TurnRole.SPEAKS if speaks else TurnRole.ON_WAY)


def test_models_on_two_ways_speak_where_the_ways_meet_right_before_the_reply() -> None:
    flow = sage.Flow("f")
    turns = flow.from_chat("bot")
    small = turns.filter(lambda turn: len(turn["question"]) < 9).generate(model="s", prompt="{question}")
    turns.generate(model="l", prompt="{question}").union(small).reply()
    found = roles(flow.graph())
    assert (found["generate"], found["generate-2"]) == (TurnRole.SPEAKS, TurnRole.SPEAKS)


def test_a_model_whose_answer_others_read_too_does_not_speak() -> None:
    flow = sage.Flow("f")
    answers = flow.from_chat("bot").generate(model="m", prompt="{question}")
    answers.reply()
    answers.for_each(print)
    assert roles(flow.graph())["generate"] is TurnRole.ON_WAY


def test_the_ways_to_a_reply_are_counted() -> None:
    flow = sage.Flow("f")
    turns = flow.from_chat("bot")
    short, long = turns.filter(lambda turn: len(turn["question"]) < 9), turns.map(lambda turn: turn)
    short.map(str).union(long.map(str), long.map(repr)).reply()
    turns.for_each(print)
    assert num_ways(flow.graph()) == 3
    assert {step.name: step.num_ways for step in flow.graph().steps if step.turns is TurnRole.ON_WAY} == {
        "from_chat": 3,
        "filter": 1,
        "map": 2,
        "map-2": 1,
        "map-3": 1,
        "map-4": 1,
        "union": 1,
        "reply": 1,
    }


def test_what_cannot_tell_its_outputs_apart_by_request_is_refused_before_a_reply() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").key_by(lambda turn: turn["tenant"]).count().named("how often").map(str).reply()
    assert "'key_by' is between from_chat and reply" in refused(flow)


def test_records_that_are_no_requests_are_refused_before_a_reply() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").map(str).union(flow.from_collection(["ad"]).named("ads")).reply()
    assert "union puts 'ads', whose records are no chat requests, before a reply" in refused(flow)


def test_requests_of_callers_who_may_leave_share_no_call() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").generate(model="m", prompt="{question}", dedup=True).reply()
    assert "chat requests share no call: each ends with its caller" in refused(flow)


def test_a_chat_stream_without_a_reply_and_a_reply_without_one_are_refused() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").for_each(print)
    assert "nothing replies to the chat requests of 'from_chat'" in refused(flow)
    flow = sage.Flow("f")
    flow.from_collection(["a"]).reply()
    assert "reply answers chat requests, and none come here" in refused(flow)


def test_two_streams_of_one_name_and_a_flow_that_asks_itself_are_refused() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").map(str).reply()
    flow.from_chat("bot").map(str).reply()
    assert "two streams take the chat requests of 'bot'" in refused(flow)
    flow = sage.Flow("f")
    flow.from_chat("bot").generate(model="bot", prompt="{question}").reply()
    assert "asks the model 'bot', which is the flow itself" in refused(flow)


def test_a_name_that_is_empty_or_has_spaces_around_it_is_refused() -> None:
    for name in ("", " bot"):
        with pytest.raises(FlowInvalid, match="a chat model needs a name"):
            sage.Flow("f").from_chat(name)


def test_in_one_process_nobody_could_ask_the_flow() -> None:
    flow = sage.Flow("f")
    flow.from_chat("bot").map(str).reply()
    with pytest.raises(FlowInvalid, match="answers as the model 'bot', and nobody can ask it in this process"):
        flow.run()
