"""From a query and documents to what is asked, and from scores to a ranking. Knows neither threads nor engines."""

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.local.inquiries import UNASKED, Inquiry, all_of
from cluster.local.terms import AskTerms, checked_count, checked_terms, checked_text
from sage.base.answers import RankedDocument, Ranking
from sage.base.errors import InternalError, InvalidRequest
from sage.base.inference import MAX_SCORE_TEXTS, Embedded, Last, ScoreRequest, ServiceClass, Usage
from sage.flow.models import AskOptions


@dataclass(frozen=True, slots=True)
class RankInquiry:
    """What is asked, and what of the answer is wanted."""

    inquiry: Inquiry
    documents: tuple[str, ...]
    k: int | None

    def ranking(self, lasts: Sequence[Last]) -> Ranking:
        """Return the documents, the best first; of equal ones the first given."""
        import numpy as np

        scores: list[float] = []
        parts = []
        for last in lasts:
            if not isinstance(last, Embedded):
                raise InternalError(f"a {type(last).__name__} came for a request to score")
            scores += np.frombuffer(last.vectors, "<f4").tolist()
            parts.append(last)
        results = [RankedDocument(at, score, self.documents[at]) for at, score in enumerate(scores)]
        results.sort(key=lambda ranked: ranked.score, reverse=True)
        usage = Usage(
            sum(part.usage.prompt_tokens for part in parts), 0, sum(part.usage.cached_tokens for part in parts)
        )
        served = tuple(dict.fromkeys(part.served for part in parts if part.served))
        return Ranking(tuple(results[: self.k]), usage, served)


def rank_inquiry(query: str, documents: Sequence[str], model: str, k: int | None, options: AskOptions) -> RankInquiry:
    """Return what asks for the score of each document; a long list becomes several requests. Raises InvalidRequest."""
    terms = checked_terms(options, AskTerms)
    num = None if k is None else checked_count(k, "k")
    if isinstance(documents, str):
        raise InvalidRequest("documents is one text, and is to be several", 'Write ["..."].', param="documents")
    given = all_of(documents, "documents", "several texts")
    texts = tuple(checked_text(text, f"documents[{position}]") for position, text in enumerate(given))
    if not texts:
        raise InvalidRequest("there is no document to rank", param="documents")
    service_class = terms.priority or ServiceClass.INTERACTIVE
    asked, name = checked_text(query, "query"), checked_text(model, "model")
    parts = (texts[start : start + MAX_SCORE_TEXTS] for start in range(0, len(texts), MAX_SCORE_TEXTS))
    requests = tuple(ScoreRequest(UNASKED, name, asked, part, service_class, terms.tenant) for part in parts)
    return RankInquiry(Inquiry(requests, terms.deadline_s, terms.retries), texts, num)
