"""An engine that embeds, and scores by its vectors: how near each text's is to the query's. Knows no model."""

from collections.abc import Sequence

import msgspec

from cluster.serving.cosines import scores_from, texts_with_query
from cluster.serving.engines.checks import check_texts, failed, served_card
from cluster.serving.engines.figures import Said
from cluster.serving.engines.port import Engine, EngineInfo
from sage.base.errors import SageError
from sage.base.ids import RequestId
from sage.base.inference import Kind, Reply, Request, ScoreRequest, Token


class ScoringByVectors:
    """An Engine around one that embeds; `kinds` are what its model is asked for from outside."""

    def __init__(self, engine: Engine, kinds: tuple[Kind, ...]) -> None:
        self._engine = engine
        self.wake_fd = engine.wake_fd
        self.tokenizer = engine.tokenizer
        info = engine.info()
        models = tuple(msgspec.structs.replace(card, kinds=kinds) for card in info.models)
        self._info = msgspec.structs.replace(info, models=models)
        self._scores: set[RequestId] = set()
        self._refused: list[Reply] = []

    def info(self) -> EngineInfo:
        return self._info

    def add(self, requests: Sequence[Request]) -> None:
        taken: list[Request] = []
        for request in requests:
            try:
                taken.append(self._taken(request))
            except SageError as error:
                self._refused.append(failed(request.id, error))
        if taken:
            self._engine.add(taken)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self._engine.cancel(request_ids)

    def step(self) -> list[Reply]:
        refused, self._refused = self._refused, []
        return [*refused, *(self._replied(reply) for reply in self._engine.step())]

    def has_work(self) -> bool:
        return bool(self._refused) or self._engine.has_work()

    def due_in_s(self) -> float | None:
        return 0.0 if self._refused else self._engine.due_in_s()

    def figures(self) -> Said | None:
        return self._engine.figures()

    def close(self) -> None:
        self._scores.clear()
        self._refused.clear()
        self._engine.close()

    def _taken(self, request: Request) -> Request:
        served_card(request, self._info)
        if not isinstance(request, ScoreRequest):
            return request
        check_texts(request)
        self._scores.add(request.id)
        return texts_with_query(request)

    def _replied(self, reply: Reply) -> Reply:
        if isinstance(reply, Token) or reply.request_id not in self._scores:
            return reply
        self._scores.remove(reply.request_id)
        return scores_from(reply)
