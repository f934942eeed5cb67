"""Real vLLM on CPUs, started by the `vllm` kind: it is understood, and what we cancel it stops."""

import numpy as np
import pytest

from benchmarks.policies_wanted import TraceName
from benchmarks.replay import measure_replay
from benchmarks.replay_wanted import ReplayWanted
from cluster.serving.engines.launch import launch
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.manager import start_control_plane
from cluster.serving.plane import Plane
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest, EmbedRequest, Finished, GenerateRequest, Sampling, Token
from tests.cluster.waiting import eventually
from tests.contract.driven import Hosted, Record, answer, closing, wait_for
from tests.unit.serving.arrange import BATCH, INTERACTIVE, chat
from tests.unit.serving.test_manager import ask
from tests.vllm.checkpoint import CONTEXT_TOKENS, HIDDEN
from tests.vllm.server import VllmServer

pytestmark = [pytest.mark.vllm, pytest.mark.alone, pytest.mark.timeout(900)]

ENDED, PROMPTS = "vllm:request_success_total", "vllm:prompt_tokens_total"
HI = (ChatMessage("user", "hello"),)


@pytest.fixture
def engine(server: VllmServer) -> Hosted:
    return server.engine


def test_another_engine_reaches_it_by_its_address_and_key(server: VllmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", server.key)
    with closing(hosted := Hosted(launch(spec_from_text(f"openai:{server.url},model=tiny,key_env=TINY_KEY")))):
        (card,) = hosted.info.models
        assert card.context_tokens == CONTEXT_TOKENS
        request = ChatRequest(RequestId("by-address"), "tiny", HI, Sampling(8))
        assert answer(hosted, [request]).finished(request.id).usage.completion_tokens <= 8


def test_a_pooling_server_embeds(pooling: VllmServer) -> None:
    texts = tuple(f"text number {number}" for number in range(40))
    (card,) = pooling.engine.info.models
    assert card.dim == HIDDEN
    request = EmbedRequest(RequestId("e"), "tiny", texts)
    embedded = answer(pooling.engine, [request]).embedded(request.id)
    vectors = np.frombuffer(embedded.vectors, "<f4").reshape(len(texts), HIDDEN)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    assert embedded.usage.prompt_tokens > len(texts)


def test_its_context_is_known_without_being_told(engine: Hosted) -> None:
    (card,) = engine.info.models
    assert (card.name, card.context_tokens, engine.info.simulated) == ("tiny", CONTEXT_TOKENS, False)


def test_many_answers_come_at_once_token_by_token_with_usage(server: VllmServer, engine: Hosted) -> None:
    before = server.metric("vllm:generation_tokens_total")
    requests = [ChatRequest(RequestId(f"c{n}"), "tiny", HI, Sampling(64)) for n in range(40)]
    record = answer(engine, requests)
    usages = [record.finished(request.id).usage for request in requests]
    assert all(usage.prompt_tokens > 10 and 1 <= usage.completion_tokens <= 64 for usage in usages)
    assert sum(len(record.tokens[request.id]) for request in requests) > 2 * len(requests)
    assert server.metric("vllm:generation_tokens_total") - before == sum(usage.completion_tokens for usage in usages)
    figures = engine.seen[-1] if engine.seen else engine.next_figures()
    while figures.num_running or figures.num_decoded < sum(usage.completion_tokens - 1 for usage in usages):
        figures = engine.next_figures()
    assert figures.prefix_asked_tokens >= sum(usage.prompt_tokens for usage in usages)
    assert figures.decode_s > 0 == figures.num_waiting


def test_it_says_how_much_of_a_prompt_it_had_kept(engine: Hosted) -> None:
    story = (ChatMessage("user", "once upon a time " * 200),)
    usages = []
    for number in range(2):
        request = ChatRequest(RequestId(f"k{number}"), "tiny", story, Sampling(1))
        usages.append(answer(engine, [request]).finished(request.id).usage)
    assert usages[0].cached_tokens < usages[1].cached_tokens < usages[1].prompt_tokens == usages[0].prompt_tokens


def test_what_is_cancelled_stops_at_the_server_too(server: VllmServer, engine: Hosted) -> None:
    cancelled, after = (RequestId("cancelled"), RequestId("after"))
    before = server.metric("vllm:generation_tokens_total")
    engine.add([GenerateRequest(cancelled, "tiny", "Once upon a time")])  # up to the end of the context
    record = Record()
    while cancelled not in record.tokens:
        record.take(engine.next_replies())
    engine.cancel([cancelled])
    wait_for(engine, [cancelled], record)
    assert record.failed_code(cancelled) == "SAGE-2206"
    for number in range(5):  # while others go on it stays stopped
        again = RequestId(f"{after}-{number}")
        engine.add([ChatRequest(again, "tiny", HI, Sampling(64, seed=number))])
        assert wait_for(engine, [again]).finished(again).usage.completion_tokens <= 64
    assert server.metric("vllm:num_requests_running") == 0
    assert server.metric("vllm:generation_tokens_total") - before < CONTEXT_TOKENS - 64
    assert server.metric("vllm:request_success_total", finished_reason="error") == 0


def test_what_it_has_not_begun_with_gives_its_place_and_is_answered_once(
    server: VllmServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINY_KEY", server.key)
    num, text = 8, "word " * (CONTEXT_TOKENS // 8)  # a token for each character at most
    batch = [chat(f"batch-{n}", BATCH, model="tiny", text=f"{n} {text}", max_tokens=4) for n in range(num)]
    ended, worked_off = server.metric(ENDED), server.metric(PROMPTS)
    client = start_control_plane(Plane(policy="priority"))
    try:
        spec = f"openai:{server.url},model=tiny,key_env=TINY_KEY,max_running={num},gives_back=true"
        client.attach(launch(spec_from_text(spec)))
        given = ask(client, *batch)
        eventually(lambda: server.num_inside() == num, 30.0, server.num_inside)
        urgent = ask(client, chat("urgent", INTERACTIVE, model="tiny", max_tokens=4))
        assert urgent.outcomes(60.0) == {"urgent": "finished"}
        assert given.outcomes(60.0) == {request.id: "finished" for request in batch}
        assert client.view().num_taken_back == 1
    finally:
        assert client.close() == []
    usages = [reply.usage for reply in (*given.replies, *urgent.replies) if isinstance(reply, Finished)]
    assert len(usages) == num + 1
    assert sum(reply.num_tokens for reply in given.replies if isinstance(reply, Token)) <= 4 * num
    assert server.num_inside() == 0
    assert server.metric(ENDED) - ended == num + 1, "the one that gave its place ended once, though it was asked twice"
    assert server.metric(PROMPTS) - worked_off == sum(usage.prompt_tokens for usage in usages), "nor was it read twice"


def test_a_trace_is_replayed_against_it(server: VllmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINY_KEY", server.key)
    wanted = ReplayWanted(
        TraceName.GENERATED, server.url, "tiny", speed=20.0, lengths=0.02, limit=40, key_env="TINY_KEY"
    )
    (result,) = measure_replay(wanted, print)
    assert (result.n, result.num_answered, result.errors, result.simulated) == (40, 40, {}, False)
    assert result.checked
    assert 0.8 < result.prompt_tokens_ratio < 1.2
    print(result)


def test_what_does_not_fit_its_context_is_refused_with_the_sizes(engine: Hosted) -> None:
    long = ChatRequest(RequestId("long"), "tiny", (ChatMessage("user", "word " * 20_000),))
    wide = ChatRequest(RequestId("wide"), "tiny", HI, Sampling(40_000))
    record = answer(engine, [long, wide])
    assert [record.failed_code(request.id) for request in (long, wide)] == ["SAGE-1204"] * 2
    assert "16,384 tokens" in str(record.lasts[long.id])
