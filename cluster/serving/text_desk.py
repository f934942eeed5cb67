"""Where requests to embed and to score come past before the plane: cached and shared texts are answered here.

A model that embeds scores too: by the cosine of the vectors of query and text. All other requests go straight on. Used
on the thread of the plane's shell, in front of it. Decides nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from cluster.serving.cosines import scores_from, texts_with_query
from cluster.serving.shared_texts import SharedTexts, TextOrders
from cluster.serving.shell import PlaneShell
from cluster.serving.statistics import PlaneView
from cluster.serving.vector_cache import VectorCache
from sage.base.clock import Clock, SystemClock
from sage.base.ids import RequestId
from sage.base.inference import (
    MAX_EMBED_TEXTS,
    MAX_SCORE_TEXTS,
    EmbedRequest,
    Kind,
    Last,
    ModelCard,
    Reply,
    ReplyTo,
    Request,
    ScoreRequest,
    TextsRequest,
    Token,
    kind_of,
)
from sage.base.log import get_log

VECTOR_CACHE_BYTES = 64 * 1024 * 1024


class TextDesk:
    """Stands before a shell; what it asks of the shell, under ids of its own, it hears itself."""

    def __init__(
        self, shell: PlaneShell, *, clock: Clock | None = None, vector_cache_bytes: int = VECTOR_CACHE_BYTES
    ) -> None:
        self._shell = shell
        self._clock: Clock = clock if clock is not None else SystemClock()
        self._texts = SharedTexts(VectorCache(vector_cache_bytes))
        self._askers: dict[RequestId, ReplyTo] = {}
        self._served: tuple[ModelCard, ...] = ()
        self._models: frozenset[str] = frozenset()
        self._cosines: set[RequestId] = set()  # asked for as vectors

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        """Take `requests`; see Inference.submit. `reply_to` is hashable."""
        self._look_at_models()
        others: list[Request] = []
        outcomes: list[TextOrders] = []
        refused: list[Reply] = []
        for request in requests:
            texts = self._texts_of(request)
            if texts is None:
                others.append(request)
            elif (refusal := self._texts.refusal(texts)) is not None:
                refused.append(refusal)
            else:
                self._askers[request.id] = reply_to
                if kind_of(texts) is not kind_of(request):
                    self._cosines.add(request.id)
                outcomes.append(self._texts.submitted(texts, self._clock.monotonic_s()))
        if refused:
            _give(reply_to, refused)
        self._obey(outcomes)
        if others:
            self._shell.submit(others, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        others: list[RequestId] = []
        outcomes: list[TextOrders] = []
        for request_id in request_ids:
            outcome = self._texts.cancelled(request_id)
            if outcome is None:
                others.append(request_id)
            else:
                outcomes.append(outcome)
        self._obey(outcomes)
        if others:
            self._shell.cancel(others)

    def view(self) -> PlaneView:
        """Return the plane's numbers, with those of the texts."""
        return replace(self._shell.view(), texts=self._texts.view(), vector_cache_bytes=self._texts.cache.num_bytes)

    def _look_at_models(self) -> None:
        models = self._shell.models()
        if models is not self._served:
            self._served = models
            self._models = frozenset(card.name for card in models if Kind.EMBED in card.kinds)
            self._texts.forget()

    def _texts_of(self, request: Request) -> TextsRequest | None:
        """Return what is asked about texts; None where the plane has to do with it, as it has with all it refuses."""
        match request:
            case EmbedRequest(model=model, texts=texts):
                return request if model in self._models and 1 <= len(texts) <= MAX_EMBED_TEXTS else None
            case ScoreRequest(model=model, texts=texts) if 1 <= len(texts) <= MAX_SCORE_TEXTS:
                return texts_with_query(request) if model in self._models else request
            case _:
                return None

    def _heard(self, replies: Sequence[Reply]) -> None:
        now_s = self._clock.monotonic_s()
        self._obey([self._texts.ended(reply, now_s) for reply in replies if not isinstance(reply, Token)])

    def _obey(self, outcomes: Sequence[TextOrders]) -> None:
        """Ask for all that is new at once, so that it can go to an engine together."""
        self._answer(last for outcome in outcomes for last in outcome.ended)
        cancels = [request_id for outcome in outcomes for request_id in outcome.cancels]
        if cancels:
            self._shell.cancel(cancels)
        asks = [request for outcome in outcomes for request in outcome.asks]
        if asks:
            self._shell.submit(asks, self._heard)

    def _answer(self, ended: Iterable[Last]) -> None:
        by_asker: dict[ReplyTo, list[Reply]] = {}
        for last in ended:
            if last.request_id in self._cosines:
                self._cosines.remove(last.request_id)
                last = scores_from(last)
            by_asker.setdefault(self._askers.pop(last.request_id), []).append(last)
        for reply_to, replies in by_asker.items():
            _give(reply_to, replies)


def _give(reply_to: ReplyTo, replies: Sequence[Reply]) -> None:
    try:
        reply_to(replies)
    except Exception:  # noqa: BLE001  # whoever asked is at fault; the others' requests go on
        ids = [reply.request_id for reply in replies]
        get_log().exception("replies refused by whoever asked", request_ids=ids)
