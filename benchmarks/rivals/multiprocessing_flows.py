"""Records from one process to another by what Python brings itself. Imports nothing of SAGE."""

import multiprocessing
from collections.abc import Callable
from time import perf_counter
from typing import Any

from benchmarks.pace import SteadyPace
from benchmarks.rivals.across_processes import form_across
from benchmarks.rivals.rival_wanted import NUM_AHEAD, NUM_WARM_UP, Form, RivalWanted
from benchmarks.wire_fields import PlainEvent, Tally, records_with
from benchmarks.wire_wanted import WireWorkload

_WAIT_S = 120.0
_fork = multiprocessing.get_context("fork")


def prepare(asked: RivalWanted) -> Callable[[], Form] | None:
    """Return what makes a run ready; None where the workload is not known here."""
    return form_across(asked, _wire, _latency)


def _wire(asked: RivalWanted, workload: WireWorkload) -> Form:
    """A queue with room for NUM_AHEAD batches. An empty batch ends a run, None the far process."""
    records = records_with(PlainEvent, workload, asked.batch_records)
    batches, answers = _fork.Queue(NUM_AHEAD), _fork.Queue()
    far = _fork.Process(target=_take_all, args=(batches, answers, records), daemon=True)
    far.start()
    found: list[Any] = []

    def send(num_batches: int) -> Any:
        for _ in range(num_batches):
            batches.put(records)
        batches.put([])
        return answers.get(timeout=_WAIT_S)

    def outcome() -> Any:
        batches.put(None)
        far.join(_WAIT_S)
        return found[-1]

    send(NUM_WARM_UP)
    return lambda: found.append(send((asked.num_records or 0) // asked.batch_records)), outcome


def _take_all(batches: Any, answers: Any, expected: list[Any]) -> None:
    tally = Tally(expected)
    while (batch := batches.get()) is not None:
        if batch:
            tally.take(batch)
        else:
            answers.put(tally.end())


def _latency(asked: RivalWanted) -> Form:
    """A pipe there, with numbered records, and one back with all ages."""
    num_records = (asked.num_records or 0) + 1  # the first of a run is left out
    (there, far_there), (far_back, back) = _fork.Pipe(), _fork.Pipe()
    far = _fork.Process(target=_age_all, args=(far_there, far_back, num_records), daemon=True)
    far.start()
    ages_s: list[float] = []

    def run() -> None:
        pace = SteadyPace(asked.every_s)
        for number in range(num_records):
            there.send((number, pace.wait()))
        if back.poll(_WAIT_S):
            ages_s.extend(back.recv())

    def outcome() -> list[float]:
        far.join(_WAIT_S)
        for end in (there, far_there, far_back, back):
            end.close()
        return ages_s

    return run, outcome


def _age_all(there: Any, back: Any, num_records: int) -> None:
    ages_s: list[float] = []
    for expected in range(num_records):
        number, given_s = there.recv()
        age_s = perf_counter() - given_s
        assert number == expected
        ages_s.append(age_s)
    back.send(ages_s)
