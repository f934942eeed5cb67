"""The ledger of whole clusters notices: one promise broken on purpose at a time, and what is said of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import pytest

from cluster.head.members import ClusterMembers
from cluster.jobs.health import HealthWatch
from cluster.jobs.lease import Lease
from cluster.runtime.credit import ReceiverCredit
from cluster.runtime.inputs import Inputs
from cluster.runtime.links import Delivery
from sage.base.ids import JobId, NodeId
from tests.simulation.cluster_story import ClusterStory
from tests.simulation.vault import Vault, VaultSink, Writer

_SEEDS = range(60)

OLD, NEW = (Writer(JobId("job"), run, NodeId("node")) for run in (1, 2))


def written(vault: Vault, who: Writer, records: Sequence[int] = (1,)) -> Vault:
    """Open a sink, write to it and commit; return the vault."""
    writer = VaultSink(vault, 0, who).open()
    if records:
        writer.write(records)
    writer.close(complete=True)
    return vault


def is_said(what: str, seeds: range = _SEEDS) -> bool:
    """Say whether one of the stories complains of this."""
    for seed in seeds:
        try:
            ClusterStory(seed).run()
        except AssertionError as error:
            if what in str(error):
                return True
    return False


def test_a_node_that_works_on_without_its_lease_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lease, "left_s", lambda self: 1.0)
    assert is_said("may work for")


def test_a_lost_node_that_is_counted_on_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HealthWatch, "_lost_after_s", lambda self, node: 30.0)
    assert is_said("the head counts on it")


def test_an_epoch_that_is_given_twice_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    admit = ClusterMembers.admit

    def admit_in_one_epoch(members: ClusterMembers, *arguments: object) -> object:
        members._next_epoch = 7
        return admit(members, *arguments)  # type: ignore[arg-type] # as it was called

    monkeypatch.setattr(ClusterMembers, "admit", admit_in_one_epoch)
    assert is_said("is in epoch 7")


def dropping(every: int, add: Callable[[Inputs, Delivery], None]) -> Callable[[Inputs, Delivery], None]:
    """Return `add` without a record of every so manyeth batch."""
    count = iter(range(1_000_000))

    def add_most(inputs: Inputs, delivery: Delivery) -> None:
        batch = delivery.batch
        if next(count) % every == every - 1 and batch.keys is None:
            delivery = replace(delivery, batch=msgspec.structs.replace(batch, values=batch.values[1:]))
        add(inputs, delivery)

    return add_most


def test_a_record_that_is_lost_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Inputs, "add", dropping(20, Inputs.add))
    assert is_said("instead of")


def test_credit_that_is_never_given_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ReceiverCredit, "processed", lambda self: 0)
    assert is_said("it has not come to the end of every job", range(5))


@pytest.mark.parametrize(
    ("done", "what"),
    [
        (lambda vault: vault.check(OLD, "wrote"), ["wrote though run 2 had begun"]),
        (lambda vault: written(vault, OLD, []), ["committed sink 0 though run 2 had begun"]),
        (lambda vault: (written(vault, NEW), written(vault, NEW)), ["committed sink 0 twice"]),
        (lambda vault: (written(vault, NEW, []), written(vault, NEW, [])), ["committed sink 0 twice"]),
        (lambda vault: written(vault, NEW), []),
    ],
)
def test_what_a_run_does_whose_work_was_given_away_is_stale(
    done: Callable[[Vault], object], what: Sequence[str]
) -> None:
    vault = Vault()
    vault.deployed(OLD)
    vault.deployed(NEW)
    done(vault)
    assert len(vault.wrong) == len(what)
    assert all(expected in said for expected, said in zip(what, vault.wrong, strict=True))


def test_instances_of_a_sink_that_are_open_beside_each_other_add_up() -> None:
    vault = Vault()
    one, other = (VaultSink(vault, 0, NEW).open() for _ in range(2))
    for writer, records in ((one, [1]), (other, [2])):
        writer.write(records)
        writer.close(complete=True)
    assert (vault.wrong, vault.committed(NEW.job_id, 0)) == ([], (2, [1, 2]))
    one.close(complete=True)
    assert "committed sink 0 twice" in vault.wrong[0]
