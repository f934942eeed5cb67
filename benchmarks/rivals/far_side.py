"""The process of a rival: runs one workload as often as it is told, by the rival's own clock. Imports nothing of SAGE.

A line on standard input is a turn. A line of JSON on standard output is an answer: first whether the workload is known
here, then for each turn seconds and outcome, as Python would write it.
"""

import gc
import json
import os
import sys
from importlib import import_module
from time import perf_counter

from benchmarks.rivals.rival_wanted import RivalWanted


def main(asked: RivalWanted) -> None:
    """Take turns until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the rival prints is no answer, and comes before what it dies of
    sys.stdout = os.fdopen(os.dup(2), "w", buffering=1)
    flows = import_module(f"benchmarks.rivals.{asked.engine}_flows")
    prepare = flows.prepare(asked)
    answers.write(json.dumps({"is_known": prepare is not None}) + "\n")
    if prepare is None:
        return
    for _ in sys.stdin:
        run, outcome = prepare()
        gc.collect()
        began_s = perf_counter()
        run()
        took_s = perf_counter() - began_s
        answers.write(json.dumps({"seconds": took_s, "outcome": repr(outcome())}) + "\n")


if __name__ == "__main__":
    main(RivalWanted.from_json(sys.argv[1]))
