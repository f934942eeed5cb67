"""Ctrl-C in a process that runs a flow: it ends soon, whatever the flow is doing, and says what goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEADLINE_S = 30.0

PROGRAM = """
import sys, threading
import sage

shown = []

def show(record):
    if not shown:
        shown.append(record)
        print("working", flush=True)
    {block}
    return record

class Endless:
    def open(self):
        return self
    def read(self, max_records):
        return list(range(max_records))
    def close(self):
        print("closed", flush=True)

async def wait(record):
    import asyncio
    show(record)
    await asyncio.Event().wait()

flow = sage.Flow("interrupted")
numbers = flow.from_source(Endless())
{steps}
flow.run(progress=False)
"""


def interrupted(steps: str, block: str = "pass") -> subprocess.CompletedProcess[str]:
    """Run the program, interrupt it once it works, and return how it ended."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", PROGRAM.format(steps=steps, block=block)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=DEADLINE_S)
    return subprocess.CompletedProcess(command, process.returncode, out, error)


@pytest.mark.cluster
@pytest.mark.parametrize(
    "steps",
    [
        "numbers.map(show).for_each(lambda _: None)",
        "numbers.map(show).key_by(lambda n: n % 7).count().with_parallelism(2).for_each(lambda _: None)",
        "numbers.map(show).union(numbers.filter(bool)).for_each(lambda _: None)",
    ],
    ids=["line", "keyed", "diamond"],
)
def test_ctrl_c_ends_the_process_and_closes_its_sources(steps: str) -> None:
    ended = interrupted(steps)
    assert ended.returncode == -signal.SIGINT
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "closed\n" in ended.stdout


@pytest.mark.cluster
def test_ctrl_c_names_a_function_that_blocks_and_the_process_ends_all_the_same() -> None:
    ended = interrupted("numbers.map(show).for_each(print)", block="threading.Event().wait()")
    assert ended.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in ended.stderr
    assert "show (<string>:" in ended.stderr
