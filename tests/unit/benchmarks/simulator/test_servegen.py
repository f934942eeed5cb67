"""Tenants drawn from what ServeGen tells of clients."""

import io
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.simulator.servegen import servegen_trace
from sage.base.errors import SourceUnreadable

LENGTHS = {"input_tokens": "{100: 0.5, 200: 0.5}", "output_tokens": "{10: 1.0}"}
FILES = {
    "data/chunk-1-trace.csv": "0,1.0,1,Gamma,1.0,1.0\n600,9.0,1,Gamma,1.0,0.1111\n",
    "data/chunk-1-dataset.json": json.dumps({"0": LENGTHS}),
    "data/chunk-2-trace.csv": "0,0,0,,0,0\n600,1.0,1,Weibull,1.0,1.0\n",
    "data/chunk-2-dataset.json": json.dumps({"0": LENGTHS}),
    "data/chunk-3-trace.csv": "600,50.0,1,Gamma,1.0,0.02\n",
    "data/chunk-3-dataset.json": json.dumps({"0": {"input_tokens": "{}", "output_tokens": "{}"}}),
}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "clients.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        for name, text in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            file.addfile(member, io.BytesIO(text.encode()))
    return path


def test_clients_are_tenants_that_ask_as_often_as_is_told(archive: Path) -> None:
    trace = servegen_trace("s", archive, 1_000, seed=3)
    assert len(trace.arrivals) == 1_000
    asked = Counter(arrival.tenant for arrival in trace.arrivals)
    assert asked.keys() == {"chunk-1", "chunk-2"}  # nothing is known of the lengths of the third
    assert asked["chunk-1"] == pytest.approx(900, abs=40)
    assert trace.duration_s == pytest.approx(100, rel=0.15)
    assert {arrival.prompt_tokens for arrival in trace.arrivals} == {100, 200}
    assert {arrival.answer_tokens for arrival in trace.arrivals} == {10}


def test_a_seed_draws_the_same_again(archive: Path) -> None:
    assert servegen_trace("s", archive, 50, seed=3) == servegen_trace("s", archive, 50, seed=3)
    assert servegen_trace("s", archive, 50, seed=3) != servegen_trace("s", archive, 50, seed=4)


def test_an_archive_that_is_none_is_an_error_that_names_it(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar.gz"
    broken.write_bytes(b"no archive")
    with pytest.raises(SourceUnreadable, match=r"broken\.tar\.gz"):
        servegen_trace("s", broken, 10, seed=1)


@pytest.mark.data
def test_the_real_archive_has_many_tenants() -> None:
    from benchmarks.simulator.traces import load_trace

    trace = load_trace("servegen", limit=500, seed=7)
    assert len(trace.arrivals) == 500
    assert len({arrival.tenant for arrival in trace.arrivals}) > 8
