"""A client that leaves is noticed at once, wherever its request stands, and what was asked for it is cancelled."""

import json
import time
from collections.abc import Callable

import pytest

from cluster.web.protocol import Limits
from sage.base.errors import ContextOverflow
from sage.base.inference import Embedded, Failed, Failure, Finished, Reply, Request, Token, Usage
from tests.http.clients import WAIT_S, post, raw_connection, raw_post, read_rest, read_until
from tests.http.scripted import ENGINE, Script, ScriptedInference, begins, says
from tests.http.served import Served, served

HI = [{"role": "user", "content": "hi"}]
CHAT = ("/v1/chat/completions", {"model": "scripted", "messages": HI})
STREAM = ("/v1/chat/completions", {"model": "scripted", "messages": HI, "stream": True})
COMPLETION = ("/v1/completions", {"model": "scripted", "prompt": "hi", "stream": True})
EMBED = ("/v1/embeddings", {"model": "vectors", "input": ["a"] * 130})


def wait_until(gateway: Served, claim: Callable[[], bool]) -> None:
    """Wait until `claim` holds on the gateway's loop, which runs between two looks."""
    until_s = time.monotonic() + WAIT_S
    while not gateway.call(claim):
        assert time.monotonic() < until_s, "it never came to hold"


@pytest.mark.parametrize(
    ("ask", "script", "seen", "num_cancelled"),
    [
        (CHAT, begins(), b"", 1),
        (CHAT, begins("a"), b"", 1),
        (STREAM, begins(), b"", 1),
        (STREAM, begins("a"), b'"a"', 1),
        (COMPLETION, begins("a"), b'"a"', 1),
        (EMBED, begins(), b"", 3),
    ],
    ids=["whole-before", "whole-after", "stream-before", "stream-after", "completion-after", "embeddings"],
)
def test_leaving_cancels_what_was_asked(
    ask: tuple[str, object], script: Script, seen: bytes, num_cancelled: int
) -> None:
    path, body = ask
    inference = ScriptedInference(script)
    with served(inference) as gateway:
        with raw_connection(gateway.url) as connection:
            connection.sendall(raw_post(path, json.dumps(body).encode()))
            assert inference.submitted.wait(WAIT_S)
            read_until(connection, seen)
            assert not inference.cancelled.is_set()
        assert inference.cancelled.wait(WAIT_S), "nobody told the plane that the client has left"
        wait_until(gateway, lambda: gateway.entrance.bridge.num_asking == 0)
    assert inference.cancelled_ids == [request.id for request in inference.requests]
    assert len(inference.cancelled_ids) == num_cancelled


def test_what_has_ended_is_not_cancelled() -> None:
    inference = ScriptedInference(says("a"))
    with served(inference) as gateway:
        for path, body in (CHAT, STREAM, COMPLETION):
            assert post(gateway.url, path, body).status_code == 200
        wait_until(gateway, lambda: gateway.entrance.bridge.num_asking == 0)
    assert inference.cancelled_ids == []


def test_others_go_on_when_one_leaves() -> None:
    inference = ScriptedInference(begins("a"))
    body = json.dumps(STREAM[1]).encode()
    with served(inference) as gateway, raw_connection(gateway.url) as stays:
        with raw_connection(gateway.url) as leaves:
            stays.sendall(raw_post(STREAM[0], body))
            read_until(stays, b'"a"')
            leaves.sendall(raw_post(STREAM[0], body))
            read_until(leaves, b'"a"')
        assert inference.cancelled.wait(WAIT_S)
        first, second = inference.requests
        assert inference.cancelled_ids == [second.id]
        end: list[Reply] = [Token(first.id, "b"), Finished(first.id, "stop", Usage(1, 2), ENGINE)]
        gateway.call(lambda: inference.say(first, end))
        assert b"[DONE]" in read_until(stays, b"[DONE]")


def test_a_list_of_which_one_part_fails_cancels_the_others() -> None:
    def second_fails(request: Request) -> list[Reply]:
        is_second = len(inference.requests) == 3 and request is inference.requests[1]
        return [Failed(request.id, Failure.of(ContextOverflow("too long")))] if is_second else []

    inference = ScriptedInference(second_fails)
    with served(inference) as gateway:
        assert post(gateway.url, *EMBED).status_code == 400
    first, _, third = inference.requests
    assert inference.cancelled_ids == [first.id, third.id]


def test_replies_from_another_thread_arrive_in_order() -> None:
    inference = ScriptedInference(begins())
    with served(inference) as gateway, raw_connection(gateway.url) as connection:
        connection.sendall(raw_post(STREAM[0], json.dumps(STREAM[1]).encode()))
        assert inference.submitted.wait(WAIT_S)
        [request] = inference.requests
        for number in range(100):
            inference.say(request, [Token(request.id, f"<{number}>")])
        inference.say(request, [Finished(request.id, "stop", Usage(1, 100), ENGINE)])
        text = read_until(connection, b"[DONE]").decode()
    places = [text.index(f"<{number}>") for number in range(100)]
    assert places == sorted(places)


def test_a_body_that_stops_coming_leaves_nothing_behind() -> None:
    inference = ScriptedInference(says("a"))
    with served(inference) as gateway:
        with raw_connection(gateway.url) as connection:
            connection.sendall(raw_post(CHAT[0], b"{" * 100)[:-50])
            wait_until(gateway, lambda: gateway.entrance.num_open == 1)
        wait_until(gateway, lambda: gateway.entrance.num_open == 0)
    assert inference.requests == []


def test_a_reader_that_stops_costs_little_and_is_cut_off() -> None:
    """The deadline is short here; what is counted is what the gateway holds for it in the meantime."""
    inference = ScriptedInference(begins("a"))
    with (
        served(inference, limits=Limits(stalled_s=0.3)) as gateway,
        raw_connection(gateway.url, receive_buffer_bytes=4096) as connection,
    ):
        connection.sendall(raw_post(STREAM[0], json.dumps(STREAM[1]).encode()))
        assert inference.submitted.wait(WAIT_S)
        [request] = inference.requests
        for _ in range(3000):
            gateway.call(lambda: inference.say(request, [Token(request.id, "x" * 20)]))
            if inference.cancelled.is_set():
                break
        assert inference.cancelled.wait(WAIT_S), "the stopped reader was never cut off"
        num_bytes = len(read_rest(connection))
    assert num_bytes <= 256 * 1024


def test_embeddings_are_not_cancelled_once_they_are_answered() -> None:
    def embeds(request: object) -> list[Embedded]:
        [asked] = inference.requests
        return [Embedded(asked.id, b"\0" * 16, 4, Usage(1), ENGINE)]

    inference = ScriptedInference(embeds)
    with served(inference) as gateway:
        assert post(gateway.url, "/v1/embeddings", {"model": "vectors", "input": "a"}).status_code == 200
    assert inference.cancelled_ids == []
