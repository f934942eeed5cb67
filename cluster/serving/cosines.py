"""How well texts answer a query, by a model that embeds: the cosines of their vectors. Knows no engine."""

from sage.base.inference import Embedded, EmbedRequest, Last, ScoreRequest


def texts_with_query(request: ScoreRequest) -> EmbedRequest:
    """Return what asks for the vectors that `request` compares: the query's, then the texts'."""
    return EmbedRequest(
        request.id,
        request.model,
        (request.query, *request.texts),
        request.service_class,
        request.tenant,
        request.timeout_s,
        request.origin,
    )


def scores_from(last: Last) -> Last:
    """Return the scores that the vectors of `texts_with_query` come to; what failed is as it was.

    A score is the cosine of two vectors of length 1, from -1 to 1.
    """
    if not isinstance(last, Embedded):
        return last
    import numpy as np  # whoever has vectors has it loaded

    vectors = np.frombuffer(last.vectors, "<f4").reshape(-1, last.dim)
    scores = np.clip(vectors[1:] @ vectors[0], -1.0, 1.0).astype("<f4")
    return Embedded(last.request_id, scores.tobytes(), 1, last.usage, last.engine_id, served=last.served)
