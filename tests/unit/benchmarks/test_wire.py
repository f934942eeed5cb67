"""`sage-benchmark wire`: two processes, every record accounted for."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks.cli import app
from benchmarks.wire_fields import Tally
from benchmarks.wire_records import len_record_bytes, records_of
from benchmarks.wire_wanted import Way, WireWorkload
from sage.cli import run_command


@pytest.mark.parametrize("workload", WireWorkload)
def test_a_record_is_of_about_110_bytes(workload: WireWorkload) -> None:
    assert 90 <= len_record_bytes(records_of(workload, 1000)) <= 120


@pytest.mark.cluster
@pytest.mark.parametrize("way", Way)
def test_records_go_to_another_process_and_are_checked(
    way: Way, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "result.json"
    asked = ["wire", "--workload", "struct", "--way", way, "--records", "5000", "--batch", "500", "--rounds", "2"]
    assert run_command(app, "sage-benchmark", [*asked, "--json", str(target)]) == 0
    document = json.loads(target.read_bytes())
    assert document["command"] == f"sage-benchmark {' '.join(asked)}"
    (result,) = document["results"]
    assert (result["engine"], result["workload"], result["n"]) == (way, "struct", 5000)
    assert result["checked"] is True
    assert result["simulated"] is False
    assert result["records_per_s"] > 0
    assert result["round_trip_p50_us"] <= result["round_trip_p99_us"]
    assert capfd.readouterr().err == ""


@pytest.mark.cluster
def test_rivals_send_the_same_in_turns_and_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.rivals.beside.python_of", lambda *_: Path(sys.executable))
    target = tmp_path / "result.json"
    asked = ["wire", "--workload", "struct", "--way", "ipc", "--rival", "multiprocessing", "--rival", "zmq"]
    sized = [*asked, "--records", "4000", "--batch", "500", "--rounds", "1"]
    assert run_command(app, "sage-benchmark", [*sized, "--json", str(target)]) == 0
    document = json.loads(target.read_bytes())
    assert document["command"] == f"sage-benchmark {' '.join(sized)}"
    results = {result["engine"]: result for result in document["results"]}
    assert list(results) == ["ipc", "multiprocessing", "zmq"]
    assert {result["n"] for result in results.values()} == {4000}
    assert results["zmq"]["ratio_to_zmq"] == 1.0
    assert results["multiprocessing"]["round_trip_p50_us"] is None
    assert capsys.readouterr().err == "multiprocessing: wire-struct\nzmq: wire-struct\n"


@pytest.mark.parametrize("workload", WireWorkload)
def test_who_sends_something_else_gives_no_figure(workload: WireWorkload) -> None:
    records = records_of(workload, 3)
    tally = Tally(records)
    tally.take(records)
    tally.take(list(records))
    assert tally.end() == (6, True)
    tally.take([*records[1:], records[0]])
    assert tally.end() == (3, False)
    assert tally.end() == (0, False)
