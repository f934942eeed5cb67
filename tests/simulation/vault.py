"""What lies outside of all machines: what sinks have written and committed there, and which run did. Knows no flow."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sage.base.ids import JobId, NodeId
from tests.unit.two_phases import Part


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: one load of a flow's code, by one node, for one run of a job."""

    job_id: JobId
    run: int
    node: NodeId


@dataclass(slots=True)
class Vault:
    """`wrong`: what was done by a run whose work had been given away."""

    wrong: list[str] = field(default_factory=list)
    _newest: dict[JobId, int] = field(default_factory=dict)
    _committed: dict[tuple[JobId, int], tuple[int, list[int]]] = field(default_factory=dict)
    _parts: dict[tuple[JobId, int, str], dict[int, list[int]]] = field(default_factory=dict)
    _num_writings: int = 0

    def deployed(self, who: Writer) -> None:
        """A node was given a part of a run: what older ones still do is stale."""
        newest = self._newest.get(who.job_id, 0)
        if who.run > newest:
            self._newest[who.job_id] = who.run

    def check(self, who: Writer, what: str) -> None:
        newest = self._newest.get(who.job_id, 0)
        if who.run < newest:
            self.wrong.append(f"{who} {what} though run {newest} had begun")

    def commit(self, who: Writer, number: int, records: Sequence[int], *, is_late: bool) -> None:
        """Take what one instance of a sink has written; those of one run add up.

        `is_late`: it was opened after another of its run had committed. All tasks of a run open before any begins, so
        that was not an instance beside it but the same work done again.
        """
        self.check(who, f"committed sink {number}")
        run, before = self._committed.get((who.job_id, number), (-1, []))
        if is_late:
            self.wrong.append(f"{who} committed sink {number} twice: {before} and {records}")
        self._committed[who.job_id, number] = (who.run, [*(before if run == who.run else ()), *records])

    def begin(self) -> str:
        """Return the name of a new writing of two phases."""
        self._num_writings += 1
        return str(self._num_writings)

    def commit_parts(self, who: Writer, number: int, writing: str, parts: Sequence[Part]) -> None:
        """Take those parts of a writing, in order, that are not there; those that are must be as they were."""
        self.check(who, f"committed sink {number}")
        shown = self._parts.setdefault((who.job_id, number, writing), {})
        for place, records in parts:
            if shown.setdefault(place, list(records)) != list(records):
                self.wrong.append(f"{who} committed part {place} of {number} anew: {shown[place]} and {records}")
        of_sink = [part for key, part in self._parts.items() if key[:2] == (who.job_id, number)]
        self._committed[who.job_id, number] = (
            who.run,
            [record for part in of_sink for at in part for record in part[at]],
        )

    def has_committed(self, who: Writer, number: int) -> bool:
        """Say whether an instance of this sink has committed in this run."""
        return self.committed(who.job_id, number)[0] == who.run

    def committed(self, job_id: JobId, number: int) -> tuple[int, list[int]]:
        """Return which run committed last, and what; -1 and nothing where none has."""
        return self._committed.get((job_id, number), (-1, []))


@dataclass(frozen=True, slots=True)
class VaultSink:
    """A sink whose records show as a whole, when it is closed complete. `who` None: where the flow is but described."""

    vault: Vault
    number: int
    who: Writer | None

    def open(self) -> "VaultWriter":
        assert self.who is not None, "opened where the flow does not run"
        return VaultWriter(self.vault, self.number, self.who)


@dataclass(frozen=True, slots=True)
class VaultLedger:
    """One sink of two phases as a Ledger: what a checkpoint completed shows, part by part."""

    vault: Vault
    number: int
    who: Writer

    def begin(self) -> str:
        return self.vault.begin()

    def commit(self, writing: str, parts: Sequence[Part]) -> None:
        self.vault.commit_parts(self.who, self.number, writing, parts)


class VaultWriter:
    """Interrupted only where nothing has been checked yet: who checks its lease acts at once (see Lease)."""

    def __init__(self, vault: Vault, number: int, who: Writer) -> None:
        self._vault = vault
        self._number = number
        self._who = who
        self.is_late = vault.has_committed(who, number)
        self._records: list[int] = []

    def write(self, records: Sequence[int]) -> None:
        self._vault.check(self._who, f"wrote to sink {self._number}")
        self._records += records

    def close(self, *, complete: bool) -> None:
        if complete:
            self._vault.commit(self._who, self._number, self._records, is_late=self.is_late)
            self.is_late = True
