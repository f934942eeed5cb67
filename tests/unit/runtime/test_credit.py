"""Credit on a link: bounded at both ends and never stuck."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.credit import ReceiverCredit, SenderCredit
from sage.base.errors import InternalError


@given(bound=st.integers(1, 20), moves=st.lists(st.sampled_from(["send", "process"]), max_size=300))
def test_what_is_under_way_never_exceeds_the_bound_and_credit_always_comes_back(bound: int, moves: list[str]) -> None:
    sender, receiver, waiting = SenderCredit(bound), ReceiverCredit(bound), 0
    for move in moves:
        if move == "send" and not sender.is_stalled():
            sender.spend()
            waiting += 1
        elif move == "process" and waiting:
            waiting -= 1
            if granted := receiver.processed():
                sender.grant(granted)
        assert 0 <= sender.left <= bound
        assert waiting <= bound - sender.left
        assert not (sender.is_stalled() and waiting == 0), "the sender waits and nothing is there to process"


def test_a_batch_without_credit_is_an_error_of_ours() -> None:
    sender = SenderCredit(1)
    sender.spend()
    with pytest.raises(InternalError, match="without credit"):
        sender.spend()


def test_credit_that_was_never_spent_cannot_be_granted() -> None:
    sender = SenderCredit(2)
    sender.spend()
    with pytest.raises(InternalError, match="granted"):
        sender.grant(2)
