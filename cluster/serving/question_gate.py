"""Whether a question about a tokenizer may be asked, and if not, why. Knows no queue: questions go past it."""

from cluster.serving.admission import Offer
from cluster.serving.quota import Quotas
from sage.base.errors import Overloaded, SageError
from sage.base.tokenizing import MAX_OPEN_QUESTIONS, TokenizerQuestion

RETRY_S = 1.0  # a question takes milliseconds, or what an iteration of its engine takes


class QuestionGate:
    """Reads what is offered and charges tenants; a question counts as one request and no tokens."""

    def __init__(self, offer: Offer, quotas: Quotas) -> None:
        self._offer = offer
        self._quotas = quotas

    def refusal(self, question: TokenizerQuestion, now_s: float, *, num_open: int | None) -> SageError | None:
        """Return why a question cannot be asked now; else its tenant is charged.

        `num_open`: those that the engine it would go to has not answered yet; None: none that is up has its model.
        """
        if num_open is None:
            return self._offer.absent(question.model)
        if num_open >= MAX_OPEN_QUESTIONS:
            what = f"{num_open} questions about its tokenizer are open already at the engine, as many as may"
            return Overloaded(what, f"Try again in {RETRY_S:g} s.", retry_after_s=RETRY_S)
        return self._quotas.let_ask(question.tenant, now_s)
