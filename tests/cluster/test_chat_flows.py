"""Flows that are asked as models, on real head and node processes with a simulated engine."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

import sage
from cluster.client.cluster import RemoteCluster
from cluster.client.nodes_here import nodes_here
from sage.base.errors import NameTaken
from sage.base.inference import Finished
from sage.base.settings import EngineSettings, Settings
from sage.flow.runner import JobStatus
from tests.cluster.chat_ask import DEADLINE_S, ask
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

SIMULATED = EngineSettings(name="sim", kind="simulated", target="cpu2", model="sim")


def invert(turn: dict[str, Any]) -> str:
    return str(1 / int(turn["question"]))


def flow_of_chats() -> sage.Flow:
    flow = sage.Flow("chats")
    flow.from_chat("invert").map(invert).reply()
    flow.from_chat("words").flat_map(lambda turn: turn["question"].split()).map(str.upper).with_parallelism(2).map(
        lambda word: f"{word} "
    ).reply()
    chat = flow.from_chat("talk")
    chat.filter(lambda turn: turn["question"].isdigit()).generate(
        model="sim", prompt="{question}", max_tokens=4, into="answer"
    ).union(chat.filter(lambda turn: turn["question"] == "hi").map(lambda turn: {"answer": "hello"})).reply("answer")
    flow.from_chat("long").generate(model="sim", prompt="{question}", max_tokens=5000).reply()
    return flow


@pytest.fixture(scope="module")
def cluster() -> Iterator[RemoteCluster]:
    with nodes_here(2, settings=Settings(engines=(SIMULATED,))) as cluster:
        job = cluster.submit(flow_of_chats())
        eventually(lambda: job.status is JobStatus.RUNNING, DEADLINE_S)
        yield cluster
        job.cancel()
        assert ask(cluster, "invert", "4").code == "SAGE-1201"


def test_a_flow_answers_whoever_asks_it_as_a_model(cluster: RemoteCluster) -> None:
    assert ask(cluster, "invert", "4").text == "0.25"
    assert ask(cluster, "words", "to be or not").text == "TO BE OR NOT "


def test_each_of_many_callers_gets_his_own_answer(cluster: RemoteCluster) -> None:
    asked = [ask(cluster, "invert", str(number)) for number in range(1, 101)]
    assert [one.text for one in asked] == [str(1 / number) for number in range(1, 101)]


def test_ways_that_part_meet_in_one_reply_and_none_leads_to_no_reply(cluster: RemoteCluster) -> None:
    assert ask(cluster, "talk", "hi").text == "hello"
    answer = ask(cluster, "talk", "12")
    assert len(answer.text.split()) == 4
    assert isinstance(answer.last, Finished)
    assert (answer.last.reason, answer.last.usage.completion_tokens) == ("length", 4)
    assert ask(cluster, "talk", "neither").code == "SAGE-1309"


def test_a_request_that_breaks_a_function_fails_alone(cluster: RemoteCluster) -> None:
    assert ask(cluster, "invert", "0").code == "SAGE-1301"
    assert ask(cluster, "invert", "2").text == "0.5"


def test_a_caller_that_leaves_frees_the_engine(cluster: RemoteCluster) -> None:
    asked = ask(cluster, "long", "go on")
    assert asked.has_token.wait(DEADLINE_S)
    cluster.inference.cancel([asked.request.id])
    assert asked.code == "SAGE-2206"
    eventually(lambda: [engine.num_running for engine in cluster.engines()] == [0], DEADLINE_S)


def test_the_callers_deadline_ends_it(cluster: RemoteCluster) -> None:
    assert ask(cluster, "long", "go on", timeout_s=0.5).code == "SAGE-2205"
    eventually(lambda: [engine.num_running for engine in cluster.engines()] == [0], DEADLINE_S)


def test_a_second_flow_of_the_name_and_one_of_an_engines_name_are_refused(cluster: RemoteCluster) -> None:
    for name in ("invert", "sim"):
        flow = sage.Flow("other")
        flow.from_chat(name).map(str).reply()
        with pytest.raises(NameTaken, match=name):
            cluster.submit(flow)


def test_a_node_that_dies_ends_what_it_worked_on_and_the_flow_answers_again() -> None:
    with nodes_here(1, settings=Settings(engines=(SIMULATED,))) as cluster:
        job = cluster.submit(flow_of_chats())
        eventually(lambda: job.status is JobStatus.RUNNING, DEADLINE_S)
        asked = ask(cluster, "long", "go on")
        assert asked.has_token.wait(DEADLINE_S)
        [node] = cluster.node_states()
        os.kill(node.pid, signal.SIGKILL)
        assert asked.code == "SAGE-2202"
        eventually(lambda: isinstance(ask(cluster, "invert", "4").last, Finished), DEADLINE_S)
        job.cancel()
