"""Rivals take turns in processes of their own; one that cannot is left out, and why is said."""

import sys
from pathlib import Path

import pytest

import benchmarks
from benchmarks.cli import app
from benchmarks.measure import Timed
from benchmarks.rivals.beside import RivalsBeside
from benchmarks.rivals.environment import LeftOut, Pins, python_of
from benchmarks.rivals.process import RivalProcess
from benchmarks.rivals.rival_wanted import RivalWanted
from sage.base.clock import SystemClock
from sage.base.errors import InternalError
from sage.cli import run_command

FLOWS = """
from functools import partial

def prepare(asked):
    if asked.workload == "unknown":
        return None
    return partial(form, asked)

def form(asked):
    print("this is no answer")
    counted = []
    def run():
        if asked.workload == "fails":
            raise ValueError("it cannot count")
        counted.extend(range(asked.num_records))
    return run, lambda: (len(counted), {sum(counted): "sum"})
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Return a package `benchmarks` with a rival that counts."""
    ours = Path(benchmarks.__file__ or "").parent / "rivals"
    rivals = tmp_path / "benchmarks" / "rivals"
    rivals.mkdir(parents=True)
    for name in ("__init__.py", "rival_wanted.py", "far_side.py"):
        (rivals / name).write_text((ours / name).read_text(encoding="utf-8"), encoding="utf-8")
    (rivals / "counting_flows.py").write_text(FLOWS, encoding="utf-8")
    return tmp_path / "benchmarks"


def _process(package: Path, workload: str) -> RivalProcess:
    asked = RivalWanted("counting", workload, 4, 7, 1000)
    return RivalProcess(Path(sys.executable), asked, SystemClock(), package=package)


def test_a_rival_answers_each_turn_by_its_own_clock(package: Path) -> None:
    with _process(package, "count") as rival:
        assert rival.refusal() is None
        turns: list[Timed] = [rival.run(), rival.run()]
    assert [turn.outcome for turn in turns] == [(4, {6: "sum"})] * 2
    assert all(turn.seconds > 0.0 for turn in turns)


def test_a_rival_that_does_not_know_a_workload_takes_no_part(package: Path) -> None:
    with _process(package, "unknown") as rival:
        assert rival.refusal() == LeftOut("it is not written for it here")


def test_a_rival_that_fails_says_why(package: Path) -> None:
    with _process(package, "fails") as rival:
        assert rival.refusal() is None
        with pytest.raises(InternalError, match="counting gave no result of fails: ValueError: it cannot count"):
            rival.run()


def test_a_rival_that_is_not_installed_is_left_out_and_why_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    said: list[str] = []
    rivals = RivalsBeside(("bytewax",), 10, 7, 1000, SystemClock(), said.append)
    monkeypatch.setattr("benchmarks.rivals.environment._make", lambda *_: "no room on the disk")
    with rivals.ready("W1", lambda outcome: outcome == (5, 5)) as ways:
        assert ways == {}
    assert said[-1] == "bytewax is left out of W1: no room on the disk"


def test_a_rival_needs_a_python_that_it_has_wheels_for(tmp_path: Path) -> None:
    found = python_of("old", print, folder=tmp_path, pins=Pins(("old==1",), 1, 2))
    assert found == LeftOut("it needs a Python of 3.1 to 3.2, and none is on the path")
    assert not list(tmp_path.iterdir())


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(target: Path, *_: object) -> None:
        made.append(target)
        target.mkdir()

    monkeypatch.setattr("benchmarks.rivals.environment._make", make)
    said: list[str] = []
    pins = Pins(("new==1",), sys.version_info.minor, sys.version_info.minor)
    first = python_of("new", said.append, folder=tmp_path, pins=pins)
    assert first == python_of("new", said.append, folder=tmp_path, pins=pins) == made[0] / "bin" / "python"
    assert len(made) == len(said) == 1
    assert "installing new==1" in said[0]


def test_a_rival_is_refused_for_a_workload_that_it_has_no_part_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(app, "sage-benchmark", ["stream", "--workload", "windows", "--engine", "bytewax"]) == 2
    assert "engine called directly" in capsys.readouterr().err
