"""What a request is told at the gate, by what is known of those before it."""

from cluster.serving.admission import Offer
from cluster.serving.gate import Gate
from cluster.serving.policy import policy_named
from cluster.serving.queue import WaitingQueue
from cluster.serving.quota import Quotas
from cluster.serving.route import Router
from cluster.serving.ticket import Ticket
from tests.unit.serving.arrange import chat, chat_engine, finished, waiting


def asked(num_characters: int) -> Ticket:
    """Return a request that is due sooner than any can begin."""
    return waiting(chat("c", num_characters=num_characters, max_tokens=None, timeout_s=0.1))


def lacks_s(gate: Gate, num_characters: int) -> float:
    """Return by how much a request is told it would be late."""
    error = gate.turned_away(asked(num_characters), 0.0)
    assert error is not None
    assert error.retry_after_s is not None
    return error.retry_after_s


def test_caution_counts_where_more_time_to_spare_is_not_asked_for_anyway() -> None:
    router, queue = Router(), WaitingQueue(policy_named("hybrid"))
    router.add(chat_engine()).latency.saw_first_token(500, 0, 1.0)
    gate = Gate(Offer(("chat",), router), queue, router, Quotas(), admission="deadline", max_waiting=10)
    for _ in range(50):
        for num_characters, answer_tokens in ((1_600, 800), (8_000, 10)):
            gate.turned_away(asked(num_characters), 0.0)
            gate.turned_away(let_in := asked(num_characters), 0.0)
            gate.let_in(let_in, 0.0)
            gate.ended(asked(num_characters), finished("c", completion_tokens=answer_tokens), 0.0)
    long_answer_s, short_answer_s = lacks_s(gate, 1_600), lacks_s(gate, 8_000)
    gate.forecast.caution = 2.0
    assert lacks_s(gate, 8_000) > 1.9 * short_answer_s
    assert lacks_s(gate, 1_600) < 1.1 * long_answer_s
