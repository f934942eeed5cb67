"""Whether a question about a tokenizer may be asked, and if not, why. Knows no queue: questions go past it."""

from collections.abc import Sequence

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

    def refusal(self, question: TokenizerQuestion, now_s: float, *, asking: Sequence[str] | None) -> SageError | None:
        """Return why a question cannot be asked now; else its tenant is charged.

        `asking`: the tenants of those that the engine it would go to has not answered yet, one a question; None: none
        that is up has its model. A tenant has no more of them than places are left: one alone half, the next half of
        the rest, so that whoever comes finds one (dynamic thresholds: Choudhury and Hahne, 1998).
        """
        if asking is None:
            return self._offer.absent(question.model)
        tenant, num_left = question.tenant, MAX_OPEN_QUESTIONS - len(asking)
        if num_left <= 0:
            return _overloaded(f"{len(asking)} questions about its tokenizer are open already at the engine")
        if (num_own := asking.count(tenant)) >= num_left:
            return _overloaded(f"{num_own} questions of tenant {tenant!r} about its tokenizer are open at the engine")
        return self._quotas.let_ask(tenant, now_s)


def _overloaded(what: str) -> Overloaded:
    return Overloaded(f"{what}, as many as may", f"Try again in {RETRY_S:g} s.", retry_after_s=RETRY_S)
