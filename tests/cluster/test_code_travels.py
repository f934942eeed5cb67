"""Code from the process of a user to that of a node: scripts, their guards, what lies beside them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.sources import ROOT

pytestmark = pytest.mark.cluster

SUBMIT = """
    import msgspec, os, sys
    from cluster.jobs.code import Shipper, code_of
    from cluster.runtime.signing import signing_key_from_secret
    from sage.base.clock import SystemClock
    code = code_of(flow.graph(), "job-1", Shipper(signing_key_from_secret(bytes(32)), SystemClock()))
    print(type(code).__name__)
    print(msgspec.msgpack.encode(code).hex())
"""
BEGIN = """
import dataclasses, msgspec, sage, beside

class Point(msgspec.Struct, frozen=True):
    x: int

@dataclasses.dataclass
class Line:
    points: list[Point]

def write_down(flow):
    return (flow.from_collection([1, 2]).map(beside.double).map(lambda x: Line([Point(x)]))
        .filter(lambda line: line.points != [Point(0)]).for_each(print))
"""
NODE = """
import msgspec, sys
from cluster.jobs.code import graph_from_code
from cluster.jobs.envelope import EnvelopeVerifier
from cluster.runtime.travelling_code import Code
from cluster.runtime.signing import signing_key_from_secret
from sage.base.clock import SystemClock
from sage.flow.run import run_graph
code = msgspec.msgpack.decode(bytes.fromhex(sys.stdin.read()), type=Code)
verifier = EnvelopeVerifier(lambda: {signing_key_from_secret(bytes(32)).public_key})
graph = graph_from_code(code, verifier, job_id="job-1", node="alder", at_unix_s=SystemClock().unix_s())
run_graph(graph, None, timeout_s=60, progress=False)
"""


def python(folder: Path, *arguments: str, given: str = "") -> str:
    """Return what a new interpreter prints."""
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environ, input=given, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("flow", "kind"),
    [
        ('flow = sage.Flow("f")\nwrite_down(flow)\n', "FileCode"),
        ('flow = sage.Flow("f")\nif __name__ == "__main__":\n    write_down(flow)\n', "ShippedCode"),
    ],
)
def test_a_script_runs_elsewhere_with_its_classes_and_what_lies_beside_it(tmp_path: Path, flow: str, kind: str) -> None:
    """A step that was written by a function called below the guard is found out by the node, not guessed here."""
    user, elsewhere = tmp_path / "user", tmp_path / "elsewhere"
    for folder in (user, elsewhere):
        folder.mkdir()
    (user / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    inlined = flow.replace("write_down(flow)", BEGIN.split("return ")[1].strip().removesuffix(")") + ")")
    script = BEGIN + (inlined if kind == "ShippedCode" else flow) + f"if __name__ == '__main__':{SUBMIT}"
    (user / "script.py").write_text(script)
    found, code = python(user, "script.py").split()
    assert found == kind
    printed = python(elsewhere, "-P", "-c", NODE, given=code)
    assert printed.split("\n")[:2] == ["Line(points=[Point(x=2)])", "Line(points=[Point(x=4)])"]


def test_a_session_without_a_file_ships_its_code(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    session = BEGIN + 'flow = sage.Flow("f")\nwrite_down(flow)\nif True:' + SUBMIT
    found, code = python(tmp_path, "-c", session).split()
    assert found == "ShippedCode"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "Point(x=4)" in python(elsewhere, "-P", "-c", NODE, given=code)
