"""Things gathered for an actor: one notice however many came."""

from cluster.runtime.inflow import Inflow


def test_one_notice_is_given_until_the_items_are_taken() -> None:
    notices: list[str] = []
    inflow: Inflow[int] = Inflow(lambda: notices.append("!"))
    inflow.put([])
    inflow.put([1])
    inflow.put([2, 3])
    assert notices == ["!"]
    assert inflow.take() == [1, 2, 3]
    inflow.put([4])
    assert notices == ["!", "!"]
    assert inflow.take() == [4]
    assert inflow.take() == []
