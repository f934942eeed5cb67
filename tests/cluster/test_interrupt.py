"""Ctrl-C in a process that runs a flow: it ends soon, whatever the flow is doing, and says what goes on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
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


ASKING = """
import sage
flow = sage.Flow("asking")
flow.from_collection(range(10)).generate(
    model="sim", prompt="{}", max_tokens=100_000, on_token=lambda record, text: print("working", flush=True)
).collect()
flow.run(progress=False)
"""


@pytest.mark.cluster
def test_ctrl_c_in_the_terminal_ends_the_engines_too(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the whole process group, engine hosts included."""
    table = '[[engine]]\nname = "sim"\nkind = "simulated"\ntarget = "h100"\nmodel = "sim"\n'
    (tmp_path / "sage.toml").write_text(table, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MARK_OF_THIS_TEST": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", ASKING],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "working\n"
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    assert [left for left in psutil.process_iter() if is_marked(left, str(tmp_path))] == []


def is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get("MARK_OF_THIS_TEST") == mark
    except psutil.Error:
        return False
