"""What a server publishes of its cache, put together with the prompts that it is asked over HTTP."""

import json
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.serving.engines.figures import KeptBlocks
from cluster.serving.engines.openai_engine import OpenaiEngine
from cluster.serving.engines.openai_start import Server, engine_of_server
from cluster.serving.engines.openai_wire import has_room_for_tokens
from cluster.serving.engines.spec import spec_from_text
from cluster.serving.size import BLOCK_BYTES, TextSizing
from sage.base.ids import EngineId, RequestId
from sage.base.inference import ChatMessage, ChatRequest, GenerateRequest, Kind, ModelCard
from tests.unit.engines.kv_published import Publisher, stored
from tests.unit.engines.scripted_server import ScriptedServer, events, http, scripted_server
from tests.unit.engines.test_openai import CHAT, COMPLETIONS, USAGE, WAIT_MS, chunk, replies_to

TEXT = "x" * (2 * BLOCK_BYTES)
TOKENS = [5, 6, 7, 8, 9, 10, 11, 12]
CHATTED = events(chunk("", prompt_token_ids=TOKENS), chunk("a"), chunk(reason="stop"), USAGE, "[DONE]")
COMPLETED = events(
    json.dumps({"choices": [{"index": 0, "text": "a", "prompt_token_ids": TOKENS, "finish_reason": "stop"}]}), "[DONE]"
)
REQUESTS = (
    ChatRequest(RequestId("chat"), "m", (ChatMessage("user", TEXT),)),
    GenerateRequest(RequestId("prompt"), "m", TEXT),
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        script.answers["/v1/models"] = [http(b'{"object":"list","data":[{"id":"m","max_model_len":8000}]}')]
        script.answers[CHAT], script.answers[COMPLETIONS] = [CHATTED], [COMPLETED]
        yield script


def next_kept(engine: OpenaiEngine) -> KeptBlocks:
    poll = select.poll()
    assert engine.wake_fd is not None
    poll.register(engine.wake_fd, select.POLLIN)
    while not isinstance(said := engine.figures(), KeptBlocks):
        assert engine.due_in_s() == 0.0 or poll.poll(WAIT_MS), "nothing came within its deadline"
        engine.step()
    return said


@pytest.mark.parametrize("request_", REQUESTS, ids=["chat", "prompt"])
def test_tokens_are_asked_for_once_and_what_is_kept_is_told(
    server: ScriptedServer, tmp_path: Path, request_: ChatRequest | GenerateRequest
) -> None:
    publisher = Publisher(tmp_path)
    spec = spec_from_text(f"openai:{server.url},model=m")
    where = Server(spec.target, "", {}, "CPU", kv_addresses=publisher.addresses)
    engine = engine_of_server(spec, EngineId("e"), where, appear_s=0.0)
    try:
        publisher.publish(stored(TOKENS, (1, 2)), reaches=False)
        publisher.send_again()
        assert next_kept(engine) == KeptBlocks(is_first=True)
        for _ in range(2):
            replies_to(engine, [request_])
        hashes = TextSizing().prefix(request_).hashes
        assert set(next_kept(engine).stored) == set(hashes)
        bodies = [json.loads(heard.partition(b"\r\n\r\n")[2]) for heard in server.heard if heard.startswith(b"POST")]
        assert [body.get("return_token_ids") for body in bodies] == [True, None]
    finally:
        engine.close()
        publisher.close()


def test_tokens_are_not_asked_for_where_an_event_may_not_hold_them() -> None:
    wide, narrow = (ModelCard("m", (Kind.GENERATE,), tokens) for tokens in (1_000_000, 131_072))
    short, long = (GenerateRequest(RequestId("r"), "m", "x" * length) for length in (1_000, 200_000))
    assert has_room_for_tokens(short, wide)
    assert not has_room_for_tokens(long, wide)
    assert has_room_for_tokens(long, narrow), "it is refused if it does not fit the context"
