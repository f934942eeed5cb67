"""Judges a ledger: who wrote after its work was given away, and whether the run that won wrote all, each once. Pure.

Work is given away when the next run's source is opened: the line that says so stands before all that this run does.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from tests.nemesis.flow import Entry


@dataclass(frozen=True, slots=True)
class Verdict:
    """`stale`: what a run wrote after the next had begun; `wrong`: how the last run's records differ from what is due.

    `runs`: when each began (monotonic) and wrote first; None: never.
    """

    runs: tuple[tuple[float, float | None], ...]
    stale: tuple[str, ...]
    wrong: tuple[str, ...]


def read_ledger(lines: Iterable[bytes]) -> list[Entry]:
    """Return the entries; a last line that is still being written is left out."""
    return [msgspec.json.decode(line, type=Entry) for line in lines if line.endswith(b"\n")]


def judge(entries: Sequence[Entry], expected: Mapping[str, int], results: Sequence[Sequence[object]]) -> Verdict:
    """Judge a job that has ended. `expected`: the final count of each key; `results`: the file of final counts."""
    runs = [entry.run for entry in entries if entry.what == "began"]
    began = {entry.run: entry.at_s for entry in entries if entry.what == "began"}
    wrote: dict[str, float] = {}
    for entry in entries:
        if entry.what == "wrote":
            wrote.setdefault(entry.run, entry.at_s)
    wrong = _wrong(entries, runs[-1], expected, results) if runs else ["no run began"]
    return Verdict(tuple((began[run], wrote.get(run)) for run in runs), tuple(_stale(entries)), tuple(wrong))


def _stale(entries: Iterable[Entry]) -> Iterable[str]:
    newest = ""
    for entry in entries:
        if entry.what == "began":
            newest = entry.run
        elif entry.run != newest:
            yield f"{entry.node} (process {entry.pid}) wrote {entry.key}={entry.count} at {entry.at_s:.3f} s"


def _wrong(
    entries: Iterable[Entry], winner: str, expected: Mapping[str, int], results: Sequence[Sequence[object]]
) -> list[str]:
    came = Counter(f"{entry.key}={entry.count}" for entry in entries if entry.what == "wrote" and entry.run == winner)
    due = Counter(f"{key}={count}" for key, last in expected.items() for count in range(1, last + 1))
    file = Counter(f"{run}: {key}={count}" for run, key, count in results)
    file_due = Counter(f"{winner}: {key}={count}" for key, count in expected.items())
    return [
        *_differences("of the ledger", came, due),
        *_differences("of the file", file, file_due),
    ]


def _differences(where: str, came: "Counter[str]", due: "Counter[str]") -> Iterable[str]:
    for what, difference in (("missing", due - came), ("too many", came - due)):
        if difference:
            yield f"{where} {difference.total()} {what}: {sorted(difference)[:3]}"
