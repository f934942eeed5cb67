"""The hot routes: a body becomes requests, replies become an answer. Knows no socket and no engine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

import msgspec

from cluster.web.body import BodyLimits
from gateway.all_embedded import all_embedded
from gateway.answers import AnswerShape, ChatAnswer, CompletionAnswer, embeddings_body
from gateway.asks import chat_request, completion_request, embed_requests, wants_usage
from gateway.bridge import Bridge
from gateway.errors import RequestRefused
from gateway.exchange import Exchange
from gateway.generation import answer_events, answer_whole
from gateway.headers import CallHeaders
from gateway.ids import Ids
from gateway.schema import ChatBody, CompletionBody, EmbeddingsBody, decode_body
from gateway.scores import RerankBody, RerankRoute, ScoreBody, ScoreRoute
from gateway.tokenizing import DetokenizeBody, DetokenizeRoute, TokenizeBody, TokenizeRoute, Tokenizers
from sage.base.clock import Clock
from sage.base.ids import RequestId
from sage.base.inference import MAX_EMBED_TEXTS, ChatRequest, GenerateRequest

B = TypeVar("B", ChatBody, CompletionBody)
Route = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class GenerationRoute(Generic[B]):
    """POST /v1/chat/completions or /v1/completions, as `to_request` and `to_answer` say."""

    bridge: Bridge
    clock: Clock
    ids: Ids
    limits: BodyLimits
    decoder: msgspec.json.Decoder[B]
    to_request: Callable[[B, CallHeaders, RequestId], ChatRequest | GenerateRequest]
    to_answer: Callable[..., AnswerShape]

    async def __call__(self, exchange: Exchange) -> None:
        body = decode_body(self.decoder, await exchange.body(self.limits))
        request = self.to_request(body, exchange.call, self.ids.next())
        with_usage = wants_usage(body.stream_options)
        answer = self.to_answer(request.id, body.model, int(self.clock.unix_s()), with_usage=with_usage)
        with self.bridge.ask((request,)) as asking, exchange.watch(asking.abandon):
            if body.stream:
                await answer_events(exchange, asking, answer, with_usage=with_usage)
            else:
                await answer_whole(exchange, asking, answer)


@dataclass(frozen=True, slots=True)
class EmbeddingsRoute:
    """POST /v1/embeddings: a long list travels as several requests, so that it cannot hold up others for long."""

    bridge: Bridge
    ids: Ids
    limits: BodyLimits
    decoder: msgspec.json.Decoder[EmbeddingsBody]

    async def __call__(self, exchange: Exchange) -> None:
        body = decode_body(self.decoder, await exchange.body(self.limits))
        self._check_dimensions(body)
        num_requests = 1 if isinstance(body.input, str) else -(-len(body.input) // MAX_EMBED_TEXTS)
        ids = [self.ids.next() for _ in range(num_requests)]
        requests = embed_requests(body, exchange.call, ids)
        parts = await all_embedded(self.bridge, exchange, requests)
        await exchange.answer(embeddings_body(body.model, parts, as_base64=body.encoding_format == "base64"))

    def _check_dimensions(self, body: EmbeddingsBody) -> None:
        dims = [card.dim for card in self.bridge.inference.models() if card.name == body.model]
        if body.dimensions is not None and dims and body.dimensions != dims[0]:
            what = f"'dimensions' is {body.dimensions}, but vectors of {body.model} have {dims[0]} and cannot be cut."
            raise RequestRefused(what, param="dimensions", reason="unsupported_value")


def hot_routes(
    bridge: Bridge, clock: Clock, rng: Random, limits: BodyLimits, tokenizers: Tokenizers | None = None
) -> dict[str, Route]:
    """Return the hot routes by path; all of them are POST. Those about tokens, where there are `tokenizers`."""
    ids = Ids(rng)
    chat, completion = msgspec.json.Decoder(ChatBody), msgspec.json.Decoder(CompletionBody)
    of_tokens: dict[str, Route] = {}
    if tokenizers is not None:
        of_tokens["/tokenize"] = TokenizeRoute(tokenizers, ids, limits, msgspec.json.Decoder(TokenizeBody))
        of_tokens["/detokenize"] = DetokenizeRoute(tokenizers, ids, limits, msgspec.json.Decoder(DetokenizeBody))
    return of_tokens | {
        "/v1/chat/completions": GenerationRoute(bridge, clock, ids, limits, chat, chat_request, ChatAnswer),
        "/v1/completions": GenerationRoute(
            bridge, clock, ids, limits, completion, completion_request, CompletionAnswer
        ),
        "/v1/embeddings": EmbeddingsRoute(bridge, ids, limits, msgspec.json.Decoder(EmbeddingsBody)),
        "/v1/rerank": RerankRoute(bridge, ids, limits, msgspec.json.Decoder(RerankBody)),
        "/v1/score": ScoreRoute(bridge, clock, ids, limits, msgspec.json.Decoder(ScoreBody)),
    }
