"""`sage-benchmark stream --workload start`: how soon a new process has a first result, and how much memory it takes.

Each process is new: its time begins before Python does. Knows no other workload.
"""

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import sage
from benchmarks.document import Result
from benchmarks.rivals.environment import LeftOut, Say, python_of
from sage.base.clock import Clock
from sage.base.errors import InternalError

NUM_RECORDS = 1_000
_TIMEOUT_S = 60.0

_TELL = """
import os
told = []
def tell(number):
    told.append(number)
    if len(told) == 1:
        os.write(1, b"first\\n")
"""

_MEMORY = """
import resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
if os.path.exists("/proc/self/status"):  # there it is not inherited from who started this process
    peak = next(1024 * int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
os.write(1, f"{len(told)} {sum(told)} {peak}\\n".encode())
"""

_FLOWS = {
    "sage": """
import sage
flow = sage.Flow("start")
flow.from_collection(range(NUM)).map(lambda number: number + 1).for_each(tell)
flow.run(progress=False)
""",
    "python": """
for number in range(NUM):
    tell(number + 1)
""",
    "bytewax": """
import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.testing import TestingSink, TestingSource, run_main
flow = Dataflow("start")
stream = op.map("grow", op.input("records", flow, TestingSource(range(NUM))), lambda number: number + 1)
op.output("end", op.inspect("tell", stream, lambda step, number: tell(number)), TestingSink([]))
run_main(flow)
""",
    "pathway": """
import pathway
class Row(pathway.Schema):
    number: int
class Rows(pathway.io.python.ConnectorSubject):
    def run(self):
        for number in range(NUM):
            self.next(number=number)
grown = pathway.io.python.read(Rows(), schema=Row).select(number=pathway.this.number + 1)
pathway.io.subscribe(grown, lambda key, row, time, is_addition: tell(row["number"]))
pathway.run(monitoring_level=pathway.MonitoringLevel.NONE)
""",
}


class StartResult(Result, frozen=True, kw_only=True):
    """From a process's start to the first of its `n` results, the median and the least of the rounds; `memory_bytes` is
    the most that was resident, the median. `python` is a bare interpreter."""

    seconds_to_first_result: float
    seconds_min: float
    memory_bytes: int
    num_rounds: int


def measure_start(engines: Sequence[str], *, num_rounds: int, clock: Clock, say: Say) -> list[StartResult]:
    """Start a process of each engine in turns; an engine that cannot is left out, and `say` is told why.

    Raises InternalError where a flow comes to a wrong result.
    """
    pythons: dict[str, Path] = {}
    for engine in engines:
        found = _python(engine, say)
        if isinstance(found, LeftOut):
            say(f"{engine} is left out of start: {found.why}")
        else:
            pythons[engine] = found
    runs: dict[str, list[tuple[float, int]]] = {engine: [] for engine in pythons}
    for number in range(num_rounds):
        for engine in list(pythons) if number % 2 == 0 else reversed(list(pythons)):
            runs[engine].append(_started(engine, pythons[engine], clock))
    return [_result(engine, found) for engine, found in runs.items()]


def _python(engine: str, say: Say) -> Path | LeftOut:
    if engine not in _FLOWS:
        return LeftOut("it is not written for it here")
    return Path(sys.executable) if engine in ("sage", "python") else python_of(engine, say)


def _started(engine: str, python: Path, clock: Clock) -> tuple[float, int]:
    """Return the seconds to the first result of a new process, and its peak of memory."""
    script = f"NUM = {NUM_RECORDS}\n" + _TELL + _FLOWS[engine] + _MEMORY
    ours = {"PYTHONPATH": str(Path(sage.__file__).parents[1])} if engine == "sage" else {}
    began_s = clock.monotonic_s()
    command = [str(python), "-c", script]
    environment = {**os.environ, **ours}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env=environment
    ) as process:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], _TIMEOUT_S)[0]:
            process.kill()
        first = process.stdout.readline()
        took_s = clock.monotonic_s() - began_s
        try:
            rest, _ = process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            rest, _ = process.communicate(timeout=_TIMEOUT_S)
    words = rest.split()
    expected = [b"%d" % NUM_RECORDS, b"%d" % (NUM_RECORDS * (NUM_RECORDS + 1) // 2)]
    if first != b"first\n" or words[:2] != expected:
        raise InternalError(f"start on {engine} came to a wrong result", "Please report it.")
    return took_s, int(words[2])


def _result(engine: str, runs: Sequence[tuple[float, int]]) -> StartResult:
    return StartResult(
        engine=engine,
        workload="start",
        n=NUM_RECORDS,
        checked=True,
        simulated=False,
        seconds_to_first_result=round(median(took_s for took_s, _ in runs), 4),
        seconds_min=round(min(took_s for took_s, _ in runs), 4),
        memory_bytes=int(median(peak for _, peak in runs)),
        num_rounds=len(runs),
    )
