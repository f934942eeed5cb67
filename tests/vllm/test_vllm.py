"""Real vLLM on CPUs behind the `openai` kind and under a replay: it is understood, and what we cancel it stops."""

from collections.abc import Iterator

import pytest

from benchmarks.policies_wanted import TraceName
from benchmarks.replay import measure_replay
from benchmarks.replay_wanted import ReplayWanted
from cluster.serving.engines.launch import launch
from cluster.serving.engines.spec import spec_from_text
from sage.base.ids import RequestId
from sage.base.inference import ChatMessage, ChatRequest, GenerateRequest, Sampling
from tests.contract.driven import Hosted, Record, answer, closing, wait_for
from tests.vllm.checkpoint import CONTEXT_TOKENS, make_checkpoint
from tests.vllm.server import VllmServer, vllm_server

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

HI = (ChatMessage("user", "hello"),)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VllmServer]:
    folder = tmp_path_factory.mktemp("vllm")
    with vllm_server(make_checkpoint(folder / "tiny"), folder / "log") as running:
        yield running


@pytest.fixture
def engine(server: VllmServer) -> Iterator[Hosted]:
    with closing(hosted := Hosted(launch(spec_from_text(f"openai:{server.url},model=tiny,max_running=32")))):
        yield hosted


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


def test_a_trace_is_replayed_against_it(server: VllmServer) -> None:
    wanted = ReplayWanted(TraceName.GENERATED, server.url, "tiny", speed=20.0, lengths=0.02, limit=40)
    (result,) = measure_replay(wanted, print)
    assert (result.n, result.num_answered, result.errors, result.simulated) == (40, 40, {}, False)
    assert result.checked
    assert 0.8 < result.prompt_tokens_ratio < 1.2
    print(result)


def test_what_does_not_fit_its_context_is_refused_with_the_sizes(engine: Hosted) -> None:
    long = ChatRequest(RequestId("long"), "tiny", (ChatMessage("user", "word " * 5000),))
    wide = ChatRequest(RequestId("wide"), "tiny", HI, Sampling(40_000))
    record = answer(engine, [long, wide])
    assert [record.failed_code(request.id) for request in (long, wide)] == ["SAGE-1204"] * 2
    assert "2,048 tokens" in str(record.lasts[long.id])
