"""POST /v1/rerank and /v1/score: what is asked, and the bodies of the answers, as vLLM serves them. Knows no socket."""

import itertools
from dataclasses import dataclass
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Raw

from cluster.web.body import BodyLimits
from gateway.all_embedded import all_embedded
from gateway.bridge import Bridge
from gateway.errors import RequestRefused
from gateway.exchange import Exchange
from gateway.headers import CallHeaders
from gateway.ids import Ids
from gateway.schema import NONE, Name, decode_body, refuse_unhonoured
from sage.base.clock import Clock
from sage.base.inference import MAX_SCORE_TEXTS, ScoreRequest, ServiceClass

_encode = msgspec.json.Encoder().encode
_Query = Annotated[str, Meta(min_length=1)]


class DocumentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A document as Cohere has it too."""

    text: str


class RerankBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/rerank, as Jina, Cohere and vLLM have it.

    `top_n`: only so many, the best; all where it is 0, as vLLM has it.
    """

    model: Name
    query: _Query
    documents: Annotated[list[str | DocumentBody], Meta(min_length=1, max_length=MAX_SCORE_TEXTS)]
    top_n: Annotated[int, Meta(ge=0)] | None = None
    return_documents: bool | None = None
    user: str | None = None
    truncate_prompt_tokens: Raw = NONE
    additional_data: Raw = NONE
    priority: Raw = NONE
    max_chunks_per_doc: Raw = NONE
    max_tokens_per_doc: Raw = NONE
    rank_fields: Raw = NONE


_Texts = str | Annotated[list[str], Meta(min_length=1, max_length=MAX_SCORE_TEXTS)]


class ScoreBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """POST /v1/score, as vLLM has it: one text with each of several, or as many with as many."""

    model: Name
    text_1: _Texts
    text_2: _Texts
    user: str | None = None
    encoding_format: Raw = NONE
    truncate_prompt_tokens: Raw = NONE
    additional_data: Raw = NONE
    priority: Raw = NONE


def pairs_of(body: ScoreBody) -> list[tuple[str, str]]:
    """Return the pairs to score, in order; raises RequestRefused."""
    firsts = [body.text_1] if isinstance(body.text_1, str) else body.text_1
    seconds = [body.text_2] if isinstance(body.text_2, str) else body.text_2
    if len(firsts) == 1:
        firsts = firsts * len(seconds)
    if len(firsts) != len(seconds):
        what = f"'text_1' holds {len(firsts)} texts and 'text_2' {len(seconds)}; give one, or as many."
        raise RequestRefused(what, param="text_2")
    for position, first in enumerate(firsts):
        if not first:
            raise RequestRefused(f"'text_1' is empty at {position}; there is nothing to compare with.", param="text_1")
    return list(zip(firsts, seconds, strict=True))


def score_requests(model: str, pairs: list[tuple[str, str]], call: CallHeaders, ids: Ids) -> tuple[ScoreRequest, ...]:
    """Return a request for each run of pairs of one query, in order."""
    list_id = ids.next()
    return tuple(
        ScoreRequest(
            ids.next(),
            model,
            query,
            tuple(text for _, text in run),
            call.service_class or ServiceClass.INTERACTIVE,
            tenant=call.tenant,
            timeout_s=call.timeout_s,
            part_of=list_id,
        )
        for query, run in itertools.groupby(pairs, key=lambda pair: pair[0])
    )


@dataclass(frozen=True, slots=True)
class _Scored:
    scores: list[float]
    num_tokens: int

    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.num_tokens, "total_tokens": self.num_tokens}


async def _scored(bridge: Bridge, exchange: Exchange, requests: tuple[ScoreRequest, ...]) -> _Scored:
    """Ask, wait and return the scores of all; raises the SageError that one failed with."""
    parts = await all_embedded(bridge, exchange, requests)
    scores: list[float] = np.concatenate([np.frombuffer(part.vectors, "<f4") for part in parts]).tolist()
    return _Scored(scores, sum(part.usage.prompt_tokens for part in parts))


@dataclass(frozen=True, slots=True)
class RerankRoute:
    """POST /v1/rerank: documents by how well they answer the query, the best first."""

    bridge: Bridge
    ids: Ids
    limits: BodyLimits
    decoder: msgspec.json.Decoder[RerankBody]

    async def __call__(self, exchange: Exchange) -> None:
        body = decode_body(self.decoder, await exchange.body(self.limits))
        refuse_unhonoured(body)
        texts = [document if isinstance(document, str) else document.text for document in body.documents]
        requests = score_requests(body.model, [(body.query, text) for text in texts], exchange.call, self.ids)
        scored = await _scored(self.bridge, exchange, requests)
        order = sorted(range(len(texts)), key=lambda index: -scored.scores[index])[: body.top_n or None]
        with_texts = body.return_documents is not False
        results = [
            {"index": at, "relevance_score": scored.scores[at]}
            | ({"document": {"text": texts[at]}} if with_texts else {})
            for at in order
        ]
        answer = {"id": f"rerank-{requests[0].id}", "model": body.model, "usage": scored.usage(), "results": results}
        await exchange.answer(_encode(answer))


@dataclass(frozen=True, slots=True)
class ScoreRoute:
    """POST /v1/score: a score a pair, in order."""

    bridge: Bridge
    clock: Clock
    ids: Ids
    limits: BodyLimits
    decoder: msgspec.json.Decoder[ScoreBody]

    async def __call__(self, exchange: Exchange) -> None:
        body = decode_body(self.decoder, await exchange.body(self.limits))
        refuse_unhonoured(body)
        requests = score_requests(body.model, pairs_of(body), exchange.call, self.ids)
        scored = await _scored(self.bridge, exchange, requests)
        data = [{"index": at, "object": "score", "score": score} for at, score in enumerate(scored.scores)]
        answer = {
            "id": f"score-{requests[0].id}",
            "object": "list",
            "created": int(self.clock.unix_s()),
            "model": body.model,
            "data": data,
            "usage": scored.usage(),
        }
        await exchange.answer(_encode(answer))
