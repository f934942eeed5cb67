"""Hurts real clusters and holds them to what they promise. Prints a table; exits 1 where a promise was broken.

    python -m tests.nemesis --kills 100 --pauses 50 --partitions 50 --seed 1 --json FILE

Nodes are killed, stopped for 10 s and brought back, and cut off from each other in network namespaces, while a job with
keyed exchanges appends to a ledger. Partitions take Linux that allows namespaces; elsewhere it says so and exits 2.
"""

import argparse
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from random import Random

from benchmarks.document import document_of, write
from sage.base.clock import SystemClock
from tests.cluster.private_world import enter, what_is_lacking
from tests.nemesis.house import LeftBehind, house
from tests.nemesis.injections import Episode, Plan, episodes
from tests.nemesis.report import Percentiles, broken_promises, rows_of, table
from tests.nemesis.strike import Outcome, Strike


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says; return the exit status."""
    options = _options(arguments)
    if options.partitions:
        if lacking := what_is_lacking():
            print(f"nemesis: no partitions: {lacking}", file=sys.stderr)
            return 2
        enter("tests.nemesis", arguments)
    plan = Plan(
        options.kills, options.pauses, options.partitions, options.clients, options.heads, pause_s=options.pause_s
    )
    rows: list[Percentiles] = []

    def results() -> list[Percentiles]:
        rows.extend(rows_of(strike_all(list(episodes(plan, Random(options.seed))), options.side_by_side)))
        return rows

    command = f"python -m tests.nemesis {' '.join(arguments)}"
    document = document_of(command, seed=options.seed, clock=SystemClock(), results=results)
    print(table(rows))
    if options.json:
        write(document, options.json)
    broken = broken_promises(rows)
    print("\n".join(broken) or "every promise was kept")
    return 1 if broken else 0


def strike_all(todo: Sequence[Episode], side_by_side: int) -> list[Outcome]:
    """Live through all episodes, so many clusters at a time; return what came of each injection."""
    with ThreadPoolExecutor(max_workers=side_by_side) as pool:
        futures = [pool.submit(_live, number, episode) for number, episode in enumerate(todo)]
        return [outcome for future in futures for outcome in future.result()]


def _live(number: int, episode: Episode) -> list[Outcome]:
    outcomes: list[Outcome] = []
    try:
        with house(episode.where, f"sw{number}") as hurt:
            for count, injection in enumerate(episode.injections):
                outcome = Strike(hurt, injection, count).run()
                outcomes.append(outcome)
                print(f"{number}.{count} {_shown(outcome)}", flush=True)
    except (AssertionError, LeftBehind) as fault:  # of the commands that start and stop it
        print(f"{number} {fault}", flush=True)
        outcomes.append(outcomes.pop() if outcomes else Outcome(episode.injections[0]))
        outcomes[-1].wrong.append(str(fault))
    return outcomes


def _shown(outcome: Outcome) -> str:
    times = (("lost", outcome.lost_s), ("resumed", outcome.resumed_s), ("back", outcome.back_s))
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in times if seconds is not None)
    return f"{outcome.injection.kind.value}: {shown}; {'; '.join(outcome.wrong) or 'well'}"


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.nemesis")
    for name, what in (
        ("kills", "SIGKILL of a node"),
        ("pauses", "SIGSTOP of a node, then SIGCONT"),
        ("partitions", "cut, mute, deaf, apart and flapping in turns"),
        ("clients", "SIGKILL of whoever submitted"),
        ("heads", "SIGKILL of the head"),
    ):
        parser.add_argument(f"--{name}", type=int, default=0, help=f"how often: {what}")
    parser.add_argument("--pause-s", type=float, default=10.0, help="how long a pause lasts")
    parser.add_argument("--side-by-side", type=int, default=1, help="clusters at a time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="where to write the document; -: standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
